"""Tokens that are structure where a template writes them, and text where anybody else does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


class Controls:
    """Control tokens by their spelling, as they are found in a text."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        self.ids = dict(ids)
        self._numbers = frozenset(self.ids.values())
        # Longest first, as the tokenizer itself matches; `(?!)` matches nothing.
        spellings = sorted(self.ids, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, spellings)) or "(?!)")

    def count(self, ids: Iterable[int]) -> int:
        return sum(1 for number in ids if number in self._numbers)

    def split(self, text: str) -> list[str]:
        """The parts of a text, each a control token or free of them."""
        return re.split(f"({self.pattern.pattern})", text)
