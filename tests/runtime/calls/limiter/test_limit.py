"""How many calls the limiter lets go at once, in virtual time: no test here waits."""

from __future__ import annotations

import pytest

from tests.runtime.calls.limiter.virtual_time import Time, hold, leave, limiter, run, succeed


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
