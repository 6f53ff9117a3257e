"""The checks a recipe can ask for: each a pure function that gives a reason or None.

`CHECKS` is both what the binder knows of their arguments and what the runtime calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compiler.types import NUMBER, RANGE, TEXT, Type


@dataclass(frozen=True, slots=True)
class Parameter:
    """`default` is None for a parameter that must be given; a variadic one takes the rest."""

    name: str
    type: Type
    default: Any = None
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """`function(text, **arguments)` gives a reason for refusing, or None.

    A check without a function compares samples with each other and is judged in order over
    the whole cohort (`compiler.distinct`).
    """

    name: str
    parameters: tuple[Parameter, ...]
    function: Callable[..., str | None] | None
    example: str


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


CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("length", (Parameter("characters", RANGE),), length, "length(40..400)"),
        Check("sentences", (Parameter("count", RANGE),), sentences, "sentences(1..2)"),
        Check("starts_with", (Parameter("prefix", TEXT),), starts_with, 'starts_with("You are")'),
        Check("ends_with", (Parameter("suffix", TEXT),), ends_with, 'ends_with("?")'),
        Check("distinct", (Parameter("similarity", NUMBER, 0.9),), None, "distinct(similarity = 0.9)"),
    )
}


def run_check(name: str, arguments: Mapping[str, Any], text: str) -> str | None:
    """The reason why a text fails one check, or None.  Set-wide checks pass here."""
    function = CHECKS[name].function
    return None if function is None else function(text, **arguments)
