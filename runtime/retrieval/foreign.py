"""A LanceDB table that somebody else made: its rows are passages already.

The rows are copied into the index's own table, so that versions, filters and full text are as
for documents; with `vector` their vectors are taken over instead of made again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth.base.canonical import digest
from synth.base.display import quoted
from synth.base.errors import ConfigError
from synth.base.suggest import suggest
from synth.compiler.plan.model import SourcePlan
from synth.runtime.documents import Block, Chunk, Document, Scalar, Splitter
from synth.runtime.documents.decode import clean
from synth.runtime.documents.faults import Unreadable
from synth.runtime.documents.rows import scalar
from synth.runtime.retrieval.corpus import Passages, Segment
from synth.runtime.retrieval.lance import require_lancedb

_BATCH = 1024
_MOST_TABLES = 10_000


class ForeignTable:
    """`lancedb(path, table, text, document, heading, id, vector)`: the names of a table and its columns.

    Without `table` the store has to hold one table; without `document` each row is a document.
    What the other columns hold becomes metadata, where it is text, a number or a truth value.
    """

    def __init__(self, path: Path, label: str, source: SourcePlan) -> None:
        arguments = source.reader.arguments
        self.label = label
        self._path = path
        self._table = arguments.get("table")
        self._text = str(arguments.get("text") or "text")
        self._columns = {
            role: str(name)
            for role in ("document", "heading", "id", "vector")
            if (name := arguments.get(role)) is not None
        }
        self._splitter = Splitter.of(source.split) if source.split is not None else None
        if self._splitter is not None and "vector" in self._columns:
            raise ConfigError(
                f"source `{source.name}`: split passages need vectors of their own: "
                "leave out `split`, or `vector`"
            )
        split = source.split.model_dump(mode="json", exclude={"source"}) if source.split is not None else None
        self.settings = ["lancedb", self._text, self._columns, split]

    def segments(self) -> tuple[list[Segment], list[str]]:
        """The table at its newest version is the one part."""
        table = self._open()
        known = {field.name: field.type for field in table.schema}
        for column in (self._text, *self._columns.values()):
            if column not in known:
                guess = suggest(column, known)
                raise ConfigError(
                    f"the table {quoted(table.name)} in {quoted(self.label, 200)} has no column "
                    f"{quoted(column)}: "
                    + (
                        f"did you mean {quoted(guess)}?"
                        if guess
                        else f"it has {', '.join(map(quoted, known))}"
                    )
                )
        stamp = digest([str(self._path), table.name, table.version])
        return [Segment(table.name, stamp, (table, known))], []

    def read(self, segment: Segment) -> Iterator[Passages]:
        import pyarrow as pa

        table, known = segment.origin
        rest = [
            name
            for name, kind in known.items()
            if name not in (self._text, *self._columns.values())
            and (
                pa.types.is_string(kind)
                or pa.types.is_large_string(kind)
                or pa.types.is_boolean(kind)
                or pa.types.is_integer(kind)
                or pa.types.is_floating(kind)
            )
        ]
        columns = [self._text, *self._columns.values(), *rest]
        seen: dict[str, int] = {}
        number = 0
        for batch in table.search().select(columns).to_batches(_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield self._passages(row, rest, segment.name, number, seen)
        if number == 0:
            raise Unreadable("has no rows", "name another table")

    def _passages(
        self, row: Mapping[str, Any], rest: list[str], table: str, number: int, seen: dict[str, int]
    ) -> Passages:
        text = row[self._text]
        if not isinstance(text, str):
            raise Unreadable(f"has no text in {quoted(self._text)} at row {number}", "name another column")
        text = clean(text)
        document = self._value(row, "document") or f"{table}#{self._value(row, 'id') or number}"
        metadata: dict[str, Scalar] = {
            name: value for name in rest if (value := scalar(row[name])) is not None
        }
        heading = self._value(row, "heading")
        if self._splitter is not None:
            blocks = (Block(0, text),)
            chunks = self._splitter.split(Document(document, blocks, heading, metadata))
        elif text.strip():
            id_ = digest([document, self._value(row, "id"), heading, text])[:16]
            chunks = [Chunk(id_, document, heading, text, number - 1, metadata)]
        else:
            chunks = []
        chunks = [replace(chunk, id=_own(chunk.id, seen)) for chunk in chunks]
        if "vector" not in self._columns:
            return Passages(document, chunks)
        vector = row[self._columns["vector"]]
        if not isinstance(vector, list) or not any(vector) or not all(map(math.isfinite, vector)):
            raise Unreadable(
                f"has no vector in {quoted(self._columns['vector'])} at row {number}",
                "name another column, or leave `vector` out to make them again",
            )
        return Passages(document, chunks, [vector] * len(chunks))

    def _value(self, row: Mapping[str, Any], role: str) -> str:
        """The text of a column that the recipe names for a role; empty where there is none."""
        value = row[self._columns[role]] if role in self._columns else None
        return "" if value is None else " ".join(clean(str(value)).split())

    def _open(self) -> Any:
        require_lancedb()
        import lancedb

        if not self._path.is_dir():
            raise ConfigError(f"there is no LanceDB store {quoted(self.label, 200)}: check the path")
        store = lancedb.connect(self._path)
        names = sorted(store.list_tables(limit=_MOST_TABLES).tables)
        if self._table in names or (self._table is None and len(names) == 1):
            return store.open_table(str(self._table or names[0]))
        listing = f"there is {', '.join(map(quoted, names[:8]))}" if names else "it holds none"
        if self._table is None:
            fault = "is no LanceDB store" if not names else "has several tables"
            raise ConfigError(f"{quoted(self.label, 200)} {fault}: name the `table` to read; {listing}")
        guess = suggest(str(self._table), names)
        raise ConfigError(
            f"{quoted(self.label, 200)} has no table {quoted(str(self._table))}: "
            + (f"did you mean {quoted(guess)}?" if guess else listing)
        )


def _own(id_: str, seen: dict[str, int]) -> str:
    """An id that no row before has: rows can be alike."""
    seen[id_] = seen.get(id_, -1) + 1
    return id_ if seen[id_] == 0 else digest([id_, seen[id_]])[:16]
