"""How much of a text says again what it said before."""

from __future__ import annotations

from functools import cache
from typing import Any

from synth.compiler.stdlib.checks.fold import fold
from synth.compiler.stdlib.checks.reasons import percent
from synth.compiler.stdlib.checks.words import IDEOGRAPHS, UNSPACED, WORD

# Letters in a row that are no word any more: they are compared one by one, so that a model stuck
# on a letter or a syllable is seen.
_LONGEST_WORD = 40
# Characters that a word has on average where no spaces tell.
_IDEOGRAPHS_A_WORD = 1.5
_LETTERS_A_WORD = 4


def max_repetition(text: str, ngram: int, share: float) -> str | None:
    """Of the runs of `ngram` words, the share (in percent) that occurred earlier in the text.

    Words are compared folded.  A text of less than `ngram + 1` words repeats nothing.
    """
    units, size, unit = _units(fold(text), ngram)
    runs = len(units) - size + 1
    if runs < 2:
        return None
    repeated = runs - len(set(zip(*(units[start : start + runs] for start in range(size)), strict=True)))
    if repeated * 100 <= share * runs:
        return None
    return f"repeats {percent(repeated, runs)} of its runs of {size} {unit}; at most {share:g}% are allowed"


def _units(folded: str, ngram: int) -> tuple[list[str], int, str]:
    """What is compared, how many of them make a run, and what they are called."""
    words: list[str] = _words().findall(folded)
    if not folded.isascii() and _unspaced().search(folded):
        characters = "".join(words)
        unspaced = _unspaced().findall(characters)
        if 2 * len(unspaced) > len(characters):
            ideographs = len(_ideographs().findall(characters))
            each = _IDEOGRAPHS_A_WORD if 2 * ideographs >= len(unspaced) else _LETTERS_A_WORD
            return list(characters), max(1, round(ngram * each)), "characters"
    if any(len(word) > _LONGEST_WORD for word in words):
        words = [unit for word in words for unit in (word if len(word) > _LONGEST_WORD else (word,))]
    return words, ngram, "words"


@cache
def _words() -> Any:
    import regex

    return regex.compile(f"[{WORD}]+")


@cache
def _unspaced() -> Any:
    import regex

    return regex.compile(f"[{UNSPACED}]")


@cache
def _ideographs() -> Any:
    import regex

    return regex.compile(f"[{IDEOGRAPHS}]")
