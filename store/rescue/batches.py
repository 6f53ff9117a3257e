"""The batches of a damaged log that are as they were written.

Reading goes on in a process of its own, since a database that reads altered bytes may take its process
with it: then a new one begins behind the place.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple

import duckdb

from synth.base.errors import LogDamaged
from synth.store.log.chain import COLUMNS, GENESIS, batch_hash
from synth.store.rescue.repair import Beyond, Repaired

_COLUMNS = ", ".join([*COLUMNS[:-1], "CAST(payload AS VARCHAR)"])
_AT_ONCE = 64
_PROCESS = """
import sys
from pathlib import Path
from synth.store.rescue.batches import tell
tell(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True", sys.stdout.buffer, Path(sys.argv[4]))
"""
# Of a process that says nothing for so long, nothing more is expected.
_SILENCE_S = 120.0


class Batch(NamedTuple):
    """A batch that holds: its rows have the columns of `events`."""

    number: int
    first_seq: int
    previous: str
    hash: str
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Bad:
    """A batch that does not hold, as far as its place is known."""

    number: int
    first_seq: int
    events: int


@dataclass(frozen=True, slots=True)
class _Overview:
    """What a reading process says before its first batch."""

    batches: int
    repairs: tuple[str, ...]


class Reading:
    """Iterates over the batches of a log, in order, with those of its write-ahead log (`wal`) or without.
    `repairs` are clauses on what had to be done, known after the first; iterating raises LogDamaged
    where nothing can be read."""

    def __init__(self, path: Path, file: Path, *, wal: bool = True) -> None:
        self.repairs: tuple[str, ...] = ()
        self.path = path
        self._file = file
        self._wal = wal

    def __iter__(self) -> Iterator[Batch | Bad]:
        begin, total = 0, None
        while total is None or begin < total:
            came = False
            for message in _messages(self._file, begin, self._wal):
                if isinstance(message, str):
                    raise LogDamaged(f"nothing of {self.path} can be had: {message}")
                if isinstance(message, _Overview):
                    total, self.repairs = message.batches, message.repairs
                    continue
                begin, came = begin + 1, True
                yield message
            if total is None:
                raise LogDamaged(f"nothing of {self.path} can be had: the database fails when it reads it")
            if begin < total and not came:
                # What ended the process is in here.
                yield Bad(-1, -1, 0)
                begin += 1


def _messages(file: Path, begin: int, wal: bool) -> Generator[Any, None, None]:
    """What a process says that reads from one batch on, until it ends.  The folder that it repairs in is
    removed here, since the process may be killed."""
    with TemporaryDirectory(prefix="synth-doctor-") as folder:
        yield from _messages_by(file, begin, wal, folder)


def _messages_by(file: Path, begin: int, wal: bool, folder: str) -> Iterator[Any]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(file), str(begin), str(wal), folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
    )
    assert process.stdout is not None
    try:
        while True:
            watchdog = threading.Timer(_SILENCE_S, process.kill)
            watchdog.start()
            try:
                message = pickle.load(process.stdout)
            except (EOFError, pickle.UnpicklingError):
                return
            finally:
                watchdog.cancel()
            yield message
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def tell(file: Path, begin: int, wal: bool, out: BinaryIO, folder: Path) -> None:
    """What the reading process does."""
    try:
        repaired = Repaired(file, folder, wal=wal)
        repaired.require_open()
        table = repaired.read(_table)
    except (Beyond, duckdb.Error, OSError) as error:
        pickle.dump(str(error), out)
        return
    pickle.dump(_Overview(len(table), tuple(dict.fromkeys(repaired.repairs))), out)
    out.flush()
    # From where a process ended, one batch at a time until it is past the place.
    count = 1 if begin else _AT_ONCE
    while begin < len(table):
        for batch in _checked(repaired, table, begin, min(begin + count, len(table))):
            pickle.dump(batch, out)
        out.flush()
        begin += count
        count = _AT_ONCE if count == _AT_ONCE else count + 1
    repaired.close()


def _table(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT batch_id, n, first_seq, prev_hash, hash FROM batches ORDER BY batch_id"
    ).fetchall()


def _checked(
    repaired: Repaired, table: Sequence[tuple[Any, ...]], begin: int, end: int
) -> Iterator[Batch | Bad]:
    """The batches from one to another, read in one go where that can be."""
    try:
        first, last = table[begin][2], table[end - 1][2] + table[end - 1][1]
        rows = _rows(repaired, "seq >= ? AND seq < ?", [first, last])
    except (duckdb.Error, UnicodeDecodeError, Beyond):
        if end - begin > 1:
            middle = (begin + end) // 2
            yield from _checked(repaired, table, begin, middle)
            yield from _checked(repaired, table, middle, end)
            return
        rows = []
    by_batch: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        by_batch.setdefault(row[1], []).append(row)
    for index in range(begin, end):
        yield _check(table, index, by_batch.get(table[index][0], []))


def _rows(repaired: Repaired, condition: str, parameters: list[int]) -> list[tuple[Any, ...]]:
    query = f"SELECT {_COLUMNS} FROM events WHERE {condition} ORDER BY seq"
    return repaired.read(lambda connection: connection.execute(query, parameters).fetchall())


def _check(table: Sequence[tuple[Any, ...]], index: int, rows: list[tuple[Any, ...]]) -> Batch | Bad:
    """A batch holds where its hash is the one that was taken of it, by its own row or by the next one's."""
    number, count, first, previous, digest = table[index]
    before = table[index - 1][4] if index else GENESIS
    after = table[index + 1][3] if index + 1 < len(table) else digest
    if rows and [row[0] for row in rows] == list(range(rows[0][0], rows[0][0] + len(rows))):
        for link in dict.fromkeys((previous, before)):
            computed = batch_hash(link, rows)
            if computed in (digest, after):
                return Batch(number, rows[0][0], link, computed, rows)
    return Bad(number, first, count)
