"""What the readers of files give: rows by column, each with where it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from synth.runtime.sources.faults import Fault


class Cell(str):
    """A text of a table that can hold nothing else: a list stands there as its text."""

    __slots__ = ()


class Record(NamedTuple):
    """A row of a file; `line` is the line it begins on, or a table's row, from 1.

    `row` is its values by column, or why it could not be read.
    """

    line: int
    row: Mapping[str, Any] | Fault


class Columns(Protocol):
    """What a reader of tables has to know of a source."""

    @property
    def has_messages(self) -> bool:
        """Whether rows can hold conversations."""
        ...

    def columns_of(self, header: Iterable[str], file: str) -> list[str]:
        """Which of a table's columns to read, in its order.  Raises ConfigError where some are missing."""
        ...

    def fits(self, header: Iterable[str]) -> bool:
        """Whether a table with these columns can be read."""
        ...
