"""The rows of a source in the log, as what the samples of a conversation vary over."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import duckdb

from synth.compiler.plan.conditions import there
from synth.compiler.plan.model import SourcePlan
from synth.compiler.plan.strata import Labels
from synth.compiler.plan.tables.dealt import Row, item_names, item_of
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.tables.table_plan import TablePlan
from synth.compiler.plan.value_types import ValueType
from synth.store.dataset.inputs.environment import Chat, Record
from synth.store.dataset.inputs.filter import Kept
from synth.store.dataset.inputs.select import columns
from synth.store.log.source_payloads import RowIngested

_CHUNK = 1024
# Rows that are held of what is drawn from.
HELD = 16_384


class SourceTable:
    """Rows by their index, in the source's own order; where lists are gone through, an entry for each of
    their items (or combination of items) instead, below its row.  What has nothing in a list that is
    `needed`, by its path, since it is drawn from, has no entry.  Where it is `named`, a row has its own name
    among its values.

    Sixteen bytes a row are held, and as many for each list.
    """

    def __init__(
        self,
        axis: TablePlan,
        source: SourcePlan,
        kept: Kept,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        needed: Sequence[tuple[str, ...]] = (),
        *,
        named: bool = True,
    ) -> None:
        self._axis = axis
        self._needed = needed
        self._has_name = named
        self._source = source
        self._cursor = cursor()
        self._seqs, self._names = kept.seqs, kept.names
        self._filled = _filler(source.row)
        # Of each entry, its row; and for each list, the item's number in it and its name.
        self._rows: Sequence[int] = range(len(kept.seqs))
        self._items = [array("L") for _ in axis.lists]
        self._item_names = [array("Q") for _ in axis.lists]
        self._by_name: array[int] | None = None
        # Rows that have no item of a list.
        self.empty = 0
        if axis.lists or needed:
            self._go_through()
        # Of what is drawn from it, those that were read last.
        self._read: dict[int, tuple[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def labels(self, index: int) -> Labels:
        """The names of an entry: of its row and of its items."""
        row = self._rows[index]
        found = [(self._axis.name, f"{self._names[row]:016x}")]
        for each, names in zip(self._axis.lists, self._item_names, strict=True):
            found.append((each.name, f"{names[index]:016x}"))
        return tuple(found)

    def entries(self, indexes: Sequence[int]) -> Iterator[Row]:
        """Labels and members of some entries, in that order, read a chunk at a time."""
        for start in range(0, len(indexes), _CHUNK):
            some = indexes[start : start + _CHUNK]
            rows = list(dict.fromkeys(self._rows[index] for index in some))
            values = dict(zip(rows, self._values([self._seqs[row] for row in rows]), strict=True))
            for index in some:
                labels = self.labels(index)
                value = values[self._rows[index]]
                members = [_member(labels[0][1], value, self._axis.plain)]
                for number, each in enumerate(self._axis.lists):
                    item = there(each.path, value)[self._items[number][index]]
                    members.append(_member(labels[number + 1][1], item, each.plain))
                yield labels, tuple(members)

    def row(self, index: int) -> tuple[str, Any]:
        """The name of a row and what it stands for."""
        if index not in self._read:
            self.read([index])
        return self._read[index]

    def read(self, indexes: Iterable[int]) -> None:
        """Reads some rows together, and holds them; of a small table all, since any may be asked for next."""
        wanted = [index for index in dict.fromkeys(indexes) if index not in self._read]
        if not wanted:
            return
        if len(self) <= HELD:
            wanted = list(range(len(self)))
        elif len(self._read) + len(wanted) > HELD:
            self._read.clear()
        wanted.sort()
        for index, value in zip(wanted, self._values([self._seqs[each] for each in wanted]), strict=True):
            self._read[index] = f"{self._names[index]:016x}", value

    def named(self, names: Iterable[str]) -> dict[str, Any]:
        """What the rows of some names stand for; nothing of those that the source does not have."""
        seqs = {name: seq for name in dict.fromkeys(names) if (seq := self._seq(name)) is not None}
        return dict(zip(seqs, self._values(list(seqs.values())), strict=True))

    def found(self, cells: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """What the row that is named in each of some cells, and the items of its lists, stand for by name;
        nothing, where the source has no such row."""
        axis = self._axis
        values = self.named(cell[axis.name] for cell in cells)
        found: list[dict[str, Any]] = []
        for cell in cells:
            if cell[axis.name] not in values:
                found.append({})
                continue
            value = values[cell[axis.name]]
            here = {axis.name: value}
            for each in axis.lists:
                here[each.name] = item_of(there(each.path, value), cell[each.name])
            found.append(here)
        return found

    def _seq(self, name: str) -> int | None:
        if self._by_name is None:
            self._by_name = array("L", sorted(range(len(self._names)), key=self._names.__getitem__))
        number = int(name, 16)
        at = bisect_left(self._by_name, number, key=self._names.__getitem__)
        if at == len(self._by_name) or self._names[self._by_name[at]] != number:
            return None
        return self._seqs[self._by_name[at]]

    def _values(self, seqs: Sequence[int]) -> Iterator[Any]:
        """What the variable stands for in each row."""
        for _, name, text in columns(self._cursor, seqs, "sample_id, payload"):
            payload = json.loads(text)
            if self._source.type == "messages":
                messages = payload["messages"]
                yield Chat(messages, payload["tools"]) if payload.get("tools") else messages
                continue
            row: RowIngested = payload
            values = self._filled(row["values"])
            if self._has_name:
                values = {"name": row.get("name", name), **values}
            yield Record(values, rest=row.get("rest"))

    def _go_through(self) -> None:
        rows = array("L")
        for row, value in enumerate(self._values(self._seqs)):
            lists = [there(each.path, value) or () for each in self._axis.lists]
            named = (enumerate(item_names(items)) for items in lists)
            combined = [each for each in product(*named) if self._is_drawn_from(value, lists, each)]
            self.empty += not combined
            for items in combined:
                rows.append(row)
                for numbers, names, (number, name) in zip(self._items, self._item_names, items, strict=True):
                    numbers.append(number)
                    names.append(name)
        self._rows = rows

    def _is_drawn_from(
        self, value: Any, lists: Sequence[Sequence[Any]], items: Sequence[tuple[int, int]]
    ) -> bool:
        """Whether an entry has something in each list that is drawn from."""
        known = {self._axis.name: value}
        for each, of, (number, _) in zip(self._axis.lists, lists, items, strict=True):
            known[each.name] = of[number]
        return all(there(path, known) for path in self._needed)


def _member(label: str, value: Any, plain: bool) -> Member:
    fields = {"value": value} if plain else value
    return Member.model_construct(label=label, weight=1, fields=fields)


def _filler(type_: ValueType | None) -> Callable[[Any], Any]:
    """A function that gives a record with null for each field that it lacks, and so on below it."""
    if type_ is None or type_.kind != "record":
        return lambda value: value
    lacking = dict.fromkeys((name for name, _ in type_.fields), None)
    deeper = {name: field for name, field in type_.fields if field.kind in ("record", "list")}
    inner = {name: _inside(field) for name, field in deeper.items() if _has_records(field)}

    def filled(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        found = lacking | dict(value)
        for name, fill in inner.items():
            if found[name] is not None:
                found[name] = fill(found[name])
        return found

    return filled


def _inside(type_: ValueType) -> Callable[[Any], Any]:
    if type_.kind == "list" and type_.items is not None:
        item = _inside(type_.items)
        return lambda values: [item(value) for value in values]
    return _filler(type_)


def _has_records(type_: ValueType) -> bool:
    return type_.kind == "record" or (type_.items is not None and _has_records(type_.items))
