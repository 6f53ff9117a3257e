"""The hash chain over batches: computed when writing, checked when opening.

A row's text is its columns in table order, `\\x1f` between them and nothing for NULL; neither
that character nor a line end can stand raw in JSON or in any other column.  A batch's hash is
sha256 of the previous batch's hash and its rows' texts, one a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
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
# So few batches are hashed by one thread.
_ALONE = 64
# Number, events, first seq, the hash before it and its own.
_Batch = tuple[int, int, int, str, str]


def batch_hash(previous: str, rows: Iterable[Sequence[Any]]) -> str:
    """The hash of a batch whose rows are in `COLUMNS` order."""
    # Column for column, since a run writes thousands a second: a loop takes a third longer.
    lines = [
        f"{seq}\x1f{batch}\x1f{name}\x1f{run}\x1f{'' if sample is None else sample}\x1f"
        f"{'' if step is None else step}\x1f{'' if attempt is None else attempt}\x1f{kind}\x1f{form}\x1f"
        f"{ts}\x1f{'' if model is None else model}\x1f{'' if into is None else into}\x1f"
        f"{'' if out is None else out}\x1f{'' if ms is None else ms}\x1f{load}"
        for seq, batch, name, run, sample, step, attempt, kind, form, ts, model, into, out, ms, load in rows
    ]
    return sha256("\n".join([previous, *lines]).encode()).hexdigest()


def first_fault(connection: duckdb.DuckDBPyConnection, *, deep: bool) -> tuple[int, str] | None:
    """The first batch that does not hold and what is wrong with it, or None.

    Numbers, counts and links are checked in SQL.  `deep` hashes the events again too, here:
    hashing in SQL is five times slower and holds whole batches twice.
    """
    fault = connection.execute(_STRUCTURE).fetchone()
    if fault is not None:
        return int(fault[0]), str(fault[1])
    if not deep:
        return None
    batches = connection.execute(
        "SELECT batch_id, n, first_seq, prev_hash, hash FROM batches ORDER BY batch_id"
    ).fetchall()
    if not batches:
        return None
    # Each batch says what it follows, so that parts can be hashed side by side: reading, unpacking and
    # hashing hold no lock of the interpreter's.
    share = max(_ALONE, -(-len(batches) // (os.cpu_count() or 1)))
    parts = [batches[start : start + share] for start in range(0, len(batches), share)]
    if len(parts) == 1:
        return _altered_in(connection.cursor(), parts[0])
    with ThreadPoolExecutor(len(parts)) as pool:
        faults = list(pool.map(_altered_in, [connection.cursor() for _ in parts], parts))
    return next(filter(None, faults), None)


def _altered_in(cursor: duckdb.DuckDBPyConnection, batches: Sequence[_Batch]) -> tuple[int, str] | None:
    """The first of some batches, one behind the other, that does not have its hash."""
    cursor.execute("USE log")
    start, end = batches[0][2], batches[-1][2] + batches[-1][1]
    # Rows come as they lie in the file, which is the order they were written in: sorting a million
    # takes as long as hashing them.  Where that is not so, the batch is read again by its numbers.
    texts = cursor.execute(f"{_ROW_TEXTS} WHERE seq >= ? AND seq < ?", [start, end])
    for batch, count, first, previous, expected in batches:
        if _hash_texts(previous, texts.fetchmany(count)) == expected:
            continue
        beside = cursor.cursor()
        beside.execute("USE log")
        again = beside.execute(
            f"{_ROW_TEXTS} WHERE seq >= ? AND seq < ? ORDER BY seq", [first, first + count]
        )
        if _hash_texts(previous, again.fetchall()) != expected:
            return int(batch), "its events were altered"
    return None


def altered(connection: duckdb.DuckDBPyConnection, seqs: Sequence[int]) -> list[int]:
    """The batches of some events whose events do not have the hash that was taken of them."""
    batches = connection.execute(
        """SELECT b.batch_id, b.n, b.first_seq, b.prev_hash, b.hash FROM batches b
           WHERE EXISTS (SELECT 1 FROM (SELECT unnest(?) AS seq) s
                         WHERE s.seq >= b.first_seq AND s.seq < b.first_seq + b.n)
           ORDER BY b.batch_id""",
        [list(seqs)],
    ).fetchall()
    numbers = []
    for batch, count, first, previous, expected in batches:
        texts = connection.execute(
            f"{_ROW_TEXTS} WHERE seq >= ? AND seq < ? ORDER BY seq", [first, first + count]
        )
        if _hash_texts(previous, texts.fetchall()) != expected:
            numbers.append(int(batch))
    return numbers


def _hash_texts(previous: str, rows: list[tuple[bytes]]) -> str:
    # One text and one update a batch: two calls an event would take longer than the hash.
    return sha256(b"\n".join([previous.encode(), *[text for (text,) in rows]])).hexdigest()


_TEXTS = ", ".join(f"coalesce(CAST({column} AS VARCHAR), '')" for column in COLUMNS)
_ROW_TEXTS = f"SELECT encode(concat_ws(chr(31), {_TEXTS})) FROM events"


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
