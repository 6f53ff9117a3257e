"""What is slow slows the rest down and is kept busy itself: a disk, a service, one of two models.

Nothing here is told by the clock: a gate opens by what has arrived, and where a server takes its
time, what is counted is how many calls it had in hand whenever another came.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from synth.compiler.compile import compile_file
from synth.compiler.plan.model import Plan
from synth.runtime.calls.models import Models
from synth.runtime.cohorts import scheduler
from synth.runtime.engines.base import EngineSpec
from synth.runtime.events.progress import CohortProgress, Progress
from synth.runtime.events.recorder import MOST_PENDING, Recorder
from synth.runtime.run.report import RunOptions, RunReport
from synth.runtime.run.run import Watch, run
from synth.runtime.samples.sample import Sample
from synth.runtime.settings import Settings
from synth.store.log.events import Event
from synth.store.log.log import Log
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import PERSONA, query
from tests.runtime.test_run import assert_counts_add_up

# Calls of a sample of the persona recipe, half of them to each of its models.
CALLS = 4
# Events of an open sample that nothing holds back any more: two calls side by side are answered and
# accepted, or the last of them and with it the sample.
EVENTS_UNDER_WAY = 5
HANG_S = 60.0


def persona(count: int, recipe: Path = PERSONA) -> Plan:
    return compile_file(recipe, {"base_revision": "0000000", "conversations": str(count)}).plan


def simulated(concurrency: int) -> Settings:
    """Both models simulated, each by itself, as --simulate has them."""
    options = {"concurrency": concurrency}
    return Settings(
        given={name: EngineSpec(name, "simulated", name, options=options) for name in ("author", "base")}
    )


def served(**models: tuple[OpenAIServer, int]) -> Settings:
    """Each model on a server, so many calls at once."""
    return Settings(
        given={
            name: EngineSpec(
                name, "openai", name, options={"base_url": server.base_url, "concurrency": concurrency}
            )
            for name, (server, concurrency) in models.items()
        }
    )


def unlike(asked: Asked) -> str:
    """A sentence that no other is like, and that every check of the persona recipe lets through."""
    words = " ".join(asked.key[place : place + 6] for place in range(0, 60, 6))
    return f"You are the keeper of {words}."


class Looking(Watch):
    """A watch that knows the counters of the run's one cohort."""

    def __init__(self) -> None:
        super().__init__(on_start=self._begin, handle_signals=False)
        self.samples = CohortProgress(0)
        # Of what is in memory, only what comes from now on is looked at.
        gc.freeze()

    def _begin(self, progress: Progress, models: Models) -> None:
        [self.samples] = progress.cohorts.values()


def samples_in_memory() -> int:
    return sum(type(thing) is Sample for thing in gc.get_objects())


def assert_whole(report: RunReport, count: int, log: Path) -> None:
    """Every quota is met to the sample, and the log has all that was counted, in order."""
    assert report.outcome == "finished"
    assert_counts_add_up({"run_id": report.run_id, **report.counts}, log)
    assert report.counts["cohorts"]["identity"]["completed"] == count
    [(events, last)] = query(log, "SELECT count(*), max(seq) FROM events")
    assert events == last + 1


def completed(log: Path) -> dict[str, Any]:
    found = query(log, "SELECT sample_id, payload -> 'values' FROM events WHERE kind = 'sample.completed'")
    assert len(dict(found)) == len(found)
    return {name: json.loads(values) for name, values in found}


# A slow disk --------------------------------------------------------------------------


