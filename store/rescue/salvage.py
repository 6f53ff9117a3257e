"""Writes a new log of what holds in a damaged one, which is not touched.

The batches before the first that does not hold are taken over as they are, hash for hash.  Those behind
it hold by themselves, but do not follow any more: they are chained anew, and an `event.lost` stands in
the place of each event that is missing before them, or that says nothing without those, so that all keep
their numbers and events that refer to each other still do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.errors import ConfigError, LogDamaged
from synth.base.leftovers import draft, sweep
from synth.store.log.chain import COLUMNS, GENESIS, batch_hash
from synth.store.log.connection import attach_for_writing
from synth.store.log.events import SCHEMA_VERSION, Kind
from synth.store.log.location import Found, refuse_addresses, wal_of
from synth.store.log.log import Log
from synth.store.log.payloads import EventLost
from synth.store.log.wal import is_of_another
from synth.store.rescue.batches import Bad, Reading
from synth.store.rescue.needed import Needed

_RUN = "salvage"
_WHY = "it did not hold when the log was salvaged"
_SEQ, _BATCH, _TS = map(COLUMNS.index, ("seq", "batch_id", "ts_us"))
_BATCHES_A_COMMIT = 64


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came of a log: `first` events in a row from its beginning, `behind` a fault that hold by
    themselves, and `lost` ones before and between those.  `sources` are those of which rows were lost,
    so that they are to be read again; `repairs` are clauses on what had to be done to read it."""

    first: int = 0
    behind: int = 0
    lost: int = 0
    sources: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()


def survey(path: Path, file: Path) -> Salvaged:
    """What a salvage of a log would come to.  Raises LogDamaged where that is nothing."""
    return _best(path, file)[0]


def _best(path: Path, file: Path) -> tuple[Salvaged, bool]:
    """What is had of a log with its write-ahead log or without it, where that is more, and which it is."""
    beside = wal_of(file)
    if not os.path.lexists(beside):
        return _take_over(Reading(path, file), None), True
    salvages, why = list[tuple[Salvaged, bool]](), None
    for wal in (True, False):
        try:
            salvages.append((_take_over(Reading(path, file, wal=wal), None), wal))
        except LogDamaged as error:
            why = why or error
        if wal and salvages and not salvages[0][0].lost and not salvages[0][0].repairs:
            # It belongs to the file, and nothing is wrong with either.
            return salvages[0]
    if not salvages:
        raise why or LogDamaged(f"nothing of {path} can be had")
    another = is_of_another(file)
    kept, wal = max(salvages, key=lambda choice: _worth(*choice, of_another=another))
    if not wal:
        left_out = f"{beside.name} was left out, since the file holds as much or more without it"
        kept = replace(kept, repairs=(left_out, *kept.repairs))
    return kept, wal


def _worth(kept: Salvaged, wal: bool, *, of_another: bool) -> tuple[bool, int, bool]:
    """A file that is whole without a write-ahead log of another one has nothing to gain from it."""
    whole = of_another and not wal and not kept.lost and not kept.repairs
    return whole, kept.first + kept.behind, not wal


def salvage(path: Path, file: Path, target: Path) -> Salvaged:
    """Writes `target`.  Raises ConfigError where it is there already, LogDamaged where nothing holds."""
    refuse_addresses(target)
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target} is there already: --salvage writes a new file")
    if wal_of(target).exists():
        raise ConfigError(f"{wal_of(target)} is there already, and belongs to another file")
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent} for {target.name}")
    sweep(target)
    written = draft(target)
    try:
        salvaged, wal = _best(path, file)
        new = _New(target, written)
        try:
            _take_over(Reading(path, file, wal=wal), new)
        finally:
            new.close()
        # A name that was taken meanwhile is not written over.
        os.link(written, target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        for left in (written, wal_of(written)):
            with suppress(OSError):
                left.unlink(missing_ok=True)
    # It is checked like any other, and has a witness from now on.
    Log(target, writer=True).close()
    return salvaged


class _New:
    """The new log while it is written."""

    def __init__(self, path: Path, file: Path) -> None:
        self._connection = attach_for_writing(path, file, Found.NOTHING)
        self._appender: Any = self._connection.appender("events")
        self._connection.execute("BEGIN")
        self._uncommitted = 0
        self.head = GENESIS

    def add(self, number: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """One batch, chained to the one before."""
        digest = batch_hash(self.head, rows)
        self._appender.append_rows(list(rows))
        self._appender.flush()
        self._connection.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?)", [number, len(rows), rows[0][0], self.head, digest]
        )
        self.head = digest
        self._uncommitted += 1
        if self._uncommitted >= _BATCHES_A_COMMIT:
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN")
            self._uncommitted = 0

    def close(self) -> None:
        self._connection.execute("COMMIT")
        self._connection.execute("CHECKPOINT log")
        self._appender = None
        self._connection.close()


def _take_over(reading: Reading, new: _New | None) -> Salvaged:
    """Counts what holds, and writes it where there is something to write to."""
    number = seq = first = behind = lost = ts = 0
    head, needed = GENESIS, Needed()
    for batch in reading:
        if isinstance(batch, Bad):
            continue
        missed, gap = batch.number - number, batch.first_seq - seq
        if (missed, gap) == (0, 0):
            if not lost and batch.previous != head:
                continue
        elif not 0 < missed <= gap:
            # It cannot have been there as well as what is before it.
            continue
        needed.lose(range(seq, batch.first_seq))
        lost += gap
        rows = []
        for row in batch.rows:
            why = needed.missed(row)
            rows.append(row if why is None else _lost(row[_SEQ], row[_BATCH], row[_TS], why))
            lost += why is not None
            behind += why is None and lost > 0
            first += lost == 0
        if new is not None:
            for missing, rows_lost in _gap(number, batch.number, seq, gap, ts):
                new.add(missing, rows_lost)
            new.add(batch.number, rows)
        head, ts = batch.hash, rows[-1][_TS]
        number, seq = batch.number + 1, batch.first_seq + len(rows)
    if not first and not behind:
        raise LogDamaged(f"nothing of {reading.path} can be had: none of its batches holds")
    return Salvaged(first, behind, lost, tuple(sorted(needed.sources)), reading.repairs)


def _gap(number: int, end: int, seq: int, count: int, ts: int) -> Iterator[tuple[int, list[tuple[Any, ...]]]]:
    """Batches of lost events for the numbers from one to another: nobody knows how they were divided."""
    for missing in range(number, end):
        share = count if missing == end - 1 else 1
        yield missing, [_lost(seq + index, missing, ts, _WHY) for index in range(share)]
        seq, count = seq + share, count - share


def _lost(seq: int, batch: int, ts: int, why: str) -> tuple[Any, ...]:
    """What stands in the place of an event."""
    kind = Kind.EVENT_LOST.value
    start = (seq, batch, f"{_RUN}.{seq}", _RUN, None, None, None, kind, SCHEMA_VERSION, ts)
    return (*start, None, None, None, None, canonical_json(EventLost(why=why)))
