"""One LanceDB table of passages: written as a whole version, read at an exact one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.base.errors import ConfigError
from synth.base.extras import install
from synth.runtime.retrieval.pick import Hit

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from lancedb import AsyncConnection, AsyncTable

# So many words of a query are looked for: more cost time and change little.
_MOST_WORDS = 256
# Names and ids in one filter.
_AT_ONCE = 500
# A version that a log names is to be read later, however old.
_FOR_EVER = timedelta(days=365_000)
_DIGITS = 5


def require_lancedb() -> None:
    """Raises ConfigError when LanceDB is not installed; else keeps its log from the terminal."""
    if find_spec("lancedb") is None:
        raise ConfigError(f"retrieval needs `lancedb`, which is not installed: {install('retrieval')}")
    os.environ.setdefault("LANCEDB_LOG", "error")


async def connect(folder: Path | None) -> AsyncConnection:
    """A store in a folder, or in memory."""
    import lancedb

    return await lancedb.connect_async(str(folder) if folder is not None else "memory://")


def schema(dimension: int | None) -> pa.Schema:
    """The columns of a table.  `terms` is the text folded, which is what full text looks in."""
    import pyarrow as pa

    text = ("id", "document", "piece", "heading", "text", "terms")
    fields = [*(pa.field(name, pa.string()) for name in text), pa.field("ordinal", pa.int32())]
    fields.append(pa.field("metadata", pa.json_(pa.utf8())))
    if dimension is not None:
        fields.append(pa.field("vector", pa.list_(pa.float32(), dimension)))
    return pa.schema(fields)


class ChunkTable:
    """A table at a version.  Queries give the same hits in the same order whatever the threads."""

    def __init__(self, table: AsyncTable) -> None:
        self._table = table
        # More searches at once than this are slower in sum: each already uses every core.
        self._searching = asyncio.Semaphore(4)

    async def search_text(self, words: str, limit: int, where: str | None) -> list[Hit]:
        """The passages that share a word with a folded query, by BM25."""
        from lancedb.query import MatchQuery

        query = MatchQuery(" ".join(words.split()[:_MOST_WORDS]), "terms")

        async def search(most: int) -> list[Hit]:
            matches = self._filtered(where).nearest_to_text(query).select(["id", "document", "_score"])
            async with self._searching:
                rows = await matches.limit(most).to_arrow()
            return _hits(rows, "_score", lambda score: score)

        return await _whole_ties(search, limit)

    async def search_vector(self, vector: np.ndarray[Any, Any], limit: int, where: str | None) -> list[Hit]:
        """The passages whose vectors have the largest cosine with one, exactly."""

        async def search(most: int) -> list[Hit]:
            matches = self._filtered(where).nearest_to(vector).distance_type("cosine").bypass_vector_index()
            async with self._searching:
                rows = await matches.select(["id", "document", "_distance"]).limit(most).to_arrow()
            return _hits(rows, "_distance", lambda distance: 1 - distance)

        return await _whole_ties(search, limit)

    async def fetch(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Passages by id, as what a recipe sees of them, without a score."""
        columns = ["id", "document", "heading", "text", "metadata"]
        passages = {}
        for start in range(0, len(ids), _AT_ONCE):
            query = self._table.query().where(f"id IN ({_literals(ids[start : start + _AT_ONCE])})")
            for row in (await query.select(columns).to_arrow()).to_pylist():
                passages[row["id"]] = {**row, "metadata": json.loads(row["metadata"])}
        return passages

    async def ids(self, where: str | None) -> pa.Array:
        """The ids of all passages, in order."""
        import pyarrow.compute as pc

        ids = (await self._filtered(where).select(["id"]).to_arrow())["id"].combine_chunks()
        return ids.take(pc.sort_indices(ids))

    async def dimension(self) -> int | None:
        """The length of the table's vectors, None where it has none."""
        columns = await self._table.schema()
        return columns.field("vector").type.list_size if "vector" in columns.names else None

    def _filtered(self, where: str | None) -> Any:
        query = self._table.query()
        return query.where(where) if where is not None else query


async def _whole_ties(search: Callable[[int], Any], limit: int) -> list[Hit]:
    """The best hits, at most `limit`.  Of equals at the end those with the lesser ids: the table
    gives any of them, so all are fetched."""
    most = limit + 8
    while True:
        hits: list[Hit] = sorted(await search(most), key=lambda hit: hit.order)
        if len(hits) < most or hits[-1].score < hits[limit - 1].score:
            return hits[:limit]
        most *= 4


def _hits(rows: pa.Table, column: str, score: Callable[[float], float]) -> list[Hit]:
    scores = rows[column].to_pylist()
    ids, documents = rows["id"].to_pylist(), rows["document"].to_pylist()
    return [
        # The last digits of a sum are not the same on every machine.
        Hit(id_, document, round(score(value), _DIGITS))
        for id_, document, value in zip(ids, documents, scores, strict=True)
        if value is not None
    ]


async def open_table(connection: AsyncConnection, name: str) -> AsyncTable | None:
    """The newest version of a table, or None where there is none."""
    try:
        return await connection.open_table(name)
    except ValueError as error:
        if "not found" in str(error):
            return None
        raise


async def tag(table: AsyncTable, name: str, version: int) -> None:
    """Names a version, which keeps it from being cleaned away; a name moves on to the newest."""
    if name in await table.tags.list():
        await table.tags.update(name, version)
    else:
        await table.tags.create(name, version)


async def write(
    connection: AsyncConnection,
    name: str,
    table: AsyncTable | None,
    *,
    dimension: int | None,
    gone: Sequence[str],
    rows: Callable[[pa.Schema], Iterator[pa.RecordBatch]],
    full_text: bool,
) -> AsyncTable:
    """Makes a table anew, or deletes the rows of the pieces that are `gone` and adds others.

    Afterwards its indexes cover every row, so that no search depends on what was there before.
    """
    import pyarrow as pa
    from lancedb.index import FTS, BTree

    columns = schema(dimension)
    fresh = table is None
    if table is None:
        # To overwrite what is not there would be remarked upon on the terminal.
        mode = "create" if await open_table(connection, name) is None else "overwrite"
        table = await connection.create_table(name, schema=columns, mode=mode)
    for start in range(0, len(gone), _AT_ONCE):
        await table.delete(f"piece IN ({_literals(gone[start : start + _AT_ONCE])})")
    await table.add(pa.RecordBatchReader.from_batches(columns, rows(columns)))
    if not fresh:
        # What was deleted would count among the texts; old versions stay readable.
        await table.optimize(cleanup_older_than=_FOR_EVER)
    await table.create_index("id", config=BTree(), replace=True)
    if full_text:
        # Texts are folded already.  One worker, since the number of a machine's cores would show.
        config = FTS(
            base_tokenizer="icu/split",
            stem=False,
            remove_stop_words=False,
            lower_case=False,
            ascii_folding=True,
            num_workers=1,
        )
        await table.create_index("terms", config=config, replace=True)
    return table


def _literals(names: Sequence[str]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in names)
