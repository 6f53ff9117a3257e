"""Passages on their way into a table, on disk and in the order of their ids."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.stdlib.checks import run_check
from synth.compiler.stdlib.checks.fold import fold
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.runtime.documents import Chunk

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 1024


class Keeper:
    """The checks of a source's `keep`, over passages in their order."""

    def __init__(self, checks: Sequence[CheckPlan]) -> None:
        self._checks = [check for check in checks if check.name != "distinct"]
        self._indexes = [
            NearDuplicates(float(str(check.arguments["similarity"])))
            for check in checks
            if check.name == "distinct"
        ]

    @property
    def compares(self) -> bool:
        """Whether one passage's verdict depends on others."""
        return bool(self._indexes)

    def keeps(self, chunk: Chunk) -> bool:
        if any(run_check(check.name, check.arguments, chunk.text) is not None for check in self._checks):
            return False
        if any(index.find(chunk.text) is not None for index in self._indexes):
            return False
        for index in self._indexes:
            index.keep(chunk.id, chunk.text)
        return True


class Spool:
    """A temporary table that SQLite keeps in a file when it grows, and removes."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", check_same_thread=False)
        self._connection.execute(
            "CREATE TABLE chunks(id TEXT PRIMARY KEY, document TEXT, piece TEXT, heading TEXT, text TEXT, "
            "ordinal INT, metadata TEXT, vector BLOB) WITHOUT ROWID"
        )
        self.keys: set[str] = set()
        self.count = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, segment: str, chunk: Chunk, vector: Sequence[float] | None) -> None:
        self.keys.update(chunk.metadata)
        metadata = canonical_json(dict(chunk.metadata))
        self._connection.execute(
            "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                chunk.id,
                chunk.document,
                segment,
                chunk.heading,
                chunk.text,
                chunk.ordinal,
                metadata,
                _packed(vector),
            ],
        )
        self.count += 1

    def texts(self) -> Iterator[str]:
        """The texts that have no vector yet."""
        for (text,) in self._connection.execute("SELECT text FROM chunks WHERE vector IS NULL ORDER BY id"):
            yield text

    def dimension(self) -> int | None:
        """The length of the vectors that came with the passages."""
        row = self._connection.execute("SELECT length(vector) FROM chunks WHERE vector NOT NULL").fetchone()
        return row[0] // 4 if row is not None else None

    def batches(self, columns: pa.Schema, vectors: Any) -> Iterator[pa.RecordBatch]:
        """The passages as a table's rows; `vectors` gives those of texts that came without."""
        import pyarrow as pa

        cursor = self._connection.execute(
            "SELECT id, document, piece, heading, text, ordinal, metadata, vector FROM chunks ORDER BY id"
        )
        while rows := cursor.fetchmany(_ROWS):
            ids, documents, segments, headings, texts, ordinals, metadata, own = zip(*rows, strict=True)
            arrays = [
                *(pa.array(column, pa.string()) for column in (ids, documents, segments, headings, texts)),
                pa.array([fold(text) for text in texts], pa.string()),
                pa.array(ordinals, pa.int32()),
                pa.ExtensionArray.from_storage(pa.json_(pa.utf8()), pa.array(metadata, pa.utf8())),
            ]
            if "vector" in columns.names:
                size = columns.field("vector").type.list_size
                data = b"".join(own if own[0] is not None else vectors(texts))
                values = pa.Array.from_buffers(pa.float32(), len(texts) * size, [None, pa.py_buffer(data)])
                arrays.append(pa.FixedSizeListArray.from_arrays(values, size))
            yield pa.RecordBatch.from_arrays(arrays, schema=columns)


def _packed(vector: Sequence[float] | None) -> bytes | None:
    if vector is None:
        return None
    import numpy as np

    packed: bytes = np.asarray(vector, "<f4").tobytes()
    return packed
