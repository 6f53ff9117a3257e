"""Emoji, by Unicode's properties: what shows as a picture unless a text asks otherwise.

Counted are characters that are emoji by default (flags and skin tones are among them), any
emoji character before U+FE0F, keycaps, pictographs joined by U+200D, and code points that Unicode
keeps for emoji to come.  Characters that are text by default, such as `™`, `↔` or a digit, are text.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from synth.base.display import quoted

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
