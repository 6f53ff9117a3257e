"""How characters look on a terminal: their width, and what stands for those that do not show."""

from __future__ import annotations

import re
from unicodedata import bidirectional, category, combining, east_asian_width

BIDI_CONTROLS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_JOINERS = "\u200c\u200d"
# Everything that is not printable ASCII; the rest needs no look at the character database.
_SPECIAL = re.compile(r"[^ -~]")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI"})


def visible_char(char: str) -> str:
    """The character, or what is shown in its place when it would not show, or act."""
    if " " <= char <= "~":
        return char
    if char < " ":
        return chr(0x2400 + ord(char))
    if char == "\x7f":
        return "\u2421"
    if char not in _JOINERS and category(char) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp"):
        return f"<U+{ord(char):04X}>"
    return char


def visible(text: str) -> str:
    """The text with its control, formatting and unassigned characters made visible."""
    return _SPECIAL.sub(lambda match: visible_char(match[0]), text)


def char_width(char: str) -> int:
    """Terminal columns of a visible character: 0, 1 or 2."""
    if " " <= char <= "~":
        return 1
    if char in _JOINERS or combining(char) or category(char) in ("Mn", "Me") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if east_asian_width(char) in ("W", "F") else 1


def text_width(text: str) -> int:
    return sum(map(char_width, text))


def is_right_to_left(text: str) -> bool:
    """Whether any character makes a terminal reorder the line."""
    return not text.isascii() and any(bidirectional(char) in _RIGHT_TO_LEFT for char in text)


def quoted(text: str, limit: int = 40) -> str:
    """The text between backticks, made visible and cut to `limit` characters."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"`{visible(shown)}`"


def code_point(char: str) -> str:
    return f"U+{ord(char):04X}"
