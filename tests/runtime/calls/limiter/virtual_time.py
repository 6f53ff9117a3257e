"""Time that passes only when somebody sleeps, and calls that hold the limiter's slots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from synth.runtime.service.limiter import Limiter, Slot


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
