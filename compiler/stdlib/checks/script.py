"""The scripts that a text is written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from synth.base.display import code_point, quoted
from synth.compiler.stdlib.checks.reasons import listed

# For guessing what was meant; every script that Unicode names can be asked for.
COMMON = (
    "Arabic Armenian Bengali Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul "
    "Hebrew Hiragana Kannada Katakana Khmer Lao Latin Malayalam Mongolian Myanmar Sinhala Syriac Tamil "
    "Telugu Thai Tibetan"
).split()


def script(text: str, words: Sequence[str]) -> str | None:
    """Every letter belongs to one of the scripts.  Letters that Unicode counts to all of them, such
    as tatweel, do not matter, nor do digits, marks and punctuation."""
    found = _foreign(tuple(words)).search(text)
    if found is None:
        return None
    return f"holds the letter {quoted(found[0])} ({code_point(found[0])}), which is not {listed(words)}"


def unknown_script(words: Sequence[str]) -> str | None:
    """The first name that is no script's."""
    import regex

    for word in words:
        # What is put into a pattern is a name and nothing else.
        if not re.fullmatch(r"[A-Za-z]+(?:[ _-][A-Za-z]+)*", word):
            return word
        try:
            regex.compile(rf"\p{{Script={word}}}")
        except regex.error:
            return word
    return None


@lru_cache(maxsize=64)
def _foreign(words: tuple[str, ...]) -> Any:
    import regex

    wanted = "".join(rf"\p{{Script={word}}}" for word in (*words, "Common", "Inherited"))
    return regex.compile(rf"(?V1)[\p{{L}}--[{wanted}]]")
