"""What the values of a column are: of which kinds, how many of each, and what stands out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from synth.runtime.sources.record import Cell
from synth.runtime.sources.rows.values import plain

MOST_FIELDS = 200
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_MOST_WORDS = 12
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ]|$)", re.ASCII)


@dataclass(slots=True)
class Seen:
    """What the values of one column are."""

    there: int = 0
    kinds: set[str] = field(default_factory=set)
    low: float = 0
    integral: bool = True
    words: Counter[str] | None = field(default_factory=Counter)
    distinct: set[int] = field(default_factory=set)
    items: Seen | None = None
    holes: bool = False
    fields: dict[str, Seen] = field(default_factory=dict)
    rows: int = 0
    cells: bool = False
    # How many look like a number or a day, and the first texts that look otherwise.
    numbers: int = 0
    days: int = 0
    no_number: str | None = None
    repeated: str | None = None

    def add(self, value: Any) -> None:
        """Takes one value that is there."""
        self.there += 1
        if type(value) is Cell:
            self.cells = True
            self._text(value)
            value = _meant(value)
        else:
            value = plain(value)
            if isinstance(value, str):
                self._text(value)
            elif isinstance(value, int):
                if hash(value) in self.distinct:
                    self.repeated = self.repeated or str(value)[:41]
                self.distinct.add(hash(value))
        match value:
            case bool():
                self.kinds.add("boolean")
            case int() | float():
                self.kinds.add("number")
                self.numbers += 1
                self.low = min(self.low, value)
                self.integral = self.integral and float(value).is_integer() and abs(value) < 2**63
            case str():
                self.kinds.add("text")
                self.no_number = self.no_number or value[:41]
            case list():
                self.kinds.add("list")
                self.items = self.items or Seen()
                for item in value:
                    if item is None:
                        self.holes = True
                    else:
                        self.items.add(item)
            case Mapping():
                self.kinds.add("object")
                self.rows += 1
                for name, inner in islice(value.items(), MOST_FIELDS):
                    if inner is not None:
                        self.fields.setdefault(str(name), Seen()).add(inner)
                    else:
                        self.fields.setdefault(str(name), Seen())
            case _:
                self.kinds.add("bytes")

    def _text(self, text: str) -> None:
        if hash(text) in self.distinct:
            self.repeated = self.repeated or str(text[:41])
        self.distinct.add(hash(text))
        self.days += _DAY.match(text) is not None
        if self.words is not None:
            self.words[str(text[:41])] += 1
            if len(self.words) > _MOST_WORDS:
                self.words = None

    @property
    def enum(self) -> list[str]:
        """The words of an enum, where the texts are few and short."""
        words = self.words or Counter()
        if len(words) < 2 or self.there < 4 * len(words) or not all(map(NAME.fullmatch, words)):
            return []
        return sorted(words)

    @property
    def chats(self) -> bool:
        """Whether it is a list of messages."""
        there = self.items.fields.keys() if self.items is not None else frozenset()
        return {"role", "content"} <= there or {"from", "value"} <= there


def _meant(cell: Cell) -> Any:
    text = str(cell)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
