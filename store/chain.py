"""The hash chain over batches: computed when writing, checked when opening.

A row's text is its columns in table order, `\\x1f` between them and nothing for NULL; neither
that character nor a line end can stand raw in JSON or in any other column.  A batch's hash is
sha256 of the previous batch's hash and its rows' texts, one a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

import duckdb

COLUMNS = (
    "seq",
    "batch_id",
    "event_id",
    "run_id",
    "sample_id",
    "step",
    "attempt",
    "kind",
    "schema_version",
    "ts_us",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "latency_ms",
    "payload",
)

GENESIS = "0" * 64


def batch_hash(previous: str, rows: Iterable[Sequence[Any]]) -> str:
    """The hash of a batch whose rows are in `COLUMNS` order."""
    lines = [previous]
    lines += ["\x1f".join("" if value is None else str(value) for value in row) for row in rows]
    return sha256("\n".join(lines).encode()).hexdigest()


def first_fault(connection: duckdb.DuckDBPyConnection, *, deep: bool) -> tuple[int, str] | None:
    """The first batch that does not hold and what is wrong with it, or None.

    Numbers, counts and links are checked in SQL.  `deep` hashes the events again too, here and
    a range of `seq` at a time: hashing in SQL is five times slower and holds whole batches twice.
    """
    fault = connection.execute(_STRUCTURE).fetchone()
    if fault is not None:
        return int(fault[0]), str(fault[1])
    if not deep:
        return None
    batches = connection.execute(
        "SELECT batch_id, n, first_seq, prev_hash, hash FROM batches ORDER BY batch_id"
    ).fetchall()
    lines: Iterator[str] = _row_texts(connection, batches[-1][2] + batches[-1][1] if batches else 0)
    for batch, count, _, previous, expected in batches:
        # One text and one update a batch: two calls an event would take longer than the hash.
        text = "\n".join((previous, *islice(lines, count)))
        if sha256(text.encode()).hexdigest() != expected:
            return int(batch), "its events were altered"
    return None


_RANGE = 65_536
_TEXTS = ", ".join(f"coalesce(CAST({column} AS VARCHAR), '')" for column in COLUMNS)
_ROW_TEXT = f"concat_ws(chr(31), {_TEXTS})"


def _row_texts(connection: duckdb.DuckDBPyConnection, end: int) -> Iterator[str]:
    cursor = connection.cursor()
    cursor.execute("USE log")
    for start in range(0, end, _RANGE):
        found = cursor.execute(
            f"SELECT {_ROW_TEXT} FROM events WHERE seq >= ? AND seq < ? ORDER BY seq", [start, start + _RANGE]
        )
        while rows := found.fetchmany(4096):
            for (line,) in rows:
                yield line


# The first batch whose number, count or link does not hold, with what is wrong.
_STRUCTURE = f"""
WITH found AS (
    SELECT batch_id, count(*) AS n, count(DISTINCT seq) AS seqs, min(seq) AS first_seq, max(seq) AS last_seq
    FROM events GROUP BY batch_id
), linked AS (
    SELECT batch_id, n, first_seq, prev_hash,
           coalesce(lag(hash) OVER (ORDER BY batch_id), '{GENESIS}') AS before,
           coalesce(lag(first_seq + n) OVER (ORDER BY batch_id), 0) AS expected_seq,
           row_number() OVER (ORDER BY batch_id) - 1 AS expected_id
    FROM batches
)
SELECT coalesce(l.batch_id, f.batch_id) AS batch_id,
       CASE
           WHEN l.batch_id IS NULL THEN 'its events have no batch'
           WHEN l.batch_id <> l.expected_id THEN 'a batch before it is missing'
           WHEN f.batch_id IS NULL THEN 'its events are missing'
           WHEN f.n <> l.n THEN 'it has ' || f.n || ' events instead of ' || l.n
           WHEN f.seqs <> l.n OR f.first_seq <> l.first_seq OR f.last_seq <> l.first_seq + l.n - 1
                OR l.first_seq <> l.expected_seq THEN 'its events are not numbered without gaps'
           WHEN l.prev_hash <> l.before THEN 'it does not follow the batch before it'
       END AS fault
FROM linked l FULL JOIN found f USING (batch_id)
WHERE fault IS NOT NULL
ORDER BY batch_id
LIMIT 1
"""
