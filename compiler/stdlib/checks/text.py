"""How long a text is, how it begins and ends, and what characters it has: emoji, those of direction.

Emoji are characters that are so by default (flags and skin tones are among them), any
emoji character before U+FE0F, keycaps, pictographs joined by U+200D, and code points that Unicode
keeps for emoji to come.  Characters that are text by default, such as `™`, `↔` or a digit, are text.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from unicodedata import name

from synth.base.display import BIDI_CONTROLS, code_point, quoted
from synth.compiler.stdlib.checks.reasons import Bounds, outside


def length(text: str, characters: Bounds) -> str | None:
    """Counts code points, without the white space around the text."""
    return outside(len(text.strip()), characters, "character")


def sentences(text: str, count: Bounds) -> str | None:
    """Counts runs of text that end in `.`, `!`, `?`, their kin in other scripts, or the text's end."""
    found = sum(1 for part in _SENTENCE_END.split(text) if any(map(str.isalnum, part)))
    return outside(found, count, "sentence")


def starts_with(text: str, prefix: str) -> str | None:
    if text.lstrip().startswith(prefix):
        return None
    return f"starts with {quoted(text.lstrip()[: max(len(prefix), 12)])}, not with {quoted(prefix)}"


def ends_with(text: str, suffix: str) -> str | None:
    if text.rstrip().endswith(suffix):
        return None
    return f"ends with {quoted(text.rstrip()[-max(len(suffix), 12) :])}, not with {quoted(suffix)}"


# A full stop ends a sentence only before white space or the end, so that 3.5 and e.g.
# file.txt do not count as two.  The lookbehind keeps a long run of stops from being read again
# from each of its characters.
_STOPS = ".!?…؟۔。！？।॥"
_SENTENCE_END = re.compile(rf"(?<![{_STOPS}])[{_STOPS}]++[\"'”’»)\]]*+(?=\s|$)|[。！？]++")


def no_bidi_controls(text: str) -> str | None:
    found = _CONTROL.search(text)
    return f"holds {code_point(found[0])} {name(found[0])}" if found else None


_CONTROL = re.compile(f"[{BIDI_CONTROLS}]")


_EMOJI = (
    r"(?V1)[\p{Emoji_Presentation}[\p{Extended_Pictographic}&&\p{Cn}]]"
    r"|\p{Emoji}[\uFE0F\p{Emoji_Modifier}]"
    r"|[0-9#*]\u20E3"
    r"|\p{Extended_Pictographic}\u200D\p{Extended_Pictographic}"
)


def no_emoji(text: str) -> str | None:
    if text.isascii():
        return None
    found = _pattern().search(text)
    return f"holds the emoji {quoted(_whole(text, found.start()))}" if found else None


def _whole(text: str, start: int) -> str:
    """The sequence that begins there: a flag, a family, a thumb with its skin tone."""
    import regex

    return str(regex.match(r"\X", text[start : start + 16])[0])


@cache
def _pattern() -> Any:
    import regex

    return regex.compile(_EMOJI)
