"""What an index remembers beside its tables: which files are in them, and every vector.

One SQLite file in the index's folder, each change of it one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from synth.base.display import visible
from synth.base.errors import ConfigError

FILE_NAME = "synth.sqlite"
LOCK_NAME = "synth.lock"

_TABLES = """
CREATE TABLE IF NOT EXISTS sources(name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts(
    source TEXT, name TEXT, stamp TEXT, documents INT, empty INT, chunks INT, PRIMARY KEY (source, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors(key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a source as the table has it.  `stamp` is the sha256 of what it was made from;
    `empty` documents are those without a passage."""

    name: str
    stamp: str
    documents: int = 0
    empty: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """What a source's table holds at a version; 0 is none yet.

    `settings` names how passages are made and found; `digest` that and the files they are made
    from; `keys` are the names of their metadata; `embedder` is who made their vectors.
    """

    version: int = 0
    settings: str = ""
    digest: str = ""
    keys: tuple[str, ...] = ()
    embedder: str | None = None


class State:
    """Raises ConfigError when the file is damaged or may not be written."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._path = str(folder / FILE_NAME) if folder is not None else ":memory:"
        with self._as_config_error():
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            # The index uses it by turns, from the event loop's thread and from helpers.
            self._connection = sqlite3.connect(self._path, check_same_thread=False, timeout=30.0)
            self._connection.executescript(_TABLES)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other processes from ingesting into the same folder; a killed one keeps nobody."""
        if self._folder is None:
            yield
            return
        with self._as_config_error():
            lock = sqlite3.connect(self._folder / LOCK_NAME, timeout=0.0, isolation_level=None)
        try:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                raise ConfigError(
                    f"another process is writing to the index {visible(str(self._folder))}: "
                    "run again when it is done"
                ) from None
            yield
        finally:
            lock.close()

    def record(self, source: str) -> Record | None:
        with self._as_config_error():
            row = self._connection.execute("SELECT record FROM sources WHERE name = ?", [source]).fetchone()
            if row is None:
                return None
            fields = json.loads(row[0])
            return Record(**{**fields, "keys": tuple(fields["keys"])})

    def parts(self, source: str) -> dict[str, Part]:
        """The files that a source's table was made from, by name."""
        with self._as_config_error():
            rows = self._connection.execute(
                "SELECT name, stamp, documents, empty, chunks FROM parts WHERE source = ?", [source]
            )
            return {row[0]: Part(*row) for row in rows}

    def save(self, source: str, record: Record, parts: Sequence[Part] | None = None) -> None:
        """Replaces what is known of a source; without `parts` those stay."""
        with self._as_config_error(), self._connection as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sources VALUES (?, ?)", [source, json.dumps(asdict(record))]
            )
            if parts is None:
                return
            connection.execute("DELETE FROM parts WHERE source = ?", [source])
            connection.executemany(
                "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)",
                ([source, p.name, p.stamp, p.documents, p.empty, p.chunks] for p in parts),
            )

    def vectors(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of the vectors that are known; each is float32s, the lowest byte first."""
        with self._as_config_error():
            vectors: dict[bytes, bytes] = {}
            for start in range(0, len(keys), 500):
                chunk = keys[start : start + 500]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT key, vector FROM vectors WHERE key IN ({marks})"
                vectors.update(self._connection.execute(query, chunk).fetchall())
            return vectors

    def add_vectors(self, vectors: Mapping[bytes, bytes]) -> None:
        with self._as_config_error(), self._connection as connection:
            connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", vectors.items())

    @contextmanager
    def _as_config_error(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, OSError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, sqlite3.OperationalError | OSError):
                what, remedy = f"cannot be used ({error})", "check that the folder can be written"
            else:
                what, remedy = "is damaged", "remove the index's folder, and the next run builds it again"
            raise ConfigError(f"{visible(self._path)} {what}: {remedy}") from None
