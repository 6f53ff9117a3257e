"""Whether what a text says stands in the passages it was written from, by its words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from synth.base.display import quoted
from synth.compiler.stdlib.checks.fold import fold
from synth.compiler.stdlib.checks.reasons import Bounds, ends, percent
from synth.compiler.stdlib.checks.words import UNSPACED, WORD

_SHORTEST = 3
_PARTICLES = ("", "ال", "بال", "كال", "لل", "ب", "ك", "ل")


def supported_by(text: str, evidence: Sequence[Mapping[str, Any]], share: float) -> str | None:
    """Of the text's words, the share (in percent) that the passages hold too.

    Counted are words of three letters or more, each once, folded; an Arabic word matches with or
    without the particles and the article written before it.  Every number of the text must be
    in the passages, whatever the share and whatever is written together with it (`Rp450.000`); the
    numbers of a list's items and of citations in brackets are none.
    """
    words, numbers = _content(fold(text))
    held_words, held_numbers = _held(tuple(_text(chunk) for chunk in evidence))
    for number in numbers:
        if number not in held_numbers:
            return f"holds the number {quoted(number)}, which its evidence does not"
    found = sum(1 for word in words if not held_words.isdisjoint(_forms(word)))
    if found * 100 >= share * len(words):
        return None
    return (
        f"has {percent(found, len(words))} of its words from its evidence; at least {share:g}% are asked for"
    )


def draws_on(text: str, evidence: Sequence[Mapping[str, Any]], documents: Bounds) -> str | None:
    """How many documents the text needs: those that hold a word or a number of it which no other
    of the passages' documents holds."""
    low, high = ends(documents)
    words, numbers = _content(fold(text))
    texts: dict[str, list[str]] = {}
    for chunk in evidence:
        texts.setdefault(str(chunk["document"]), []).append(_text(chunk))
    held = {name: _held(tuple(some)) for name, some in texts.items()}
    needed: set[str] = set()
    for word in words:
        holders = [name for name, (there, _) in held.items() if not there.isdisjoint(_forms(word))]
        needed.update(holders if len(holders) == 1 else ())
    for number in numbers:
        holders = [name for name, (_, there) in held.items() if number in there]
        needed.update(holders if len(holders) == 1 else ())
    found = len(needed)
    if low is not None and found < low:
        return f"needs {found} of its documents; at least {low} are asked for"
    if high is not None and found > high:
        return f"needs {found} of its documents; at most {high} are allowed"
    return None


def asks_beyond(text: str, evidence: Sequence[Mapping[str, Any]], share: float) -> str | None:
    """Refuses a question whose words one passage holds to that share (in percent): it may well
    answer it."""
    words, numbers = _content(fold(text))
    asked = len(words) + len(numbers)
    for chunk in evidence:
        there, figures = _held((_text(chunk),))
        found = sum(1 for word in words if not there.isdisjoint(_forms(word)))
        found += sum(1 for number in numbers if number in figures)
        if asked and found * 100 >= share * asked:
            return (
                f"asks with {percent(found, asked)} of its words in one passage "
                f"of {quoted(str(chunk['document']))}; less than {share:g}% is asked for"
            )
    return None


def _text(chunk: Mapping[str, Any]) -> str:
    return str(chunk["text"])


@lru_cache(maxsize=64)
def _held(texts: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The words, in all their forms, and the numbers of the passages."""
    words: set[str] = set()
    numbers: set[str] = set()
    for text in texts:
        more_words, more_numbers = _content(fold(text), whole=True)
        words.update(form for word in more_words for form in _forms(word))
        numbers.update(more_numbers)
    return frozenset(words), frozenset(numbers)


def _content(folded: str, whole: bool = False) -> tuple[dict[str, None], dict[str, None]]:
    """The content words and the numbers of a folded text, in their order.  `whole` keeps the
    numbers that only count items."""
    words: dict[str, None] = {}
    numbers: dict[str, None] = {}
    for found in _tokens().finditer(folded if whole else _counters().sub(" ", folded)):
        if found["number"] is not None:
            numbers[_value(found["number"])] = None
        elif found["unspaced"] is not None:
            run = found["unspaced"]
            words.update(dict.fromkeys(run[at : at + 2] for at in range(len(run) - 1)))
        elif len(found["word"]) >= _SHORTEST:
            words[found["word"]] = None
    return words, numbers


def _value(written: str) -> str:
    """A number as it is compared: without signs between thousands, with a point before decimals."""
    written = written.replace("٬", ",").replace("٫", ".")
    groups = written.replace(",", ".").split(".")
    signs = {char for char in written if char in ".,"}
    if len(signs) == 2 and written.count(max(signs, key=written.rfind)) == 1:
        return "".join(groups[:-1]) + "." + groups[-1]
    if len(signs) == 1 and len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:]):
        return "".join(groups)
    return ".".join(groups)


def _forms(word: str) -> Iterable[str]:
    """A word, and what is left of it without particles in front, down to three letters."""
    yield word
    if "\u0600" <= word[0] <= "\u06ff":
        for joined in {word, word.removeprefix("و"), word.removeprefix("ف")}:
            for particles in _PARTICLES:
                rest = joined.removeprefix(particles)
                if rest != word and len(rest) >= _SHORTEST:
                    yield rest


@cache
def _tokens() -> Any:
    import regex

    return regex.compile(
        r"(?P<number>\d++(?:[.,٫٬]\d++)*+)"
        rf"|(?P<unspaced>[{UNSPACED}]++)"
        rf"|(?P<word>(?V1)[[{WORD}]--[{UNSPACED}\d]]++)"
    )


@cache
def _counters() -> Any:
    import regex

    return regex.compile(r"(?m)^[ \t]*+\(?\d{1,2}[.)](?=\s)|\[\d{1,2}\]")
