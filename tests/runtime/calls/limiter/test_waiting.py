"""Who waits for a slot of the limiter, in which order, and who is cancelled, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.runtime.service.limiter import Limiter
from tests.runtime.calls.limiter.virtual_time import Time, hold, leave, limiter, run, settle, succeed


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
