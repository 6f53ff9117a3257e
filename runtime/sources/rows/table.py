"""Rows of a schema: which columns of a file are its fields, and what else stands in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from synth.base.errors import ConfigError
from synth.base.suggest import suggest
from synth.compiler.plan.model import SourcePlan
from synth.runtime.sources.faults import Unusable, names
from synth.runtime.sources.marks import WithNan, kind_of, spelled
from synth.runtime.sources.notes import Notes
from synth.runtime.sources.record import Cell
from synth.runtime.sources.rows.values import Take, fields_of, plain
from synth.runtime.sources.tools import calls_tools, definitions_in

# A table that has more is no table of rows but a matrix, each of whose cells would be logged by name.
MOST_COLUMNS = 2_000


class TypedRow(NamedTuple):
    """`values` by field, absent ones left out; `rest` are the columns that are no fields, those that
    hold nothing left out; `name` is the text of the id column, None where none is named.  Where it is
    `calling`, tools are called in one of its conversations, or can be."""

    values: dict[str, Any]
    rest: dict[str, Any]
    name: str | None
    calling: bool = False


@dataclass(slots=True)
class Table:
    """How the rows of one source are read: each field from the column of its name."""

    source: SourcePlan
    # As a source of messages has them; all columns of a table are read here.
    unread: dict[str, list[str]] = field(default_factory=dict)
    _fields: list[tuple[str, Take, bool]] = field(init=False)
    _known: frozenset[str] = field(init=False)
    _id: str | None = field(init=False)
    _chats: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        assert self.source.row is not None, "a source of rows has their type"
        self._fields = fields_of(self.source.row)
        self._known = frozenset(name for name, _, _ in self._fields)
        named = self.source.reader.arguments.get("id")
        self._id = None if named is None else str(named)
        fields = self.source.row.fields
        self._chats = tuple(name for name, type_ in fields if type_.kind == "messages")

    @property
    def has_messages(self) -> bool:
        return bool(self._chats)

    def columns_of(self, header: Iterable[str], file: str) -> list[str]:
        """All columns of a table.  Raises ConfigError where one is missing that every row has to have,
        and where there are too many."""
        header = list(header)
        missing = next((name for name in self._needed if name not in header), None)
        if missing is not None:
            raise ConfigError(
                f"{file} has no column `{missing}` ({_instead(missing, tuple(header))}): "
                + (
                    "name one that every row has"
                    if missing == self._id
                    else f"name it so there, or make the field optional: `{missing}: ...?`"
                )
            )
        if len(header) > MOST_COLUMNS:
            raise ConfigError(
                f"{file} has {len(header):,} columns, and a source reads at most {MOST_COLUMNS:,}: "
                "write a file with those that are needed"
            )
        return header

    def fits(self, header: Iterable[str]) -> bool:
        """Whether a table with these columns can hold the rows."""
        return set(header).issuperset(self._needed)

    @property
    def _needed(self) -> list[str]:
        needed = [name for name, _, optional in self._fields if not optional]
        return needed if self._id is None or self._id in needed else [*needed, self._id]

    def row(self, row: Mapping[str, Any], notes: Notes) -> TypedRow:
        """Raises Unusable for a row that does not fit."""
        values = {}
        for name, take, optional in self._fields:
            value = row.get(name)
            if value is None:
                if not optional:
                    raise _absent(name, row)
            elif value or not optional or type(value) is not Cell:
                values[name] = take(value, notes)
        known = self._known
        rest = {
            name: value
            for name, value in (row.written if type(row) is WithNan else row).items()
            if name not in known and value is not None and (value or type(value) is not Cell)
        }
        if type(row) is WithNan:
            rest = spelled(rest)
        if len(row) > MOST_COLUMNS:
            raise Unusable(f"has more than {MOST_COLUMNS:,} columns", f"it has {len(row):,}")
        chats = [values[name] for name in self._chats if name in values]
        calling = any(map(calls_tools, chats))
        if chats:
            calling = bool(definitions_in(row, (), calling, Notes())) or calling
        if self._id is None:
            return TypedRow(values, rest, None, calling)
        id_ = row.get(self._id)
        name = id_ if type(id_) is str and id_ else self._name(row, self._id)
        return TypedRow(values, rest, name, calling)

    def _name(self, row: Mapping[str, Any], column: str) -> str:
        value = row.get(column)
        if value is None:
            raise _absent(column, row)
        value = plain(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise Unusable(f"has a `{column}` that is no id", f"it is {kind_of(value)}")
        if value == "":
            raise Unusable(f"has an empty `{column}`, which is its id")
        return str(value)


def _absent(column: str, row: Mapping[str, Any]) -> Unusable:
    if column in row:
        return Unusable(f"has no `{column}`", "it is null")
    return Unusable(f"has no `{column}`", _instead(column, tuple(row)))


# Kept, since a file that lacks a column lacks it on many lines.
@lru_cache(maxsize=64)
def _instead(column: str, there: tuple[str, ...]) -> str:
    guess = suggest(column, there)
    return f"did you mean {names([guess])}?" if guess else f"its columns are {names(there) or 'none'}"
