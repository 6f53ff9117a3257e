"""Rows whose way into the log is interrupted, or whose file changes meanwhile: whole versions or none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from synth.base.errors import ConfigError, LogDamaged, LogFull, QuotaShort
from synth.runtime.events.recorder import Recorder
from synth.runtime.sources.ingest import ingest as ingest_read
from synth.runtime.sources.ingest import ingest_sources, read_sources
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log
from synth.store.log.payloads import StepAccepted
from tests.kit.support import ROOT, environment, query
from tests.sources.helpers import (
    READER,
    after,
    contents,
    ingest,
    kinds,
    logged,
    numbered,
    pair,
    plan_for,
    write_csv,
    write_lines,
)


def test_what_was_stopped_goes_on_where_it_ended(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [*numbered(600), *numbered(400)])
    plan = plan_for(tmp_path, READER)
    asked_while_reading = 3
    cut = ingest(plan, log, stopping=after(asked_while_reading + 1))["natural"]
    assert (cut.complete, cut.new) == (False, 512)
    assert kinds(log) == [("source.ingested", 512)]
    with pytest.raises(QuotaShort):
        logged(plan, log)
    rest = ingest(plan, log)["natural"]
    assert (rest.complete, rest.new, rest.rows) == (True, 488, 1000)
    assert kinds(log) == [("source.completed", 1), ("source.ingested", 1000)]
    whole = tmp_path / "whole.duckdb"
    ingest(plan, whole)
    assert logged(plan, log) == logged(plan, whole)


def test_a_stop_while_files_are_read_logs_nothing(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(600))
    assert ingest(plan_for(tmp_path, READER), log, stopping=lambda: True) == {}
    assert kinds(log) == []


def test_rows_of_an_incomplete_version_are_never_used(tmp_path: Path, log: Path) -> None:
    plan = plan_for(tmp_path, READER)
    write_lines(tmp_path / "chat.jsonl", numbered(3))
    ingest(plan, log)
    write_lines(tmp_path / "chat.jsonl", numbered(600, 100))
    assert not ingest(plan, log, stopping=after(3))["natural"].complete
    assert contents(plan, log) == ["question 0", "question 1", "question 2"]
    write_lines(tmp_path / "chat.jsonl", numbered(2, 50))
    ingest(plan, log)
    assert contents(plan, log) == ["question 50", "question 51"]


@pytest.mark.slow
def test_kill_9_costs_nothing_but_what_was_not_committed(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(20_000))
    script = f"""
        from pathlib import Path
        from tests.sources.helpers import after, ingest, plan_for
        ingest(plan_for(Path({str(tmp_path)!r}), {READER!r}), Path({str(log)!r}))
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, env=environment())
    wal = log.with_name(log.name + ".wal")
    while child.poll() is None and (not wal.exists() or wal.stat().st_size < 1_000_000):
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    plan = plan_for(tmp_path, READER)
    with Log(log, writer=True) as opened:
        there = opened.next_seq
    assert 0 < there < 20_000
    rest = ingest(plan, log)["natural"]
    assert (rest.rows, rest.new) == (20_000, 20_000 - there)
    assert contents(plan, log) == [row["prompt"] for row in numbered(20_000)]


