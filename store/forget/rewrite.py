"""A log written anew, with tombstones in the place of what is forgotten."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from synth.base.errors import ConfigError
from synth.base.leftovers import draft, sweep
from synth.store.forget.find import Target, find
from synth.store.forget.remains import remains
from synth.store.forget.runs import Runs
from synth.store.forget.search import GONE
from synth.store.forget.tombstones import canonical, tombstone
from synth.store.log.chain import COLUMNS, GENESIS, batch_hash
from synth.store.log.connection import attach_for_writing
from synth.store.log.damage import reason
from synth.store.log.events import SCHEMA_VERSION, Kind
from synth.store.log.forgotten import all_earlier_heads, is_tombstone
from synth.store.log.location import Found, real, wal_of
from synth.store.log.log import Log
from synth.store.log.payloads import LogRewritten, SampleForgotten
from synth.store.log.witness.witness import witness_of

# Batches that are read and written in one go.
_BATCHES = 64
_MOST_EVENTS = 256

Row = tuple[Any, ...]
_KIND, _STEP, _MODEL = map(COLUMNS.index, ("kind", "step", "model"))


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What was forgotten: `samples` and `rows` by their ids, `payloads` that are tombstones now, and
    `redacted` ones of which single texts are gone.

    `plans` are hashes of plans that held a text, `lines` where the rows were read, `passages` the
    sources of passages; `heads` are the hashes that batches had before, all of them, in this log and
    in those that it was written from.  `left` is what a text is still in the new log, in `left_in` events.
    """

    new: Path
    samples: frozenset[str]
    rows: frozenset[str]
    payloads: int
    redacted: int
    events: int
    plans: tuple[str, ...]
    lines: tuple[str, ...]
    passages: tuple[str, ...]
    heads: frozenset[str]
    target: Target
    left: tuple[str, ...] = ()
    left_in: int = 0


