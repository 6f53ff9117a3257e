"""Where an event loop is running already, as in a notebook, everything works all the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

import synth
from synth.store.log.log import Log
from tests.evaluation.helpers import DIRECT, evaluation, project
from tests.kit.support import QUICKSTART, environment, query

T = TypeVar("T")


def in_loop(work: Callable[[], T]) -> T:
    async def cell() -> T:
        return work()

    return asyncio.run(cell())


def test_a_plan_is_run_materialized_replayed_and_evaluated_within_a_loop(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 0%)"))
    plan = synth.compile(made.recipe)
    threads = threading.active_count()
    report = in_loop(lambda: synth.run(plan, log=made.log, backend="simulated"))
    assert report.outcome == "finished"
    (dataset,) = in_loop(lambda: synth.materialize(plan, log=made.log, out=tmp_path))
    assert sum(dataset.rows.values()) == plan.cohorts[0].quota
    replayed = in_loop(lambda: synth.replay(plan, log=made.log))
    assert (replayed.same, replayed.diverged) == (plan.cohorts[0].quota, [])
    judged = in_loop(lambda: synth.evaluate(plan, log=made.log, student=synth.Simulated("s")))
    assert judged.held
    assert threading.active_count() == threads


def test_what_fails_within_a_loop_says_so_as_anywhere(tmp_path: Path) -> None:
    plan = synth.compile(QUICKSTART)
    nowhere = {"base": synth.OpenAI("m", base_url="http://127.0.0.1:9", api_key_env="NO_SUCH_KEY")}
    with pytest.raises(synth.EngineError, match="needs an API key"):
        in_loop(lambda: synth.run(plan, log=tmp_path / "synth.duckdb", models=nowhere))
    with pytest.raises(synth.LogError, match="there is no log at"):
        in_loop(lambda: synth.replay(plan, log=tmp_path / "synth.duckdb"))


def test_a_log_that_is_being_written_in_this_process_is_held_and_not_damaged(tmp_path: Path) -> None:
    plan, log = synth.compile(QUICKSTART, conversations=8), tmp_path / "synth.duckdb"
    doors: list[Callable[[], object]] = [
        lambda: synth.run(plan, log=log, backend="simulated"),
        lambda: synth.materialize(plan, log=log, out=tmp_path),
        lambda: synth.replay(plan, log=log),
    ]
    with Log(log, writer=True):
        for door in doors:
            with pytest.raises(synth.LogError, match="is open in this process already"):
                door()


INTERRUPTED = """
import asyncio, os, signal, sys, threading, time
import synth

async def cell():
    plan = synth.compile({recipe!r}, conversations=400)
    slow = {{"base": synth.Simulated(latency=0.05, concurrency=8)}}

    def interrupt():
        while not os.path.exists("progress.json"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    try:
        synth.run(plan, log="synth.duckdb", models=slow)
    except KeyboardInterrupt as error:
        print("stopped:", error)
    # The log is closed and whole: the same call goes on.
    plan = synth.compile({recipe!r}, conversations=4)
    print(synth.run(plan, log="synth.duckdb", models=slow).outcome)

if {within}:
    asyncio.run(cell())
else:
    try:
        cell().send(None)
    except StopIteration:
        pass
"""


@pytest.mark.parametrize("within", [True, False])
def test_a_ctrl_c_stops_cleanly_and_raises(tmp_path: Path, within: bool) -> None:
    script = INTERRUPTED.format(recipe=str(QUICKSTART), within=within)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        "stopped: stopped; what was answered is in the log, and the same call goes on from there",
        "finished",
    ], done.stderr
    events = query(
        tmp_path / "synth.duckdb",
        "SELECT payload ->> 'outcome' FROM events WHERE kind = 'run.stopped' ORDER BY seq",
    )
    assert events == [("interrupted",), ("finished",)]
