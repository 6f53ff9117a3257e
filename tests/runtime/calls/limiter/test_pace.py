"""When the limiter lets calls go: pauses, rates and backoff, in virtual time."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.runtime.service.limiter import Limiter, backoff
from tests.runtime.calls.limiter.virtual_time import Time, hold, leave, limiter, run, settle, succeed


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
