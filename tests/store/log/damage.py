"""Logs that are damaged at random, and what must be true of each: for the tests, and for `make damage`.

A log of a run lies partly in its file and partly in its write-ahead log.  After each damage it either
opens and all is there, or opens with a sentence on what is missing, or is refused with one that names
`synth doctor`; what is salvaged of it is what was written.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import synth
from synth.base.errors import LogDamaged, LogError, LogShort, QuotaShort
from synth.compiler.plan.model import Plan
from synth.store.dataset.materialize import materialize
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log
from synth.store.log.wal import FLUSH
from synth.store.rescue.salvage import salvage
from tests.kit.support import QUICKSTART, python

DEEDS = (
    *("flip", "flip", "flip", "flips", "byte", "noise", "zeros", "page", "cut", "cut"),
    *("missing", "older", "magic", "size", "twice"),
)
_BATCH = 9
_FIELDS = tuple(name for name in Event._fields if name not in ("kind", "payload"))
_KILLED = """
import os, sys
from pathlib import Path
from tests.store.log.damage import copy_events
log = copy_events(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), None)
os._exit(9)
"""


@dataclass
class Truth:
    """A log as it was, in a folder: the parts of it by their names, its events, and the rows that were
    made of it by their ids.  `older` is its file at an earlier time."""

    folder: Path
    plan: Plan
    files: dict[str, bytes]
    older: bytes
    events: list[tuple[Any, ...]]
    batches: list[int]
    rows: dict[str, Any]


@dataclass
class Findings:
    """What came of damages.  `ends` counts how they ended; the others must stay empty."""

    ends: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    mute: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    salvaged: int = 0
    nothing: int = 0
    kept: int = 0
    of: int = 0


def make(folder: Path, samples: int = 48) -> Truth:
    """A run of the quickstart, of which the first half of the events are in the file."""
    plan = synth.compile(QUICKSTART, conversations=samples)
    whole, log = folder / "whole.duckdb", folder / "synth.duckdb"
    synth.run(plan, log=whole, simulate=True)
    with Log(whole) as opened:
        half = opened.next_seq // 2
    copy_events(whole, log, 0, half // 2).close()
    older = log.read_bytes()
    copy_events(whole, log, half // 2, half).close()
    done = python("-c", _KILLED, whole, log, str(half))
    assert done.status == 9, done.err
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith(log.name)}
    assert set(files) >= {"synth.duckdb", "synth.duckdb.wal", "synth.duckdb.witness"}
    with Log(log) as opened:
        events, batches = _events(opened), _ends(opened)
        rows = _rows(plan, opened, folder / "out")
    return Truth(folder, plan, files, older, events, batches, rows)


def copy_events(source: Path, target: Path, first: int, end: int | None) -> Log:
    """Appends events of one log to another, in small batches, and leaves it open."""
    with Log(source, deep=False) as opened:
        rows = opened.cursor().execute(
            f"SELECT kind, payload, {', '.join(_FIELDS)} FROM events WHERE seq >= ? AND seq < ? ORDER BY seq",
            [first, opened.next_seq if end is None else end],
        )
        events = [
            Event(kind=Kind(kind), payload=json.loads(payload), **dict(zip(_FIELDS, rest, strict=True)))
            for kind, payload, *rest in rows.fetchall()
        ]
    log = Log(target, writer=True)
    for at in range(0, len(events), _BATCH):
        log.append(events[at : at + _BATCH])
    return log


def check(truth: Truth, seed: int, folder: Path, findings: Findings) -> None:
    """Damages a copy of the log by a seed, and looks at what is said of it and what can be had."""
    chance = random.Random(seed)
    files = dict(truth.files)
    deed = _damage(truth, files, chance)
    case = f"seed {seed}: {deed}"
    for name, content in files.items():
        (folder / name).write_bytes(content)
    log = folder / "synth.duckdb"
    end = _open(truth, log, case, findings)
    findings.ends[end] += 1
    if end.startswith("refused"):
        _salvage(truth, log, folder, case, findings)


def _open(truth: Truth, log: Path, case: str, findings: Findings) -> str:
    try:
        with Log(log) as opened:
            notices, events = opened.notices, _events(opened)
            if _wrong(events, truth.events[: len(events)]):
                findings.wrong.append(case)
            if len(events) < len(truth.events) and not any("is short of" in notice for notice in notices):
                findings.silent.append(case)
            rows = _rows(truth.plan, opened, log.parent / "out")
            if any(truth.rows.get(name) != row for name, row in rows.items()):
                findings.wrong.append(f"{case}: rows")
    except LogError as error:
        if "synth doctor" not in str(error):
            findings.mute.append(f"{case}: {error}")
        return "refused as damaged" if isinstance(error, LogDamaged) else "refused"
    before = {path.name: path.read_bytes() for path in log.parent.iterdir() if path.is_file()}
    try:
        Log(log, writer=True).close()
    except LogShort as error:
        if "synth doctor" not in str(error) or len(events) == len(truth.events):
            findings.mute.append(f"{case}: {error}")
        if {path.name: path.read_bytes() for path in log.parent.iterdir() if path.is_file()} != before:
            findings.wrong.append(f"{case}: written")
        return "told what is missing"
    if len(events) < len(truth.events):
        findings.silent.append(f"{case}: written")
    return "whole"


def _salvage(truth: Truth, log: Path, folder: Path, case: str, findings: Findings) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    new = folder / "new.duckdb"
    try:
        kept = salvage(log, log, new)
    except LogDamaged as error:
        if "nothing of" not in str(error):
            findings.mute.append(f"{case}: {error}")
        findings.nothing += 1
        return
    if any((folder / name).read_bytes() != content for name, content in before.items()):
        findings.wrong.append(f"{case}: the old one was touched")
    with Log(new) as opened:
        events = _events(opened)
        rows = _rows(truth.plan, opened, folder / "out")
    lost = [event for event in events if event[1] == Kind.EVENT_LOST.value]
    same = [(event, was) for event, was in zip(events, truth.events, strict=False) if event not in lost]
    if len(events) > len(truth.events) or any(event != was for event, was in same):
        findings.wrong.append(f"{case}: salvaged events")
    if any(truth.rows.get(name) != row for name, row in rows.items()):
        findings.wrong.append(f"{case}: salvaged rows")
    if kept.first != next((event[0] for event in lost), len(events)) or len(lost) != kept.lost:
        findings.wrong.append(f"{case}: counts")
    if kept.first < _least(truth, before):
        findings.short.append(f"{case}: {kept.first} of {_least(truth, before)} in a row")
    findings.salvaged += 1
    findings.kept += len(same)
    findings.of += len(truth.events)


def _least(truth: Truth, files: dict[str, bytes]) -> int:
    """How many events in a row must come out at least: those of the transactions before the first byte
    that differs, where only the write-ahead log does."""
    name = "synth.duckdb.wal"
    if files.get("synth.duckdb") != truth.files["synth.duckdb"] or name not in files:
        return 0
    was, now = truth.files[name], files[name]
    at = next((i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    in_wal = was.count(FLUSH)
    whole = was.count(FLUSH, 0, at)
    return truth.batches[len(truth.batches) - 1 - (in_wal - whole)]


def _damage(truth: Truth, files: dict[str, bytes], chance: random.Random) -> str:
    deed = chance.choice(DEEDS)
    name = chance.choice(["synth.duckdb", "synth.duckdb.wal"])
    content = bytearray(files[name])
    at = chance.randrange(len(content))
    match deed:
        case "flip":
            content[at] ^= 1 << chance.randrange(8)
        case "flips":
            for _ in range(chance.randrange(2, 9)):
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        case "byte":
            content[at] = chance.randrange(256)
        case "noise":
            size = chance.randrange(2, 600)
            content[at : at + size] = chance.randbytes(len(content[at : at + size]))
        case "zeros":
            size = chance.randrange(2, 5000)
            content[at : at + size] = bytes(len(content[at : at + size]))
        case "page":
            at -= at % 4096
            content[at : at + 4096] = bytes(len(content[at : at + 4096]))
        case "cut":
            del content[at:]
        case "missing":
            name = "synth.duckdb.wal"
            del files[name]
            return f"{deed} {name}"
        case "older":
            name = "synth.duckdb"
            content[:] = truth.older
            if chance.random() < 0.5:
                del files["synth.duckdb.wal"]
        case "magic":
            name, at = "synth.duckdb", chance.randrange(8, 12)
            content = bytearray(files[name])
            content[at] ^= 1 << chance.randrange(8)
        case "size":
            # The frame of an entry: its size, by which the next one is found.
            name = "synth.duckdb.wal"
            content = bytearray(files[name])
            places = [i for i in range(len(content)) if content.startswith(FLUSH, i)]
            at = chance.choice(places[:-1]) + len(FLUSH) + chance.randrange(8)
            content[at] ^= 1 << chance.randrange(8)
        case "twice":
            content[at:at] = content[max(0, at - 300) : at]
    files[name] = bytes(content)
    return f"{deed} {name} at {at}"


def _events(log: Log) -> list[tuple[Any, ...]]:
    rows = log.cursor().execute(
        """SELECT seq, kind, event_id, run_id, sample_id, step, attempt, ts_us, model, prompt_tokens,
                  completion_tokens, latency_ms, CAST(payload AS VARCHAR) FROM events ORDER BY seq"""
    )
    return rows.fetchall()


def _ends(log: Log) -> list[int]:
    """How many events there are after no batch, after the first, and so on."""
    rows = log.cursor().execute("SELECT first_seq + n FROM batches ORDER BY batch_id").fetchall()
    return [0, *(end for (end,) in rows)]


def _rows(plan: Plan, log: Log, out: Path) -> dict[str, Any]:
    shutil.rmtree(out, ignore_errors=True)
    try:
        written = materialize(plan, log, out, partial=True)
    except QuotaShort:
        return {}
    return {row["id"]: row for dataset in written for row in dataset}


def _wrong(events: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> bool:
    return events != wanted