@pytest.mark.parametrize("reader", [READER, 'csv("chat.csv")'])
@pytest.mark.parametrize("change", ["altered", "shorter", "longer", "broken"])
def test_a_file_that_changes_between_the_readings(
    reader: str, change: str, tmp_path: Path, log: Path
) -> None:
    name = reader.split('"')[1]

    def write(rows: list[dict[str, str]]) -> None:
        if name.endswith("csv"):
            write_csv(tmp_path / name, ["prompt", "response"], [list(row.values()) for row in rows])
        else:
            write_lines(tmp_path / name, rows)

    rows = numbered(600)
    other = {
        "altered": [*rows[:-1], pair("other")],
        "shorter": rows[:-1],
        "longer": [*rows, pair("other")],
        "broken": [*rows[:-1], pair("")],
    }[change]
    write(rows)
    plan = plan_for(tmp_path, reader)

    async def go(opened: Log) -> None:
        recorder = Recorder(opened, "run")
        try:
            (read,) = await read_sources(plan, opened)
            write(other)
            await ingest_read(read, recorder)
        finally:
            await recorder.close()

    with Log(log, writer=True) as opened, pytest.raises(ConfigError) as raised:
        asyncio.run(go(opened))
    assert str(raised.value) == f"{name} changed while it was read: run again once nothing writes to it"
    with pytest.raises(QuotaShort):
        logged(plan, log)
    write(rows)
    ingest(plan, log)
    assert contents(plan, log) == [row["prompt"] for row in rows]


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, log: Path) -> None:
    path = write_lines(tmp_path / "chat.jsonl", numbered(600))

    def appending() -> bool:
        with path.open("a") as file:
            file.write(json.dumps(pair("late")) + "\n")
        return False

    with pytest.raises(ConfigError, match=r"^chat\.jsonl changed while it was read: run again"):
        ingest(plan_for(tmp_path, READER), log, stopping=appending)
    assert kinds(log) == []


def test_other_events_are_logged_beside_the_rows(tmp_path: Path, log: Path) -> None:
    """Ingesting leaves the event loop to others, and what they log between does not disturb."""
    write_lines(tmp_path / "chat.jsonl", numbered(3000))
    plan = plan_for(tmp_path, READER)

    async def go(opened: Log) -> None:
        recorder = Recorder(opened, "run")
        task = asyncio.create_task(ingest_sources(plan, opened, recorder))
        while not task.done():
            recorder.emit(Kind.STEP_ACCEPTED, StepAccepted(call=0, call_key="beside"), sample_id="00ff")
            await asyncio.sleep(0.001)
        await task
        await recorder.close()

    with Log(log, writer=True) as opened:
        asyncio.run(go(opened))
    between = query(
        log,
        """SELECT count(*) FROM events WHERE kind = 'step.accepted'
           AND seq > (SELECT min(seq) FROM events WHERE kind = 'source.ingested')
           AND seq < (SELECT max(seq) FROM events WHERE kind = 'source.ingested')""",
    )
    assert between[0][0] > 0
    assert contents(plan, log) == [row["prompt"] for row in numbered(3000)]


def test_a_full_disk_leaves_no_completed_version(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(3000))
    plan = plan_for(tmp_path, READER)

    class Full(Log):
        def append(self, *batches: Sequence[Event]) -> None:
            if self.next_seq > 500:
                raise LogFull("no room")
            super().append(*batches)

    async def go(opened: Log) -> None:
        recorder = Recorder(opened, "run")
        try:
            await ingest_sources(plan, opened, recorder)
        finally:
            await recorder.close()

    with Full(log, writer=True) as opened, pytest.raises(LogFull):
        asyncio.run(go(opened))
    with pytest.raises(QuotaShort):
        logged(plan, log)
    rest = ingest(plan, log)["natural"]
    assert 0 < rest.new < 3000
    assert contents(plan, log) == [row["prompt"] for row in numbered(3000)]


def test_rows_that_are_missing_from_the_log_are_missed(tmp_path: Path, log: Path) -> None:
    """A completed version is one that a writer of another mind could have logged short."""
    write_lines(tmp_path / "chat.jsonl", numbered(3))
    plan = plan_for(tmp_path, READER)
    ingest(plan, log)
    with Log(log, writer=True) as opened:
        ((payload,),) = opened.cursor().execute(
            "SELECT payload FROM events WHERE kind = 'source.completed'"
        ).fetchall()  # fmt: skip
        more = {**json.loads(payload), "rows": 4}
        opened.append([Event(opened.next_seq, Kind.SOURCE_COMPLETED, "run", 0, more)])
    with pytest.raises(LogDamaged) as raised:
        logged(plan, log)
    assert str(raised.value) == (
        "the log has 3 of the 4 rows of the source `natural`: restore it from a copy"
    )
