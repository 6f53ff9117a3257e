"""The checks a recipe can ask for: each a pure function that gives a reason or None.

`CHECKS` is both what the binder knows of their arguments and what the runtime calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compiler.calls import TEXT_OR_ROLE, Parameter
from compiler.types import CHUNKS, COUNT, NUMBER, RANGE, RATIO, ROLE, TEXT, WORD


@dataclass(frozen=True, slots=True)
class Check:
    """`function(text, **arguments)` gives a reason for refusing, or None.

    `takes` says of what: `text` (JSON counts as its text), `messages`, or either.  A check with
    `many` compares samples with each other and is judged in order over the whole cohort
    (`compiler.distinct`).  One that has no function and is not `many` can be compiled only.
    """

    name: str
    parameters: tuple[Parameter, ...]
    function: Callable[..., str | None] | None
    example: str
    takes: str = "text"
    many: bool = False


def length(text: str, characters: tuple[int | None, int | None]) -> str | None:
    """Counts code points, without the white space around the text."""
    return _outside(len(text.strip()), characters, "character")


def sentences(text: str, count: tuple[int | None, int | None]) -> str | None:
    """Counts runs of text that end in `.`, `!`, `?`, their Arabic and CJK kin, or the text's end."""
    found = sum(1 for part in _SENTENCE_END.split(text) if any(map(str.isalnum, part)))
    return _outside(found, count, "sentence")


def starts_with(text: str, prefix: str) -> str | None:
    if text.lstrip().startswith(prefix):
        return None
    return f"starts with {_shown(text.lstrip()[: max(len(prefix), 12)])}, not with {_shown(prefix)}"


def ends_with(text: str, suffix: str) -> str | None:
    if text.rstrip().endswith(suffix):
        return None
    return f"ends with {_shown(text.rstrip()[-max(len(suffix), 12) :])}, not with {_shown(suffix)}"


# A full stop ends a sentence only before white space or the end, so that 3.5 and e.g.
# file.txt do not count as two.
_SENTENCE_END = re.compile(r"(?:[.!?…؟。！？]+[\"'”’»)\]]*(?=\s|$)|[。！？]+)")


def _outside(found: int, bounds: tuple[int | None, int | None], unit: str) -> str | None:
    low, high = bounds
    noun = unit if found == 1 else unit + "s"
    if low is not None and found < low:
        return f"has {found} {noun}; at least {low} are asked for"
    if high is not None and found > high:
        return f"has {found} {noun}; at most {high} are allowed"
    return None


def _shown(text: str) -> str:
    return "`" + text.replace("\n", "\\n") + "`"


_WORDS = Parameter("words", TEXT, variadic=True)

CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("length", (Parameter("characters", RANGE),), length, "length(40..400)"),
        Check("sentences", (Parameter("count", RANGE),), sentences, "sentences(1..2)"),
        Check("starts_with", (Parameter("prefix", TEXT),), starts_with, 'starts_with("You are")'),
        Check("ends_with", (Parameter("suffix", TEXT_OR_ROLE),), ends_with, 'ends_with("?")', takes="any"),
        Check("opens_with_any", (_WORDS,), None, 'opens_with_any("Sure", "Of course")'),
        Check("no_words", (_WORDS,), None, 'no_words("assistant", "AI")', takes="any"),
        Check("no_emoji", (), None, "no_emoji()", takes="any"),
        Check(
            "max_repetition",
            (Parameter("ngram", COUNT, 4), Parameter("share", RATIO, 15)),
            None,
            "max_repetition(ngram = 4, share = 15%)",
            takes="any",
        ),
        Check("script", (_WORDS,), None, 'script("Arabic", "Latin")', takes="any"),
        Check("language", (_WORDS,), None, 'language("ar", "en")', takes="any"),
        Check("no_bidi_controls", (), None, "no_bidi_controls()", takes="any"),
        Check(
            "distinct",
            (Parameter("similarity", NUMBER, 0.9),),
            None,
            "distinct(similarity = 0.9)",
            takes="any",
            many=True,
        ),
        Check("turns", (Parameter("count", RANGE),), None, "turns(2..12)", takes="messages"),
        Check(
            "alternates",
            (Parameter("first", ROLE), Parameter("second", ROLE)),
            None,
            "alternates(user, model)",
            takes="messages",
        ),
        Check(
            "every",
            (Parameter("role", ROLE), Parameter("has", WORD)),
            None,
            "every(model, has = thought)",
            takes="messages",
        ),
        Check("json_valid", (), None, "json_valid()"),
        Check(
            "supported_by",
            (Parameter("evidence", CHUNKS), Parameter("share", RATIO, 60)),
            None,
            "supported_by(evidence, share = 60%)",
            takes="any",
        ),
    )
}


def run_check(name: str, arguments: Mapping[str, Any], text: str) -> str | None:
    """The reason why a text fails one check, or None.  Checks over many samples pass here."""
    check = CHECKS[name]
    if check.many:
        return None
    assert check.function is not None, f"{name} cannot run yet; runs are refused before"
    return check.function(text, **arguments)
