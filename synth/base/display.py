"""How characters look on a terminal: their width, and what stands for those that do not show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from unicodedata import bidirectional, category, combining, east_asian_width

BIDI_CONTROLS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_JOINERS = "\u200c\u200d"
_SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_SELECTOR = re.compile(f"[{_SELECTORS}]")
# Letters and marks that show nothing, and signs of Arabic and Kaithi numbers, which do show although
# they are called formats.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
# Everything that is not printable ASCII; the rest needs no look at the character database.
_SPECIAL = re.compile(r"[^ -~]")
_OUTSIDE_BLOCK = re.compile(r"[^ -~\n]")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI"})


def shows(text: str, at: int) -> bool:
    """Whether a character shows as what it is, and does nothing else to a terminal.

    Joiners and variation selectors do where they shape what stands before them; elsewhere they hide.
    """
    char = text[at]
    if " " <= char <= "~":
        return True
    if char in _JOINERS or _SELECTOR.match(char):
        before = text[at - 1] if at else " "
        if before in "#*0123456789":
            return char == "\ufe0f"
        # A joiner may follow a selector, as in a heart that burns.
        if _SELECTOR.match(before):
            return char in _JOINERS
        # Nothing of Latin, Greek or Cyrillic letters is shaped by them.
        shaped = before > "~" and before not in _JOINERS and category(before) not in ("Lu", "Ll", "Zs")
        return shaped and shows(text, at - 1)
    if char in _BLANK:
        return False
    return char in _SIGNS or category(char) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


def visible_at(text: str, at: int) -> str:
    """The character of a text, or what is shown in its place when it would not show, or act."""
    char = text[at]
    if shows(text, at):
        return char
    if char < " ":
        return chr(0x2400 + ord(char))
    return "\u2421" if char == "\x7f" else f"<U+{ord(char):04X}>"


def visible(text: str) -> str:
    """The text with its control, formatting and unassigned characters made visible: for a line of
    which every character takes its place."""
    return _SPECIAL.sub(lambda match: visible_at(text, match.start()), text)


def escaped(text: str) -> str:
    """The text as one line, with what would not show, or act, as the escapes of Python and JSON."""
    return _SPECIAL.sub(lambda match: _or_escape(match, _escape), text)


def escaped_block(text: str) -> str:
    """The same of a text in which line ends are meant; a tab is four spaces."""
    plain = text.replace("\r\n", "\n").replace("\t", "    ")
    return _OUTSIDE_BLOCK.sub(lambda match: _or_escape(match, _escape), plain)


def escaped_json(text: str) -> str:
    """JSON of the same value in which nothing acts: what would not show stands inside a string, where
    an escape says the same."""
    return _OUTSIDE_BLOCK.sub(lambda match: _or_escape(match, _json_escape), text)


def _or_escape(match: re.Match[str], escape: Callable[[str], str]) -> str:
    if shows(match.string, match.start()):
        return match[0]
    return escape(match[0])


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _json_escape(char: str) -> str:
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


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


def plural(count: int, noun: str) -> str:
    """`1 sample`, `2,000 samples`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def quoted(text: str, limit: int = 40) -> str:
    """The text between backticks, made visible and cut to `limit` characters."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"`{visible(short)}`"


def code_point(char: str) -> str:
    return f"U+{ord(char):04X}"
