"""A copy of a damaged log that the database can open.

What the database's checksums say was altered by a byte or two is put right; of what was altered more,
the checksum is replaced in the file, and the transaction taken out in the write-ahead log.  Nothing of it
is believed before the chain of hashes says so.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import duckdb

from synth.store.log.connection import attached
from synth.store.log.damage import place, repair_of
from synth.store.log.location import HEADER, wal_of
from synth.store.log.wal import FLUSH, FRAME, ends_at, entries, frame_of, header_end, header_for
from synth.store.rescue.correct import corrections

_BLOCK = 262_144
_HEADERS = (0, HEADER, 2 * HEADER)
_MAGIC = slice(8, 12)
_SHORT = re.compile(r"attempted to read (\d+) bytes from location (\d+)")
_MOST_REPAIRS = 10_000
_CHOICES = 24

T = TypeVar("T")


class Beyond(Exception):
    """Nothing of a file can be read; the text is a clause on why."""


class Repaired:
    """A copy of a log in a folder.  `repairs` are clauses on what had to be done to read it."""

    def __init__(self, source: Path, folder: Path, *, wal: bool) -> None:
        self.repairs: list[str] = []
        self._source = source
        self._file = folder / "log.duckdb"
        self._wal = wal_of(self._file)
        shutil.copyfile(source, self._file)
        if wal and wal_of(source).exists():
            shutil.copyfile(wal_of(source), self._wal)
        self._touched: set[tuple[str, int]] = set()
        self._connection: duckdb.DuckDBPyConnection | None = None
        # What else a header may have been, by where it is.
        self._choices: dict[int, list[tuple[int, bytes]]] = {}
        self._repair_frame()

    def read(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """What can be read, with repairs on the way.  Raises duckdb.Error where none helps."""
        for _ in range(_MOST_REPAIRS):
            try:
                if self._connection is None:
                    self._connection = attached(self._file, "READ_ONLY")
                return work(self._connection)
            except duckdb.Error as error:
                self.close()
                if not self._repair(error):
                    raise
        raise Beyond("there is no end to its faults")

    def require_open(self) -> None:
        """Raises Beyond where the copy cannot be opened whatever is done."""
        try:
            counts = self.read(_batches)
        except duckdb.Error as error:
            if not self._choices:
                raise Beyond(place(error)) from None
            counts = (0, 0)
        if self._choices:
            counts = self._choose(counts[0])
        if counts[0] > counts[1]:
            # What is in the file already was written once more from a write-ahead log of before.
            self._drop_wal("it belongs to an earlier state of the file")
            self.require_open()

    def _choose(self, batches: int) -> tuple[int, int]:
        """Tries what else a header may have been, and keeps what gives the most batches."""
        ((at, choices),) = list(self._choices.items())[-1:]
        self._choices = {}
        readings: list[tuple[int, int, tuple[int, bytes]]] = []
        for number, choice in enumerate(choices):
            self._restore(at, choice)
            try:
                readings.append((self.read(_batches)[0], -number, choice))
            except (duckdb.Error, Beyond):
                continue
        if not readings:
            raise Beyond(f"what its header at byte {at:,} was cannot be found out")
        self._restore(at, max(readings)[2])
        return self.read(_batches)

    def _restore(self, at: int, choice: tuple[int, bytes]) -> None:
        self.close()
        shutil.copyfile(self._source, self._file)
        self._touched = {("file", at)}
        offset, word = choice
        self._patch(at + 8 + offset, word)
        self.repairs = [f"altered bytes at {at + 8 + offset:,} were put right"]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _repair(self, error: duckdb.Error) -> bool:
        """Does something about a fault; False where nothing is left to do."""
        text = str(error)
        fault = repair_of(error)
        if fault is not None:
            kind, at, computed = fault
            if fault[:2] in self._touched:
                return kind == "wal" and self._drop_wal("it cannot be replayed")
            self._touched.add((kind, at))
            if kind == "wal":
                self._repair_entry(at, computed)
            else:
                self._repair_block(at, computed)
            return True
        if (short := _SHORT.search(text)) is not None:
            return self._lengthen(int(short[1]) + int(short[2]))
        if "not a valid DuckDB" in text and ("magic", 0) not in self._touched:
            self._touched.add(("magic", 0))
            self._patch(_MAGIC.start, b"DUCK")
            self.repairs.append("its first bytes were restored")
            return True
        if "WAL" in text and self._wal.exists():
            return self._drop_wal("it cannot be replayed")
        return False

    def _repair_frame(self) -> None:
        """Brings the write-ahead log into a form that is not given up half way."""
        if not self._wal.exists():
            return
        wal = self._wal.read_bytes()
        with self._file.open("rb") as file:
            head = file.read(3 * HEADER)
        if len(head) == 3 * HEADER and not wal.startswith(wanted := header_for(head)):
            start = header_end(wal)
            wal = wanted + wal[len(wanted) if start is None else start :]
            self._wal.write_bytes(wal)
            self.repairs.append("the beginning of its write-ahead log was restored")
        while (frame := frame_of(self._wal.read_bytes())) is not None and frame.broken is not None:
            self._cut(frame.broken)

    def _repair_entry(self, at: int, computed: int) -> None:
        wal = bytearray(self._wal.read_bytes())
        size, stored = struct.unpack_from("<QQ", wal, at)
        body = at + FRAME
        fixes = corrections(bytes(wal[body : body + size]), stored, computed)
        if len(fixes) != 1:
            self._cut(at)
            return
        ((offset, word),) = fixes
        wal[body + offset : body + offset + 8] = word
        self._wal.write_bytes(wal)
        self.repairs.append(f"altered bytes of its write-ahead log at {body + offset:,} were put right")

    def _cut(self, at: int) -> None:
        """Takes the transaction out of the write-ahead log that has a broken entry."""
        wal = self._wal.read_bytes()
        begin = end = header_end(wal) or 0
        for place_, size in entries(wal, begin):
            if place_ >= at or size is None:
                break
            if wal.startswith(FLUSH, place_):
                begin = place_ + len(FLUSH)
        if ends_at(wal, at):
            # Only its end was altered.
            self._wal.write_bytes(wal[:at] + FLUSH + wal[at + len(FLUSH) :])
            self.repairs.append(f"altered bytes of its write-ahead log at {at:,} were put right")
            return
        flush = wal.find(FLUSH, at)
        end = len(wal) if flush < 0 else flush + len(FLUSH)
        self._wal.write_bytes(wal[:begin] + wal[end:])
        # What comes after lies elsewhere now.
        self._touched = {fault for fault in self._touched if fault[0] != "wal" or fault[1] < begin}
        self.repairs.append(f"a transaction of its write-ahead log at {begin:,} was left out")

    def _repair_block(self, at: int, computed: int) -> None:
        size = HEADER if at in _HEADERS else _BLOCK
        with self._file.open("rb") as file:
            file.seek(at)
            block = file.read(size)
        stored = int.from_bytes(block[:8], "little")
        fixes = corrections(block[8:], stored, computed)
        if at in _HEADERS and len(fixes) > 1:
            # Which of them it was is seen by what can be read then.
            self._choices[at] = [*fixes[:_CHOICES], (-8, computed.to_bytes(8, "little"))]
            self._patch(at, computed.to_bytes(8, "little"))
        elif len(fixes) == 1:
            ((offset, word),) = fixes
            self._patch(at + 8 + offset, word)
            self.repairs.append(f"altered bytes at {at + 8 + offset:,} were put right")
        else:
            self._patch(at, computed.to_bytes(8, "little"))
            self.repairs.append(f"the block at byte {at:,} was read although its checksum does not hold")

    def _lengthen(self, size: int) -> bool:
        if size <= self._file.stat().st_size:
            return False
        with self._file.open("r+b") as file:
            file.truncate(size)
        self.repairs.append("its file was cut")
        return True

    def _drop_wal(self, why: str) -> bool:
        self._wal.unlink(missing_ok=True)
        self.repairs.append(f"its write-ahead log was left out, since {why}")
        return True

    def _patch(self, at: int, content: bytes) -> None:
        with self._file.open("r+b") as file:
            file.seek(at)
            file.write(content)


def _batches(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """How many batches there are, and how many of them are not the same."""
    row = connection.execute("SELECT count(*), count(DISTINCT batch_id) FROM batches").fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)
