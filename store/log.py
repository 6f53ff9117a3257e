"""The log: one DuckDB file, appended to by one process, a transaction for each batch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from compiler.plan import canonical_json
from dsl.errors import LogDamaged, LogError, LogFull, LogHeld
from store.chain import GENESIS, batch_hash, first_fault
from store.event import SCHEMA_VERSION, Event

# Small row groups keep the pause of a checkpoint short.  What is not checkpointed yet is held in
# memory, byte for byte, and is replayed after a crash at some 100 MB/s.
_ATTACH = "ATTACH '{path}' AS log ({options})"
_SETTINGS = "SET checkpoint_threshold = '64MB'"

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    seq BIGINT NOT NULL, batch_id BIGINT NOT NULL, event_id VARCHAR NOT NULL, run_id VARCHAR NOT NULL,
    sample_id VARCHAR, step VARCHAR, attempt INTEGER, kind VARCHAR NOT NULL,
    schema_version SMALLINT NOT NULL, ts_us BIGINT NOT NULL, model VARCHAR,
    prompt_tokens INTEGER, completion_tokens INTEGER, latency_ms INTEGER,
    payload JSON USING COMPRESSION zstd
);
CREATE TABLE IF NOT EXISTS batches (
    batch_id BIGINT NOT NULL, n INTEGER NOT NULL, first_seq BIGINT NOT NULL,
    prev_hash VARCHAR NOT NULL, hash VARCHAR NOT NULL
);
"""


class Log:
    """An open log.  Opening checks numbering, counts and links; `deep` hashes every event again.

    Use it as a context manager.  `writer` logs are created when absent and held exclusively;
    readers can share a file that no process writes.  Raises LogHeld, LogDamaged or LogError.
    """

    def __init__(self, path: Path, *, writer: bool = False, deep: bool = True) -> None:
        self.path = path
        self._writer = writer
        self._connect()
        try:
            self._check(deep)
            self.next_seq, self.next_batch, self.head = self._position()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same database, for another thread or a long query."""
        cursor = self._connection.cursor()
        cursor.execute("USE log")
        return cursor

    def append(self, events: Sequence[Event]) -> None:
        """Commits events as one batch.  When this returns they are durable.

        Raises LogFull when they could not be committed; then none of them is in the log.
        """
        if not events:
            return
        if events[0].seq != self.next_seq:
            raise LogError(f"event {events[0].seq} does not follow event {self.next_seq - 1}")
        rows = [_row(event, self.next_batch) for event in events]
        digest = batch_hash(self.head, rows)
        try:
            self._commit(rows, digest)
        except duckdb.Error as error:
            # COMMIT may raise although the batch is durable (a failed checkpoint after it):
            # only the file knows.
            self._reopen()
            if self.head != digest:
                raise LogFull(
                    f"{self.path}: the log cannot be written ({_reason(error)}); "
                    f"{self.next_seq} events are safe: make room and run again"
                ) from None
            return
        self.next_seq += len(rows)
        self.next_batch += 1
        self.head = digest

    def close(self) -> None:
        """Closes the file; a checkpoint that fails for want of room loses nothing."""
        # An appender that is left over would keep the file open.
        self._appender = None
        with suppress(duckdb.Error):
            self._connection.close()

    def _commit(self, rows: list[tuple[Any, ...]], digest: str) -> None:
        connection = self._connection
        assert self._appender is not None, "only a writer appends"
        connection.execute("BEGIN")
        try:
            self._appender.append_rows(rows)
            self._appender.flush()
            connection.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?)",
                [self.next_batch, len(rows), rows[0][0], self.head, digest],
            )
            connection.execute("COMMIT")
        except BaseException:
            # After a failed COMMIT there may be no transaction left to roll back.
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            # What did not go in must not go in with the next batch.
            self._appender.clear()
            raise

    def _connect(self) -> None:
        self._connection = _connect(self.path, self._writer)
        # Made once: making one for each batch takes a fifth of a small batch's time.
        self._appender = self._connection.appender("events") if self._writer else None

    def _reopen(self) -> None:
        self.close()
        self._connect()
        self.next_seq, self.next_batch, self.head = self._position()

    def _position(self) -> tuple[int, int, str]:
        last = self._connection.execute(
            "SELECT first_seq + n, batch_id + 1, hash FROM batches ORDER BY batch_id DESC LIMIT 1"
        ).fetchone()
        return (int(last[0]), int(last[1]), str(last[2])) if last else (0, 0, GENESIS)

    def _check(self, deep: bool) -> None:
        try:
            fault = first_fault(self._connection, deep=deep)
        except duckdb.Error as error:
            raise LogDamaged(f"{self.path}: the log cannot be read ({_reason(error)})") from None
        if fault is not None:
            raise LogDamaged(
                f"{self.path}: batch {fault[0]} does not hold: {fault[1]}; "
                "restore the file from a copy, since what follows cannot be trusted"
            )


def _row(event: Event, batch: int) -> tuple[Any, ...]:
    seq, kind, run, ts_us, payload, sample, step, attempt, model, prompt, completion, latency = event
    return (
        seq,
        batch,
        # Unique over all logs.
        f"{run}.{seq}",
        run,
        sample,
        step,
        attempt,
        kind._value_,
        SCHEMA_VERSION,
        ts_us,
        model,
        prompt,
        completion,
        latency,
        canonical_json(payload),
    )


def _connect(path: Path, writer: bool) -> duckdb.DuckDBPyConnection:
    if not writer and not path.exists():
        raise LogError(f"there is no log at {path}: `synth run` makes one, `--log` names another")
    if path.is_dir():
        raise LogError(f"{path} is a folder; `--log` names a file")
    options = "ROW_GROUP_SIZE 16384" if writer else "READ_ONLY"
    connection = duckdb.connect()
    try:
        connection.execute(_SETTINGS)
        connection.execute(_ATTACH.format(path=str(path).replace("'", "''"), options=options))
        connection.execute("USE log")
        if writer:
            connection.execute(_TABLES)
        else:
            _require_tables(connection, path)
    except duckdb.Error as error:
        connection.close()
        raise _explain(path, error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _require_tables(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    names = {
        row[0]
        for row in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'log'"
        ).fetchall()
    }
    if not {"events", "batches"} <= names:
        raise LogError(f"{path} is a DuckDB file, but not a synth log: it has no events")


def _explain(path: Path, error: duckdb.Error) -> LogError:
    text = str(error)
    holder = re.search(r"PID (\d+)", text)
    if "lock" in text and holder is not None:
        return LogHeld(
            f"{path} is being written by process {holder[1]}: wait until it ends, or stop it; "
            "`synth status` shows how far it is"
        )
    if "not a valid DuckDB database" in text:
        return LogError(f"{path} is not a DuckDB file: `--log` names another place for the log")
    return LogError(f"{path}: the log cannot be opened ({_reason(error)})")


def _reason(error: duckdb.Error) -> str:
    """The first sentence of a DuckDB error, without its class and without advice."""
    first = str(error).split("\n", 1)[0]
    return first.split(": ", 1)[-1].rstrip(". ")
