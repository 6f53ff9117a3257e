"""The recorder: batches by count and by time, and telling of them now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from synth.runtime.events import recorder
from synth.runtime.events.recorder import BATCH_EVENTS, Recorder
from synth.store.log.events import Kind
from synth.store.log.log import Log
from synth.store.log.payloads import StepAccepted
from tests.kit.support import query


def recorded(
    path: Path, work: Callable[[Recorder], Coroutine[Any, Any, None]], after_commit: Callable[[], None]
) -> None:
    async def run() -> None:
        with Log(path, writer=True) as log:
            made = Recorder(log, "run", after_commit=after_commit)
            try:
                await work(made)
            finally:
                await made.close()

    asyncio.run(run())


def test_a_batch_has_so_many_events_and_no_more_however_many_come_together(tmp_path: Path) -> None:
    path = tmp_path / "log.duckdb"

    async def work(made: Recorder) -> None:
        await settled(made)
        for number in range(10 * BATCH_EVENTS + 1):
            made.emit(Kind.STEP_ACCEPTED, StepAccepted(call=number, call_key=""))

    recorded(path, work, lambda: None)
    sizes = [n for (n,) in query(path, "SELECT n FROM batches ORDER BY batch_id")]
    assert sizes == [1, *[BATCH_EVENTS] * 10, 1]
    numbers = query(path, "SELECT (payload ->> 'call')::BIGINT FROM events WHERE seq > 0 ORDER BY seq")
    assert [number for (number,) in numbers] == list(range(10 * BATCH_EVENTS + 1))


def test_who_waits_for_room_goes_on_a_few_at_a_time(tmp_path: Path) -> None:
    most: list[int] = []

    async def work(made: Recorder) -> None:
        async def answered(number: int) -> None:
            await made.room()
            made.emit(Kind.STEP_ACCEPTED, StepAccepted(call=number, call_key=""))
            most.append(made.not_durable)

        await asyncio.gather(*(answered(number) for number in range(20 * BATCH_EVENTS)))

    recorded(tmp_path / "log.duckdb", work, lambda: None)
    assert len(most) == 20 * BATCH_EVENTS
    assert max(most) <= recorder.MOST_PENDING


def test_commits_are_told_of_now_and_then_and_the_first_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "TELL_SECONDS", 3600.0)
    told: list[int] = []

    async def work(made: Recorder) -> None:
        for _ in range(5):
            await settled(made)

    recorded(tmp_path / "log.duckdb", work, lambda: told.append(1))
    assert told == [1]


def test_the_last_commit_is_told_of_although_none_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "TELL_SECONDS", 0.05)
    path = tmp_path / "log.duckdb"
    at: list[int] = []

    async def run() -> None:
        with Log(path, writer=True) as log:
            made = Recorder(log, "run", after_commit=lambda: at.append(log.next_seq))
            for _ in range(5):
                await settled(made)
            async with asyncio.timeout(60):
                while at[-1] < 5:
                    await asyncio.sleep(0.01)
            await made.close()

    asyncio.run(run())
    assert at[-1] == 5
    assert at == sorted(set(at))


async def settled(made: Recorder) -> None:
    made.emit(Kind.STEP_ACCEPTED, StepAccepted(call=0, call_key=""))
    await made.settle()
