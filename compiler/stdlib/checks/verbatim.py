"""Whether a text is quoted word for word."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from synth.base.display import quoted
from synth.compiler.stdlib.checks.words import UNSPACED

_SHOWN = 60


def verbatim(text: str, passages: Any) -> str | None:
    """The text stands in one of some passages as it is, white space aside.  It begins and ends where words
    do, in writing that has spaces between them."""
    wanted = " ".join(text.split())
    if not wanted:
        return "quotes nothing"
    if any(_stands_in(wanted, _folded(each)) for each in _texts(passages)):
        return None
    shown = wanted if len(wanted) <= _SHOWN else f"{wanted[: _SHOWN - 3]}..."
    return f"quotes {quoted(shown)}, which stands in none of its passages"


def _texts(passages: Any) -> list[str]:
    items = passages if isinstance(passages, list) else [passages]
    return [str(each["text"]) if isinstance(each, Mapping) else str(each) for each in items]


@lru_cache(maxsize=64)
def _folded(passage: str) -> str:
    return " ".join(passage.split())


def _stands_in(wanted: str, passage: str) -> bool:
    at = passage.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        if not _joined(passage[at - 1 : at], wanted[0]) and not _joined(wanted[-1], passage[end : end + 1]):
            return True
        at = passage.find(wanted, at + 1)
    return False


def _joined(before: str, after: str) -> bool:
    """Whether two characters are inside of one word."""
    import regex

    spaced = not regex.search(f"[{UNSPACED}]", before + after)
    return spaced and before.isalnum() and after.isalnum()
