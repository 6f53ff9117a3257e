"""The limiter, in virtual time: no test here waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.runtime.service.limiter import Limiter, Slot, backoff


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        target = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, target)


def run(test: Callable[[Time], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test(Time()))


def limiter(time: Time, limit: int, *, adaptive: bool = True, **rates: Any) -> Limiter:
    return Limiter(limit, adaptive=adaptive, clock=time.clock, sleep=time.sleep, **rates)


async def settle() -> None:
    """Lets every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


async def succeed(limits: Limiter, calls: int) -> None:
    for _ in range(calls):
        async with limits.slot() as slot:
            slot.succeeded()


async def hold(limits: Limiter, calls: int) -> list[Slot]:
    """Enters slots that the test leaves by hand."""
    return [await limits.slot().__aenter__() for _ in range(calls)]


async def leave(*slots: Slot) -> None:
    for slot in slots:
        await slot.__aexit__()


def test_it_starts_low_and_doubles_with_each_window_of_successes() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 64)
        seen = [limits.limit]
        for _ in range(6):
            await succeed(limits, limits.limit)
            seen.append(limits.limit)
        assert seen == [4, 8, 16, 32, 64, 64, 64]

    run(test)


def test_a_small_limit_is_the_start() -> None:
    async def test(time: Time) -> None:
        assert limiter(time, 2).limit == 2
        assert limiter(time, 3, adaptive=False).limit == 3
        with pytest.raises(ValueError, match="at least 1"):
            limiter(time, 0)

    run(test)


def test_a_rate_limit_halves_it_and_then_it_grows_by_addition() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 64)
        await succeed(limits, 4 + 8 + 16)
        async with limits.slot() as slot:
            slot.rate_limited(None)
        seen = [limits.limit]
        for _ in range(3):
            await succeed(limits, limits.limit)
            seen.append(limits.limit)
        assert seen == [16, 18, 20, 22]

    run(test)


def test_one_episode_cuts_once() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 64)
        # Five of the sixteen successes that the next step would take.
        await succeed(limits, 4 + 8 + 5)
        slots = await hold(limits, 16)
        for slot in slots[:10]:
            slot.rate_limited(None)
        assert limits.limit == 8
        # Those that were on their way before the cut say nothing about the new limit.
        for slot in slots[10:]:
            slot.succeeded()
        await leave(*slots)
        await succeed(limits, 7)
        assert limits.limit == 8
        await succeed(limits, 1)
        assert limits.limit == 10
        async with limits.slot() as slot:
            slot.rate_limited(None)
        assert limits.limit == 5

    run(test)


def test_it_never_falls_below_one() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 64)
        for _ in range(5):
            async with limits.slot() as slot:
                slot.rate_limited(None)
        assert limits.limit == 1
        await succeed(limits, 1)
        assert limits.limit == 3

    run(test)


def test_a_failure_of_another_kind_changes_nothing() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 64)
        for _ in range(50):
            with pytest.raises(OSError, match="gone"):
                async with limits.slot():
                    raise OSError("gone")
        assert (limits.limit, limits.in_flight) == (4, 0)

    run(test)


def test_a_plain_semaphore_keeps_its_limit() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 3, adaptive=False)
        async with limits.slot() as slot:
            slot.rate_limited(None)
        await succeed(limits, 100)
        assert limits.limit == 3

    run(test)


def test_waiters_are_served_by_priority_then_by_arrival() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 1, adaptive=False)
        order: list[str] = []

        async def one(name: str, priority: int) -> None:
            async with limits.slot(priority):
                order.append(name)
                await asyncio.sleep(0)

        (held,) = await hold(limits, 1)
        names = [("c1", 3), ("a1", 1), ("b1", 2), ("a2", 1), ("c2", 3), ("b2", 2)]
        tasks = [asyncio.create_task(one(*name)) for name in names]
        await settle()
        assert (limits.in_flight, limits.waiting, order) == (1, 6, [])
        await leave(held)
        await asyncio.gather(*tasks)
        assert order == ["a1", "a2", "b1", "b2", "c1", "c2"]
        assert (limits.in_flight, limits.waiting) == (0, 0)

    run(test)


@pytest.mark.parametrize(("urgency", "order"), [(1, ["again", "waiting"]), (9, ["waiting", "again"])])
def test_who_leaves_goes_on_before_less_urgent_calls_that_wait(urgency: int, order: list[str]) -> None:
    async def test(time: Time) -> None:
        limits, served = limiter(time, 1, adaptive=False), []

        async def wait() -> None:
            async with limits.slot(5):
                served.append("waiting")

        async with limits.slot(1):
            waiting = asyncio.create_task(wait())
            await settle()
        async with limits.slot(urgency):
            served.append("again")
        await waiting
        assert served == order
        assert (limits.in_flight, limits.waiting) == (0, 0)

    run(test)


def test_retry_after_stops_everybody_until_it_is_over() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 8)
        entered: list[float] = []

        async def one() -> None:
            async with limits.slot():
                entered.append(time.now)

        async with limits.slot() as slot:
            slot.rate_limited(30.0)
            slot.rate_limited(10.0)
        tasks = [asyncio.create_task(one()) for _ in range(5)]
        await asyncio.gather(*tasks)
        assert entered == [1_030.0] * 5

    run(test)


def test_a_longer_pause_that_comes_later_counts() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 8, adaptive=False)
        first, second = await hold(limits, 2)
        first.rate_limited(30.0)
        waiting = asyncio.create_task(succeed(limits, 1))
        await asyncio.sleep(0)
        second.rate_limited(50.0)
        await leave(first, second)
        await waiting
        assert time.now == 1_050.0

    run(test)


