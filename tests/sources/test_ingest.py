"""Rows on their way into the log: once, in order, whole versions or none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.canonical import digest
from synth.base.errors import ConfigError, LogDamaged, LogFull, QuotaShort
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.runtime.events.recorder import Recorder
from synth.runtime.sources.ingest import IngestedSource, ingest_sources, read_sources
from synth.runtime.sources.ingest import ingest as ingest_read
from synth.store.dataset.inputs.sources import reader_digest, source_of, source_rows
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log
from tests.kit.support import ROOT, environment, query
from tests.sources.helpers import after, ingest, logged, pair, plan_for, turns, write_csv, write_lines

READER = 'jsonl("chat.jsonl")'


def numbered(count: int, start: int = 0) -> list[dict[str, str]]:
    return [pair(f"question {i}", f"answer {i}") for i in range(start, start + count)]


def contents(plan: Plan, log: Path, events: int | None = None) -> list[str]:
    return [payload["messages"][0]["content"] for _, payload in logged(plan, log, events)]


def kinds(log: Path) -> list[tuple[str, int]]:
    found = query(log, "SELECT kind, count(*) FROM events GROUP BY kind ORDER BY kind")
    return [(kind, count) for kind, count in found]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.duckdb"


def test_what_the_log_says_of_a_row(tmp_path: Path, log: Path) -> None:
    rows = [pair(), "", pair("Why?", "So."), pair()]
    path = write_lines(tmp_path / "data/chat.jsonl", rows)
    plan = plan_for(tmp_path, 'jsonl("data/chat.jsonl")')
    found = ingest(plan, log)["natural"]
    assert (found.name, found.shape, found.rows, found.new, found.complete) == (
        "natural", "prompt_response", 3, 3, True,
    )  # fmt: skip
    why = turns("Why?", "So.")
    first, second, third = logged(plan, log)
    assert second[1] == {
        "source": "natural",
        "version": found.version,
        "row": 1,
        "file": "data/chat.jsonl",
        "line": 3,
        "hash": digest(why),
        "messages": why,
    }
    assert first[0] == digest(["natural", digest(turns("Who are you?", "Codex.")), 0])[:16]
    assert third[0] == digest(["natural", digest(turns("Who are you?", "Codex.")), 1])[:16]
    ((payload,),) = query(log, "SELECT payload FROM events WHERE kind = 'source.completed'")
    assert json.loads(payload) == {
        "source": "natural",
        "reader": reader_digest(plan, plan.sources[0]),
        "version": found.version,
        "rows": 3,
        "shape": "prompt_response",
        "files": [
            {
                "path": "data/chat.jsonl",
                "bytes": path.stat().st_size,
                "sha256": sha256(path.read_bytes()).hexdigest(),
            }
        ],
        "reading": 3,
    }


def test_a_file_that_did_not_change_is_not_logged_again(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(700))
    plan = plan_for(tmp_path, READER)
    first = ingest(plan, log)["natural"]
    before = kinds(log)
    assert before == [("source.completed", 1), ("source.ingested", 700)]
    again = ingest(plan, log)["natural"]
    assert again == IngestedSource("natural", first.version, first.shape, 700, 0)
    assert kinds(log) == before


def test_a_file_that_changed_is_another_version(tmp_path: Path, log: Path) -> None:
    plan = plan_for(tmp_path, READER)
    write_lines(tmp_path / "chat.jsonl", numbered(3))
    first = ingest(plan, log)["natural"]
    with Log(log) as opened:
        position = opened.next_seq
    write_lines(tmp_path / "chat.jsonl", [pair("new", "new"), *numbered(3)])
    second = ingest(plan, log)["natural"]
    assert second.version != first.version
    assert contents(plan, log) == ["new", "question 0", "question 1", "question 2"]
    assert contents(plan, log, position) == ["question 0", "question 1", "question 2"]
    ids = [row_id for row_id, _ in logged(plan, log)]
    assert ids[1:] == [row_id for row_id, _ in logged(plan, log, position)]


def test_a_file_that_changed_back_is_what_counts(tmp_path: Path, log: Path) -> None:
    """The version that was read last counts, without its rows being logged once more."""
    plan = plan_for(tmp_path, READER)
    for rows in (numbered(3), numbered(2, 10), numbered(3)):
        write_lines(tmp_path / "chat.jsonl", rows)
        last = ingest(plan, log)["natural"]
    assert (last.rows, last.new) == (3, 0)
    assert kinds(log) == [("source.completed", 3), ("source.ingested", 5)]
    assert contents(plan, log) == ["question 0", "question 1", "question 2"]
    assert ingest(plan, log)["natural"].new == 0
    assert kinds(log) == [("source.completed", 3), ("source.ingested", 5)]


def test_what_is_kept_does_not_change_what_is_read(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(3))
    plan = plan_for(tmp_path, READER)
    ingest(plan, log)
    kept = plan_for(tmp_path, READER + " { keep { turns(2..12) } }")
    assert kept.sources[0].keep
    assert ingest(kept, log)["natural"].new == 0
    assert contents(kept, log) == contents(plan, log)


def test_how_a_source_is_read_makes_its_own_version(tmp_path: Path, log: Path) -> None:
    rows = [{"prompt": "a", "response": "b", "q": "c", "a": "d"}]
    write_lines(tmp_path / "chat.jsonl", rows)
    plan = plan_for(tmp_path, READER)
    named = plan_for(tmp_path, 'jsonl("chat.jsonl", prompt = "q", response = "a")')
    ingest(plan, log)
    with pytest.raises(QuotaShort) as raised:
        logged(named, log)
    assert str(raised.value) == (
        "the log has no rows of the source `natural` of `example` as this recipe reads it: "
        "`synth run` it first"
    )
    ingest(named, log)
    assert contents(named, log) == ["c"]
    assert contents(plan, log) == ["a"]


def test_two_recipes_may_read_different_files_by_one_path(tmp_path: Path, log: Path) -> None:
    plans = []
    for name in ("one", "two"):
        write_lines(tmp_path / name / "chat.jsonl", [pair(name)])
        plans.append(plan_for(tmp_path / name, READER, recipe=name))
        ingest(plans[-1], log)
    assert [contents(plan, log) for plan in plans] == [["one"], ["two"]]


def test_two_sources_of_one_file(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(2))
    text = f"edition 1\n\nrecipe example {{ seed = 1 }}\n\nsource a: messages from {READER}\n"
    plan = compile_text(text + f"source b: messages from {READER}\n").plan.below(tmp_path)
    found = ingest(plan, log)
    assert {name: each.new for name, each in found.items()} == {"a": 2, "b": 2}
    with Log(log) as opened:
        cursor = opened.cursor()
        ids = []
        for source in plan.sources:
            version = source_of(plan, source, cursor, opened.next_seq)
            rows = list(source_rows(cursor, version))
            assert [payload["source"] for _, _, payload in rows] == [source.name] * 2
            ids += [row_id for _, row_id, _ in rows]
    assert len(set(ids)) == 4


small = st.integers(0, 3)


@settings(max_examples=20, deadline=None)
@given(st.lists(small, min_size=1, max_size=8), st.lists(small, max_size=8), st.randoms())
def test_ids_do_not_depend_on_other_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], others: list[int], random: Any
) -> None:
    """Rows that stand among others, in whatever order, keep their ids; no two rows share one."""
    folder = tmp_path_factory.mktemp("ids")
    plan = plan_for(folder, READER)

    def ids(numbers: list[int]) -> dict[str, int]:
        write_lines(folder / "chat.jsonl", [pair(f"question {n}") for n in numbers])
        (folder / "log.duckdb").unlink(missing_ok=True)
        ingest(plan, folder / "log.duckdb")
        found = logged(plan, folder / "log.duckdb")
        assert len({row_id for row_id, _ in found}) == len(numbers)
        return {row_id: int(payload["messages"][0]["content"].split()[1]) for row_id, payload in found}

    more = [*rows, *others]
    random.shuffle(more)
    assert ids(rows).items() <= ids(more).items()


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
            recorder.emit(Kind.CALL_COMPLETED, {"text": "beside"}, sample_id="00ff")
            await asyncio.sleep(0.001)
        await task
        await recorder.close()

    with Log(log, writer=True) as opened:
        asyncio.run(go(opened))
    between = query(
        log,
        """SELECT count(*) FROM events WHERE kind = 'call.completed'
           AND seq > (SELECT min(seq) FROM events WHERE kind = 'source.ingested')
           AND seq < (SELECT max(seq) FROM events WHERE kind = 'source.ingested')""",
    )
    assert between[0][0] > 0
    assert contents(plan, log) == [row["prompt"] for row in numbered(3000)]


def test_a_full_disk_leaves_no_completed_version(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(3000))
    plan = plan_for(tmp_path, READER)

    class Full(Log):
        def append(self, events: Any) -> None:
            if self.next_seq > 500:
                raise LogFull("no room")
            super().append(events)

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "count"),
    [
        ('jsonl("chat.jsonl")', 14_000),
        pytest.param('csv("chat.csv")', 14_000, marks=pytest.mark.soak),
        pytest.param('parquet("chat.parquet")', 14_000, marks=pytest.mark.soak),
    ],
)
def test_memory_does_not_grow_with_the_rows(reader: str, count: int, tmp_path: Path, log: Path) -> None:
    """Of the rows, whose texts take 10 KB each in memory, a few are held at a time."""
    texts = ((f"سؤال {i} " * 240, f"answer {i} " * 240) for i in range(count))
    if "csv" in reader:
        write_csv(tmp_path / "chat.csv", ["prompt", "response"], texts)
    else:
        write_lines(tmp_path / "chat.jsonl", (pair(*each) for each in texts))
    if "parquet" in reader:
        with duckdb.connect() as connection:
            connection.execute(f"COPY (FROM '{tmp_path}/chat.jsonl') TO '{tmp_path}/chat.parquet'")
    plan = plan_for(tmp_path, reader)
    tracemalloc.start()
    try:
        assert ingest(plan, log)["natural"].new == count
        with Log(log, deep=False) as opened:
            cursor = opened.cursor()
            version = source_of(plan, plan.sources[0], cursor, opened.next_seq)
            assert sum(1 for _ in source_rows(cursor, version)) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 120_000_000
