"""How long a text is, how it begins and ends, and whether it has characters that change its direction."""

from __future__ import annotations

import re
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