def forget(log: Log, new: Path, *, samples: Sequence[str] = (), matching: Sequence[str] = ()) -> Forgetting:
    """Writes a log without some samples, and without whatever holds a text.

    The log that is given is only read, and `new` is there as a whole or not at all.  Raises ConfigError
    where nothing is to be forgotten, where nothing would be left, and where `new` is in the way.
    """
    place = real(new)
    sweep(place)
    if os.path.lexists(new) or os.path.lexists(witness_of(place)):
        raise ConfigError(f"{new} is there already: name a new log with --out")
    if os.path.lexists(wal_of(place)):
        raise ConfigError(f"{wal_of(place)} is there already, and belongs to another file")
    target = find(log.cursor(), samples, matching)
    work = draft(place)
    try:
        work.mkdir()
        written = work / place.name
        with _Writer(log, written, target) as writer:
            writer.copy()
            writer.tell()
        for path in (written, work):
            _sync(path)
        if place.exists():
            raise ConfigError(f"{new} is there by now: name a new log with --out")
        written.rename(place)
        _sync(place.parent)
    except duckdb.Error as error:
        raise ConfigError(f"{new} cannot be written: {reason(error)}") from None
    except OSError as error:
        raise ConfigError(f"{new} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    # It gets its witness.
    Log(new, writer=True, deep=False).close()
    return writer.done(new)


class _Writer:
    def __init__(self, log: Log, path: Path, target: Target) -> None:
        self._from = log
        self._path = path
        self._target = target
        self._tombstones: dict[str, list[int]] = {name: [] for name in target.names}
        # How the samples ended, by lineage.
        self._ended: dict[str, dict[str, str]] = {name: {} for name in target.names}
        self._redacted = 0
        self._payloads = 0
        self._heads: dict[str, str] = {}
        self._all_heads = all_earlier_heads(log.cursor())
        self._left: set[str] = set()
        self._left_in = 0
        self._head, self._next, self._batch = GENESIS, 0, 0

    def __enter__(self) -> _Writer:
        self._connection = attach_for_writing(self._path, self._path, Found.NOTHING)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def copy(self) -> None:
        """All batches, with tombstones in them."""
        batches = self._from.cursor().execute(
            "SELECT batch_id, n, first_seq, hash FROM batches ORDER BY batch_id"
        )
        cursor = self._from.cursor()
        while chunk := batches.fetchmany(_BATCHES):
            first, after = chunk[0][2], chunk[-1][2] + chunk[-1][1]
            rows = cursor.execute(
                f"SELECT {', '.join(COLUMNS)} FROM events WHERE seq >= ? AND seq < ? ORDER BY seq",
                [first, after],
            ).fetchall()
            written = []
            for batch, count, begin, digest in chunk:
                of_batch = [self._row(row) for row in rows[begin - first : begin - first + count]]
                written.append((of_batch, digest))
                self._all_heads.add(digest)
                self._chain(of_batch, batch, digest)
                self._look_again(of_batch)
            self._append([row for of_batch, _ in written for row in of_batch])

    def tell(self) -> None:
        """The events that say what was forgotten, after all others."""
        runs = Runs(self._from.cursor())
        forgotten = [
            (name, Kind.SAMPLE_FORGOTTEN, self._forgotten(name, runs)) for name in sorted(self._target.names)
        ]
        summary: LogRewritten = {
            "of": {"events": self._from.next_seq, "head": self._from.head},
            "samples": len(self._target.samples),
            "rows": len(self._target.rows),
            "payloads": self._payloads,
            "redacted": self._redacted,
            "plans": sorted(self._target.plans),
            "heads": self._heads,
        }
        events = [*forgotten, (None, Kind.LOG_REWRITTEN, summary)]
        run, now = uuid.uuid4().hex[:12], time.time_ns() // 1000
        for start in range(0, len(events), _MOST_EVENTS):
            rows = [
                _event(self._next + number, self._batch, run, now, *event)
                for number, event in enumerate(events[start : start + _MOST_EVENTS])
            ]
            self._chain(rows, self._batch)
            self._append(rows)
        self._connection.execute("CHECKPOINT log")

    def done(self, new: Path) -> Forgetting:
        target = self._target
        return Forgetting(
            new,
            frozenset(target.samples),
            frozenset(target.rows),
            self._payloads,
            self._redacted,
            self._next,
            tuple(target.plans),
            tuple(target.lines),
            tuple(sorted(target.passages)),
            frozenset(self._all_heads),
            target,
            tuple(sorted(self._left)),
            self._left_in,
        )

    def _look_again(self, rows: Sequence[Row]) -> None:
        """Takes note of what is left of the texts in what is written."""
        texts = self._target.texts
        if not texts:
            return
        for row in rows:
            if left := remains(texts, row[_KIND], row[_STEP], row[_MODEL], row[-1]):
                self._left |= left
                self._left_in += 1

    def _row(self, row: Row) -> Row:
        """A row of the log as it is from now on."""
        event = dict(zip(COLUMNS, row, strict=True))
        name, seq, target = event["sample_id"], event["seq"], self._target
        if name not in self._tombstones and seq not in target.within:
            return row
        payload = json.loads(event["payload"])
        if name in self._ended:
            self._note(name, event["kind"], event["run_id"], event["step"], payload)
        put = tombstone(event["kind"], event["payload"], payload, target.texts)
        if put is None:
            return row
        if name in self._tombstones:
            self._tombstones[name].append(seq)
            self._payloads += 1
            if event["kind"] == Kind.SAMPLE_COMPLETED and GONE in put.get("cell", {}).values():
                self._ended[name][put["lineage"]] = "hidden"
        elif event["kind"] == Kind.PLAN_REGISTERED:
            self._payloads += 1
        else:
            self._redacted += 1
        return (*row[:-1], canonical(put))

    def _note(self, name: str, kind: str, run: str, step: str | None, payload: Mapping[str, Any]) -> None:
        """Takes note of how a sample ended, and of the runs and steps that it was under way in."""
        ended = self._ended[name]
        if kind in (Kind.SAMPLE_COMPLETED, Kind.SAMPLE_ABANDONED) and not is_tombstone(payload):
            config_hash, outcome = payload["lineage"], kind.partition(".")[2]
            ended[config_hash] = "completed" if ended.get(config_hash) == "completed" else outcome
        elif step is not None:
            ended.setdefault(f"{run}\x1f{step}", "")

    def _forgotten(self, name: str, runs: Runs) -> SampleForgotten:
        """What is said of a sample or a row that is forgotten."""
        noted = self._ended[name]
        config_hashes = {config_hash: outcome for config_hash, outcome in noted.items() if outcome}
        for run, _, step in (key.partition("\x1f") for key, outcome in noted.items() if not outcome):
            # What was not ended is not to be made any more either.
            pending = runs.config_hashes(run, step, name)
            if not config_hashes.keys() & set(runs.config_hashes(run)):
                config_hashes |= dict.fromkeys(pending, "pending")
        return {
            "kind": "row" if name in self._target.rows else "sample",
            "lineages": config_hashes,
            "events": self._tombstones[name],
        }

    def _chain(self, rows: Sequence[Row], batch: int, former: str | None = None) -> None:
        """Adds a batch to the chain; `former` is the hash that it had."""
        digest = batch_hash(self._head, rows)
        if former is not None and former != digest:
            self._heads[str(batch)] = former
        self._connection.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?)", [batch, len(rows), rows[0][0], self._head, digest]
        )
        self._head, self._batch, self._next = digest, batch + 1, rows[0][0] + len(rows)

    def _append(self, rows: Sequence[Row]) -> None:
        with self._connection.appender("events") as appender:
            appender.append_rows(rows)


def _event(
    seq: int, batch: int, run: str, now: int, name: str | None, kind: Kind, payload: Mapping[str, Any]
) -> Row:
    return (
        *(seq, batch, f"{run}.{seq}", run, name, None, None, kind.value, SCHEMA_VERSION, now),
        *(None, None, None, None, canonical(payload)),
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