def test_whoever_comes_when_the_pause_is_just_over_does_not_jump_the_queue() -> None:
    async def test(time: Time) -> None:
        order: list[int] = []

        async def late(seconds: float) -> None:
            await asyncio.Event().wait()

        async def one(priority: int) -> None:
            async with limits.slot(priority):
                order.append(priority)

        limits = Limiter(1, adaptive=False, clock=time.clock, sleep=late)
        async with limits.slot() as slot:
            slot.rate_limited(30.0)
        early = asyncio.create_task(one(1))
        await settle()
        time.now += 31.0
        await asyncio.gather(one(2), early)
        assert order == [1, 2]

    run(test)


@pytest.mark.parametrize("adaptive", [True, False])
def test_requests_are_paced(adaptive: bool) -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 8, adaptive=adaptive, requests_per_minute=30)
        await succeed(limits, 11)
        assert time.now == pytest.approx(1_020.0)

    run(test)


def test_a_second_of_requests_may_go_at_once() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 8, requests_per_minute=600)
        await succeed(limits, 10)
        assert time.now == 1_000.0
        await succeed(limits, 10)
        assert time.now == pytest.approx(1_001.0)

    run(test)


def test_tokens_are_paced_by_what_calls_cost() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 8, tokens_per_minute=6_000)
        for _ in range(31):
            async with limits.slot() as slot:
                slot.tokens = 500
                slot.succeeded()
        # 30 calls of 500 tokens at 100 a second, less the second's worth to begin with.
        assert time.now - 1_000.0 == pytest.approx(149.0, abs=1.0)

    run(test)


def test_calls_on_their_way_count_as_the_mean_of_those_before() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 8, adaptive=False, tokens_per_minute=6_000)
        async with limits.slot() as slot:
            slot.tokens = 500
        (held,) = await hold(limits, 1)
        assert time.now == pytest.approx(1_004.0, abs=0.1)
        # The one on its way has taken 500 in advance, which a failure gives back.
        waiting = asyncio.create_task(hold(limits, 1))
        await asyncio.sleep(0)
        assert limits.waiting == 1
        await leave(held)
        await waiting
        assert time.now < 1_005.0

    run(test)


def test_whoever_is_cancelled_while_waiting_is_passed_over() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 1, adaptive=False)
        (held,) = await hold(limits, 1)
        tasks = [asyncio.create_task(succeed(limits, 1)) for _ in range(3)]
        await settle()
        tasks[0].cancel()
        tasks[1].cancel()
        await settle()
        assert (limits.waiting, limits.in_flight) == (1, 1)
        await leave(held)
        await tasks[2]
        assert (limits.waiting, limits.in_flight) == (0, 0)

    run(test)


def test_a_slot_given_to_one_who_is_cancelled_goes_to_the_next() -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, 1, adaptive=False)
        (held,) = await hold(limits, 1)
        first, second = (asyncio.create_task(succeed(limits, 1)) for _ in range(2))
        await settle()
        # Admitted, but cancelled before it could take a step.
        await leave(held)
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert first.cancelled()
        assert not second.cancelled()
        assert (limits.waiting, limits.in_flight) == (0, 0)

    run(test)


def test_nothing_is_left_running_when_all_who_waited_are_cancelled() -> None:
    async def test(time: Time) -> None:
        async def forever(seconds: float) -> None:
            await asyncio.Event().wait()

        limits = Limiter(8, adaptive=True, clock=time.clock, sleep=forever)
        async with limits.slot() as slot:
            slot.rate_limited(30.0)
        tasks = [asyncio.create_task(succeed(limits, 1)) for _ in range(3)]
        await settle()
        for task in tasks:
            task.cancel()
        await settle()
        assert limits.waiting == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(test)


@given(
    st.integers(1, 8),
    st.booleans(),
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["succeed", "fail", "limit", "pause", "cancel"]),
            st.integers(0, 4),
        ),
        max_size=40,
    ),
    st.sampled_from([{}, {"requests_per_minute": 600}, {"tokens_per_minute": 600}]),
)
def test_whatever_happens_everyone_is_served_and_the_limit_holds(
    limit: int, adaptive: bool, calls: list[tuple[int, str, int]], rates: dict[str, float]
) -> None:
    async def test(time: Time) -> None:
        limits = limiter(time, limit, adaptive=adaptive, **rates)
        most, served = 0, 0

        async def one(priority: int, outcome: str, steps: int) -> None:
            nonlocal most, served
            async with limits.slot(priority) as slot:
                most = max(most, limits.in_flight)
                for _ in range(steps):
                    await asyncio.sleep(0)
                served += 1
                slot.tokens = 10 * steps
                if outcome == "succeed":
                    slot.succeeded()
                elif outcome in ("limit", "pause"):
                    slot.rate_limited(2.5 if outcome == "pause" else None)

        tasks = [asyncio.create_task(one(*each)) for each in calls]
        for (_, outcome, steps), task in zip(calls, tasks, strict=True):
            if outcome == "cancel":
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= limit
        assert served >= sum(outcome != "cancel" for _, outcome, _ in calls)
        assert (limits.in_flight, limits.waiting) == (0, 0)
        assert 1 <= limits.limit <= limit
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(test)


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e6), st.integers())
def test_backoff_is_on_top_of_retry_after_and_bounded(
    attempt: int, retry_after: float | None, seed: int
) -> None:
    wait = backoff(attempt, retry_after, Random(seed))
    floor = retry_after or 0.0
    assert floor <= wait <= floor + min(60.0, 0.5 * 2.0 ** min(attempt - 1, 30))


def test_backoff_grows_and_differs() -> None:
    random = Random(1)
    means = [sum(backoff(attempt, None, random) for _ in range(400)) / 400 for attempt in range(1, 10)]
    assert means[0] < means[2] < means[4] < means[6]
    assert 25.0 < means[8] < 35.0
