"""The witness: a small file beside a log that remembers how far the log had come.

It is written after each COMMIT, so one that is behind its log is normal, and one that is ahead says
that events are missing which were durable: the write-ahead log was cut or is gone, or the file is an
older copy.  It has two lines that are written by turns and carry a checksum, so that a write that was
cut leaves the other.  Each commit's is left to the system's cache, which a kill does not touch; the
disk is waited for once in SYNC_SECONDS, since to wait each time would double what a commit costs.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import duckdb

from synth.store.log.chain import GENESIS
from synth.store.log.witness.spent import Spent, spent_from

SYNC_SECONDS = 1.0
_LINE = 512
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has come: its events and batches, the hash of its last batch (`head`) and that of
    its first one (`log`), which tells logs apart."""

    events: int = 0
    batches: int = 0
    head: str = GENESIS
    log: str = ""


@dataclass(frozen=True, slots=True)
class Testimony:
    """What a witness says: a position, the answered calls up to it and about what they cost, and once the
    log was closed which file that left (`seal_of`)."""

    position: Position
    calls: int = 0
    cost: float = 0.0
    seal: str = ""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a log is short of.  `events` is None where it went on otherwise than its witness saw, so that
    nobody can say how much that is."""

    events: int | None
    calls: int = 0
    cost: float = 0.0

    def __str__(self) -> str:
        if self.events is None:
            return "it went on otherwise than its witness saw, from an older copy of it"
        return f"it is short of {self.what} that its witness saw"

    @property
    def what(self) -> str:
        """`12 events (5 answers among them, which cost about 0.2)`."""
        money = f", which cost about {self.cost:.4g}" if self.cost else ""
        calls = f" ({self.calls:,} {'answer' if self.calls == 1 else 'answers'} among them{money})"
        events = f"{self.events:,} {'event' if self.events == 1 else 'events'}"
        return f"{events}{calls if self.calls else ''}"


def witness_of(path: Path) -> Path:
    """Where the witness of a log is; `path` is the file itself, no link to it."""
    return path.with_name(f"{path.name}.witness")


def seal_of(file: Path) -> str:
    """What tells a file from one that was written to since: its number, size and times.  Nothing where
    that cannot be told, or where a write-ahead log has more."""
    try:
        status = file.stat()
        if file.with_name(f"{file.name}.wal").exists():
            return ""
    except OSError:
        return ""
    # Some file systems keep whole seconds, in which a file can be written to twice.
    if status.st_mtime_ns % 1_000_000_000 == 0:
        return ""
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def read(path: Path) -> Testimony | None:
    """What a witness says that was written last; None where there is none or no line of it holds."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            text = file.read(2 * _LINE)
    except OSError:
        return None
    testimonies = [_parse(text[at : at + _LINE]) for at in (0, _LINE)]
    # Of two of one position the one with a seal was written later.
    return max(
        filter(None, testimonies),
        key=lambda testimony: (testimony.position.batches, testimony.seal),
        default=None,
    )


def position_of(connection: duckdb.DuckDBPyConnection) -> Position:
    """How far an attached log has come."""
    last = connection.execute(
        """SELECT first_seq + n, batch_id + 1, hash, (SELECT hash FROM batches WHERE batch_id = 0)
           FROM batches ORDER BY batch_id DESC LIMIT 1"""
    ).fetchone()
    return Position() if last is None else Position(int(last[0]), int(last[1]), str(last[2]), str(last[3]))


def is_other(testimony: Testimony, position: Position) -> bool:
    """Whether a witness is that of another log."""
    return bool(testimony.position.events and position.events and testimony.position.log != position.log)


def loss_of(testimony: Testimony, connection: duckdb.DuckDBPyConnection, position: Position) -> Loss | None:
    """What a log is short of by its witness."""
    seen = testimony.position
    if seen == position:
        return None
    if position.events < seen.events:
        there = spent_from(connection, 0)
        return Loss(
            seen.events - position.events,
            max(testimony.calls - there.calls, 0),
            max(testimony.cost - there.cost, 0.0),
        )
    if seen.events == 0:
        return None
    row = connection.execute("SELECT hash FROM batches WHERE first_seq + n = ?", [seen.events]).fetchone()
    return None if row is not None and row[0] == seen.head else Loss(None)


class Witness:
    """The witness of a log that is open.  What keeps it from being written harms nothing."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where none can be kept."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        made = not path.exists()
        self._file = os.open(path, flags, 0o666)
        if not stat.S_ISREG(os.fstat(self._file).st_mode) or not _is_ours(os.pread(self._file, 64, 0)):
            os.close(self._file)
            raise FileExistsError(17, "something else has its name")
        self._made = path.parent if made else None
        self._turn = 0
        self._synced = time.monotonic()

    def begin(self, testimony: Testimony) -> None:
        """Forgets what was said before."""
        with suppress(OSError):
            self.tell(testimony)
            self.tell(testimony)
            os.ftruncate(self._file, 2 * _LINE)
            self._sync()
            if self._made is not None:
                _sync_folder(self._made)

    def tell(self, testimony: Testimony) -> None:
        """Writes what is durable by now."""
        with suppress(OSError):
            os.pwrite(self._file, _line(testimony), self._turn * _LINE)
            self._turn = 1 - self._turn
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self._sync()

    def close(self) -> None:
        with suppress(OSError):
            self._sync()
        os.close(self._file)

    def _sync(self) -> None:
        os.fsync(self._file)
        self._synced = time.monotonic()


def testify(connection: duckdb.DuckDBPyConnection, position: Position, known: Testimony | None) -> Testimony:
    """What is to be said of a log; `known` is what its witness said of its beginning."""
    spent = spent_from(connection, known.position.events if known else 0) if position.events else Spent()
    return Testimony(
        position, spent.calls + (known.calls if known else 0), spent.cost + (known.cost if known else 0.0)
    )


def _line(testimony: Testimony) -> bytes:
    seen = testimony.position
    body = {
        "witness": _FORMAT,
        "events": seen.events,
        "batches": seen.batches,
        "head": seen.head,
        "log": seen.log,
        "calls": testimony.calls,
        "cost": round(testimony.cost, 6),
        **({"seal": testimony.seal} if testimony.seal else {}),
    }
    text = json.dumps({**body, "sum": _sum(body)})
    return text.encode().ljust(_LINE - 1) + b"\n"


def _parse(line: bytes) -> Testimony | None:
    try:
        body = json.loads(line)
        if body.pop("sum") != _sum(body) or body.pop("witness") != _FORMAT:
            return None
        calls, cost, seal = int(body.pop("calls")), float(body.pop("cost")), str(body.pop("seal", ""))
        return Testimony(Position(**body), calls, cost, seal)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _sum(body: dict[str, object]) -> str:
    return sha256(repr(sorted(body.items())).encode()).hexdigest()[:16]


def _is_ours(head: bytes) -> bool:
    return not head.strip(b"\0") or head.startswith(b'{"witness":')


def _sync_folder(folder: Path) -> None:
    """So that the name is durable too; some systems cannot."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
