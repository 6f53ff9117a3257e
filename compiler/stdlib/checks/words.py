"""Checks by words: whole words and phrases, whatever their case, diacritics or spelling of hamza.

A word is found where no letter or digit of its own script stands beside it, so `AI` is in
`AI-powered` and `الAI` and not in `said` or `AI2`.  An apostrophe ends a word, save before a `t`:
`AI` is in `AI's`, `don` is not in `don't`.  Words of scripts without spaces are found anywhere.

An Arabic word of three letters or more is also found with what is written together with it:
particles before (`و` `ف`, then `ب` `ك` `ل`, then the article), or a pronoun behind (`ك` `كم` `نا` `ها`
`هم` and their like).  Any other letter makes it another word; so does a final `ه`, which may be the
feminine ending, and `ي`, which may make an adjective.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from unicodedata import category

from synth.base.display import quoted
from synth.compiler.stdlib.checks.fold import fold
from synth.compiler.stdlib.checks.reasons import listed

WORD = r"\p{L}\p{M}\p{N}"
# Scripts whose words are not set apart by spaces.
IDEOGRAPHS = r"\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}ー"
UNSPACED = IDEOGRAPHS + r"\p{Line_Break=SA}"

_BESIDE_LATIN = r"[\p{sc=Latin}\p{M}\p{N}]"
_BESIDE_ARABIC = r"[\p{sc=Arabic}\p{M}\p{N}]"
_BESIDE = rf"[{WORD}]"
_PARTICLES = "[وف]?(?:[بك]?ال|لل|[بكل])?"
# The same before a word that has its article, which `ل` swallows the alef of.
_PARTICLES_OF_ARTICLE = "[وف]?(?:[بك]?ال|لل)"
_PRONOUNS = "(?:كما|كم|كن|ك|نا|هما|هم|هن|ها)?"
_ARTICLE = "ال"
_SHORTEST = 3


def no_words(text: str, words: Sequence[str]) -> str | None:
    """Refuses a text that holds one of the words or phrases."""
    folded = fold(text)
    for word in _compiled(tuple(words)):
        if word.needle in folded and word.anywhere.search(folded):
            return f"holds {quoted(word.written)}"
    return None


def contains(text: str, phrase: str) -> str | None:
    """Refuses a text that does not hold the phrase, found as `no_words` finds it."""
    folded = fold(text)
    if any(word.anywhere.search(folded) for word in _compiled((phrase,))):
        return None
    return f"does not hold {quoted(phrase)}"


def opens_with_any(text: str, words: Sequence[str]) -> str | None:
    """Passes a text that begins with one of the words or phrases, behind no more than punctuation."""
    folded = fold(text)
    for word in _compiled(tuple(words)):
        if word.opening.match(folded):
            return None
    return f"opens with {quoted(text.lstrip()[:24])}, not with {listed(words)}"


def faulty_word(words: Sequence[str]) -> str | None:
    """The first word that can be found in no text, since nothing of it is left to compare."""
    # Folding is asked only where there is no plain letter or digit: its tables take a while to make.
    spoken = ("Lu", "Ll", "Lo", "Nd")
    return next(
        (
            word
            for word in words
            if not any(category(char) in spoken for char in word) and not fold(word).strip()
        ),
        None,
    )


@dataclass(frozen=True, slots=True)
class _Word:
    """`needle` is in every text that the patterns match; the patterns are over folded text."""

    written: str
    needle: str
    anywhere: Any
    opening: Any


@lru_cache(maxsize=256)
def _compiled(words: tuple[str, ...]) -> tuple[_Word, ...]:
    import regex

    found = []
    for written in words:
        pieces = fold(written).split()
        if not pieces:
            continue
        # A phrase is found over any run of white space and punctuation, so that what of it is
        # nothing else says nothing.
        spoken = [piece for piece in pieces if regex.search(f"[{WORD}]", piece)]
        pattern = rf"[^{WORD}]+".join(map(_pattern, spoken)) or r"\s+".join(map(re.escape, pieces))
        found.append(
            _Word(
                written,
                max(map(_core, spoken or pieces), key=len),
                regex.compile(pattern),
                regex.compile(rf"[^{WORD}]*{pattern}"),
            )
        )
    return tuple(found)


def _pattern(piece: str) -> str:
    """One word between its edges."""
    before, after = _beside(piece[0]), _beside(piece[-1])
    return "".join(
        (
            f"(?<!{before})" if before else "",
            _particles(piece),
            re.escape(_core(piece)),
            _PRONOUNS if _takes_particles(_core(piece)) else "",
            f"(?!{after})" if after else "",
            "(?!'t(?![a-z]))" if after == _BESIDE_LATIN else "",
        )
    )


def _core(piece: str) -> str:
    """A word without what can be written otherwise in front of it."""
    return piece.removeprefix(_ARTICLE) if _takes_particles(piece.removeprefix(_ARTICLE)) else piece


def _particles(piece: str) -> str:
    if not _takes_particles(piece):
        return ""
    return _PARTICLES if _core(piece) == piece else _PARTICLES_OF_ARTICLE


def _takes_particles(piece: str) -> bool:
    return len(piece) >= _SHORTEST and bool(_arabic().match(piece))


@cache
def _arabic() -> Any:
    import regex

    return regex.compile(rf"\p{{sc=Arabic}}{{{_SHORTEST}}}")


@lru_cache(maxsize=1024)
def _beside(char: str) -> str:
    """The characters that, beside this one, would make it part of a longer word."""
    import regex

    if not regex.match(_BESIDE, char) or regex.match(f"[{UNSPACED}]", char):
        return ""
    for own in (_BESIDE_LATIN, _BESIDE_ARABIC):
        if regex.match(own, char) and not regex.match(r"[\p{M}\p{N}]", char):
            return own
    return _BESIDE