class SlowDisk:
    """Takes the first batches only once the run has as much in memory as it may, and gives it time to
    take more."""

    GRACE_S = 0.3

    def __init__(self, monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
        self.most = self.held = 0
        self._emitted = self._committed = 0
        self._left = batches
        self._changed = threading.Condition()
        emit, append = Recorder.emit, Log.append

        def counted(recorder: Recorder, *arguments: Any, **columns: Any) -> int:
            seq = emit(recorder, *arguments, **columns)
            with self._changed:
                if not self._emitted:
                    self._committed = seq
                self._emitted = seq + 1
                self.most = max(self.most, self._pending())
                self._changed.notify()
            return seq

        def slow(log: Log, *batches: Sequence[Event]) -> None:
            if self._left:
                self._left -= 1
                with self._changed:
                    if self._changed.wait_for(lambda: self._pending() >= MOST_PENDING, HANG_S):
                        self.held += 1
                time.sleep(self.GRACE_S)
            append(log, *batches)
            with self._changed:
                self._committed = log.next_seq

        monkeypatch.setattr(Recorder, "emit", counted)
        monkeypatch.setattr(Log, "append", slow)

    def _pending(self) -> int:
        return self._emitted - self._committed


@pytest.mark.slow
def test_a_slow_disk_holds_the_models_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count, window, batches = 900, 32, 3
    plan, settings, options = persona(count), simulated(16), RunOptions(window=window)
    undisturbed, log = tmp_path / "undisturbed.duckdb", tmp_path / "slow.duckdb"
    run(plan, settings, undisturbed, options, Looking())
    disk = SlowDisk(monkeypatch, batches)
    report = run(plan, settings, log, options, Looking())
    assert disk.held == batches
    assert MOST_PENDING <= disk.most <= MOST_PENDING + EVENTS_UNDER_WAY * window
    assert_whole(report, count, log)
    assert completed(log) == completed(undisturbed)


@pytest.mark.slow
def test_a_slow_disk_holds_answers_of_the_log_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples made of what the log has are events as well, and come without any call."""
    count, window, batches = 1600, 32, 2
    settings, options, log = simulated(16), RunOptions(window=window), tmp_path / "synth.duckdb"
    run(persona(count), settings, log, options, Looking())
    text = PERSONA.read_text("utf-8")
    stricter = tmp_path / "stricter.recipe"
    stricter.write_text(text.replace("length(1..1_200)", "length(1..1_199)"), "utf-8")
    assert stricter.read_text("utf-8") != text
    disk = SlowDisk(monkeypatch, batches)
    report = run(persona(count, stricter), settings, log, options, Looking())
    assert disk.held == batches
    assert MOST_PENDING <= disk.most <= MOST_PENDING + EVENTS_UNDER_WAY * window
    assert_whole(report, count, log)
    assert sum(step["issued"] for step in report.counts["steps"]) == 0


# A slow service -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_slow_service_has_no_more_calls_in_hand_than_it_bears(tmp_path: Path) -> None:
    """Nor are more samples begun, or held in memory, than are needed to keep it busy."""
    count, concurrency = 400, 12
    window, watch = 2 * concurrency, Looking()
    begun: list[int] = []
    held: list[int] = []

    def look(asked: Asked) -> str:
        begun.append(watch.samples.open)
        if len(begun) % 50 == 0:
            held.append(samples_in_memory())
        return unlike(asked)

    with OpenAIServer(answer=look, latency_s=0.01) as server:
        settings = served(author=(server, concurrency), base=(server, concurrency))
        # The two are one place only when they have one name there.
        settings = Settings(given=dict.fromkeys(("author", "base"), settings.given["author"]))
        report = run(persona(count), settings, tmp_path / "synth.duckdb", watch=watch)
    assert_whole(report, count, tmp_path / "synth.duckdb")
    assert server.total == CALLS * count
    assert server.max_in_flight == concurrency
    assert max(begun) == window
    # Those that are finished and wait for others to be judged before them are few.
    assert max(held) <= 2 * window


@pytest.mark.slow
def test_a_call_that_hangs_does_not_have_the_rest_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The persona recipe judges samples in order, so all wait for the first of them."""
    count, concurrency, most = 300, 8, 48
    monkeypatch.setattr(scheduler, "MOST_HELD", most)
    watch, held, first = Looking(), list[int](), threading.Event()

    class Hanging(OpenAIServer):
        async def _handle(self, request: web.Request) -> web.StreamResponse:
            if self.total % 16 == 0:
                held.append(samples_in_memory())
            if first.is_set():
                return await super()._handle(request)
            first.set()
            while self.total < CALLS * most:
                await asyncio.sleep(0.01)
            # Time for a run that goes on without end to do so.
            await asyncio.sleep(0.5)
            held.append(samples_in_memory())
            return await super()._handle(request)

    with Hanging(answer=unlike) as server:
        settings = served(author=(server, concurrency))
        settings = Settings(given=dict.fromkeys(("author", "base"), settings.given["author"]))
        report = run(persona(count), settings, tmp_path / "synth.duckdb", watch=watch)
    assert_whole(report, count, tmp_path / "synth.duckdb")
    assert most < max(held) <= most + 2 * concurrency


# A fast model beside a slow one -------------------------------------------------------


class Working(OpenAIServer):
    """Notes at each arrival how many calls it has in hand, that one included, and how many samples
    are open."""

    def __init__(self, watch: Looking) -> None:
        super().__init__(answer=unlike)
        self.in_hand: list[int] = []
        self.begun: list[int] = []
        self._watch = watch
        self._now = 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._now += 1
        self.in_hand.append(self._now)
        self.begun.append(self._watch.samples.open)
        try:
            await self.work()
        finally:
            self._now -= 1
        return await super()._handle(request)

    async def work(self) -> None:
        """Returns when a call may be answered."""
        raise NotImplementedError


class Timed(Working):
    """Takes so long for a call, now half of it more and now half of it less: answers that all come at
    the same time would be followed by calls that all do."""

    def __init__(self, watch: Looking, latency_s: float) -> None:
        super().__init__(watch)
        self._mean_s, self._random = latency_s, Random(1)

    async def work(self) -> None:
        await asyncio.sleep(self._mean_s * self._random.uniform(0.5, 1.5))


class Gate(Working):
    """Answers a call whenever all its slots are taken, and no sooner: as slow as a model can be that
    is kept busy.  Where nothing comes to take them for long it lets one go, and says so."""

    PATIENCE_S = 10.0

    def __init__(self, watch: Looking, slots: int, calls: int) -> None:
        super().__init__(watch)
        self._slots, self._calls = slots, calls
        self._held: deque[asyncio.Event] = deque()
        # The calls, by number, that came before its slots stayed empty.
        self.starved: list[int] = []

    async def work(self) -> None:
        mine = asyncio.Event()
        self._held.append(mine)
        # The last calls have none behind them.
        ending = len(self.in_hand) > 0.9 * self._calls
        while self._held and (ending or len(self._held) >= self._slots):
            self._held.popleft().set()
        try:
            await asyncio.wait_for(mine.wait(), self.PATIENCE_S)
        except TimeoutError:
            self.starved.append(len(self.in_hand))
            self._held.remove(mine)


def middle(counts: Sequence[int]) -> Sequence[int]:
    """What came between a quarter and three quarters of the calls."""
    return counts[len(counts) // 4 : 3 * len(counts) // 4]


@pytest.mark.slow
def test_the_slower_of_two_models_is_kept_busy(tmp_path: Path) -> None:
    """20 ms and 4 calls at once are 200 answers a second, 200 ms and 12 at once are 60."""
    count, few, many = 160, 4, 12
    window, watch = 2 * (few + many), Looking()
    with Timed(watch, 0.02) as author, Timed(watch, 0.2) as base:
        settings = served(author=(author, few), base=(base, many))
        report = run(persona(count), settings, tmp_path / "synth.duckdb", watch=watch)
    assert_whole(report, count, tmp_path / "synth.duckdb")
    assert author.total == base.total == CALLS * count // 2
    assert (max(author.in_hand), max(base.in_hand)) == (few, many)
    taken = middle(base.in_hand)
    assert sum(taken) >= 0.9 * many * len(taken)
    # The fast one is given work as soon as there is room for another sample, and no sooner.
    assert min(middle(author.begun)) >= 0.9 * window
    assert max(author.begun) == max(base.begun) == window


@pytest.mark.parametrize("slower", ["author", "base"])
def test_a_model_that_answers_only_while_it_is_busy_answers_all(slower: str, tmp_path: Path) -> None:
    count, slots = 120, {"author": 4, "base": 12}
    window, watch = 2 * sum(slots.values()), Looking()
    calls = CALLS * count // 2
    with Gate(watch, slots[slower], calls) as gate, Timed(watch, 0.002) as other:
        servers: dict[str, Working] = {name: gate if name == slower else other for name in slots}
        settings = served(**{name: (server, slots[name]) for name, server in servers.items()})
        report = run(persona(count), settings, tmp_path / "synth.duckdb", watch=watch)
    assert_whole(report, count, tmp_path / "synth.duckdb")
    assert gate.total == other.total == calls
    assert gate.starved == []
    assert max(gate.in_hand) == slots[slower]
    assert max(gate.begun) == max(other.begun) == window
