"""The one door to DuckDB: nothing is ever downloaded, and no extension is loaded that is not built in."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

import duckdb

from synth.base.errors import LogError
from synth.store.log.chain import COLUMNS
from synth.store.log.damage import damaged, explain
from synth.store.log.location import Found, wal_of

_ALONE = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
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
_MOMENT_S = 0.05
# The tables of a log, with their columns.
TABLES = {"events": COLUMNS, "batches": ("batch_id", "n", "first_seq", "prev_hash", "hash")}


def connect() -> duckdb.DuckDBPyConnection:
    """A connection to a database in memory, to which files can be attached."""
    return duckdb.connect(config=dict(_ALONE))


def attach(path: Path, file: Path) -> duckdb.DuckDBPyConnection:
    """A connection that reads a log, as `log`; `path` is how messages name it.  Raises LogError."""
    try:
        return attached(file, "READ_ONLY")
    except duckdb.Error as error:
        raise explain(path, error) from None


def attach_for_writing(path: Path, file: Path, state: Found) -> duckdb.DuckDBPyConnection:
    """A connection that writes a log which may be read, or is made where there was none."""
    if state is Found.UNBEGUN:
        _clear(path, file)
    try:
        connection = attached(file, "ROW_GROUP_SIZE 16384")
    except duckdb.Error as error:
        raise explain(path, error) from None
    try:
        made = not has_tables(connection, path)
        # At once: a file with one of them is no log, nor one that can be begun.
        connection.execute(f"BEGIN; {_TABLES} COMMIT")
        if made:
            # So that a file without its write-ahead log is known for a log from now on.
            connection.execute("CHECKPOINT log")
    except duckdb.Error as error:
        connection.close()
        raise explain(path, error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def has_tables(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether what is attached is a log; False where it holds nothing at all, so that one may be begun.

    Raises LogError for what holds something else.
    """
    tables: dict[str, set[str]] = {}
    rows = connection.execute(
        """SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'log' AND NOT internal
           UNION ALL
           SELECT view_name, '' FROM duckdb_views() WHERE database_name = 'log' AND NOT internal"""
    )
    for table, column in rows.fetchall():
        tables.setdefault(table, set()).add(column)
    if not tables:
        return False
    if any(tables.get(table) != set(columns) for table, columns in TABLES.items()):
        raise LogError(
            f"{path} is a DuckDB file, but not a synth log: it has the tables of another application; "
            "`--log` names another place for the log"
        )
    return True


def attached(file: Path, options: str) -> duckdb.DuckDBPyConnection:
    """A connection to a database file, as `log`.  Raises duckdb.Error."""
    connection = connect()
    try:
        connection.execute(_SETTINGS)
        connection.execute(_ATTACH.format(path=str(file).replace("'", "''"), options=options))
        connection.execute("USE log")
    except BaseException:
        connection.close()
        raise
    return connection


def _clear(path: Path, file: Path) -> None:
    """Removes what a killed process left of a file that it was making, unless one is making it now."""
    # Between making a file and locking it nobody can tell the two apart.
    before = _sizes(file)
    time.sleep(_MOMENT_S)
    if _sizes(file) != before:
        raise LogError(f"{path} is being made by another process: run again once that is done")
    try:
        with file.open("r+b") as handle:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Nothing was committed to either.  The write-ahead log goes first: without its file it would
            # be taken for what is left of a log.
            for left in (wal_of(file), file):
                left.unlink(missing_ok=True)
    except BlockingIOError:
        raise LogError(f"{path} is being made by another process: run again once that is done") from None
    except OSError as error:
        raise LogError(f"{path} cannot be written: {error.strerror}") from None


def _sizes(file: Path) -> list[int]:
    """How far a file and its write-ahead log have come."""
    return [path.stat().st_size if path.exists() else -1 for path in (file, wal_of(file))]


def require_file(path: Path, file: Path) -> None:
    """Raises LogDamaged where a log's file is gone and its write-ahead log is not."""
    if wal_of(file).exists():
        raise damaged(path, f"the file is gone, and its write-ahead log {wal_of(file).name} is still there")
