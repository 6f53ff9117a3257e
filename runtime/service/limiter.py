"""How many calls one engine has in hand, felt for by AIMD and paced by the minute.

Invariants, kept because every change happens between two awaits on one event loop:
nothing is admitted unless `in_flight < limit`, no pause is on and both paces allow it, save when
the limiter is drained;
and whoever waits while `in_flight < limit` is waited for by the one timer, or by the serving
that is due as soon as the loop comes round.  A cut may leave more in flight than the new limit
until they finish.

While the service is `suspended` it is asked by one call at a time, whoever has waited longest: so a
call that it can never answer does not stand for all.

A slot that is left is not given away at once: who left it goes on first, and takes it back where
its next call is more urgent than those that wait.  So a sample's next call, or the same one tried
again, goes out before anything else of a hundred answers that came together is looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Self

Sleep = Callable[[float], Awaitable[None]]

SLOW_START = 4
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0

# Waits shorter than this are no waits: sleeping cannot resolve them.
MOMENT_S = 1e-6


class Slot:
    """The right to make one call, held by `async with`.

    Say how the call went before leaving: `succeeded`, or `rate_limited`, or neither for any
    other failure.  `tokens` is what it cost; set it when tokens are paced.
    """

    __slots__ = ("_limiter", "number", "priority", "probes", "reserved", "tokens")

    def __init__(self, limiter: Limiter, priority: int) -> None:
        self._limiter = limiter
        self.priority = priority
        self.number = -1
        self.probes = False
        self.reserved = 0.0
        self.tokens = 0

    async def __aenter__(self) -> Self:
        await self._limiter._enter(self)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._limiter._leave(self)

    def succeeded(self) -> None:
        self._limiter._succeeded(self)

    def rate_limited(self, retry_after: float | None) -> None:
        """The service said 429; `retry_after` is in seconds, None when it did not say."""
        self._limiter._rate_limited(self, retry_after)


class Limiter:
    """Slots for one engine, given by priority (smaller first), then by arrival.

    `limit` is the most calls at once.  An adaptive limiter begins with `start` and doubles with
    each window of successes; the first rate limit halves it, and from then on each window adds a
    thirty-second of `limit`.  All calls that were issued before a cut belong to its episode:
    they neither cut again nor count as successes.  A Retry-After stops everything.  Rates are
    per minute; None is no rate.
    """

    def __init__(
        self,
        limit: int,
        *,
        adaptive: bool,
        start: int = SLOW_START,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self._most = limit
        self._start = min(limit, start)
        self._adaptive = adaptive
        self._limit = self._start if adaptive else limit
        self._slow_start = True
        self._successes = 0
        self._issued = 0
        self._episode_end = 0
        self._in_flight = 0
        self._waiting = 0
        self._arrivals = count()
        self._queue: list[tuple[int, int, asyncio.Future[None], Slot]] = []
        self._paused_until = 0.0
        self._suspended = False
        self._drained = False
        # Calls in flight that were let in while the service was suspended.
        self._probing = 0
        self._requests = _Pace(requests_per_minute, clock()) if requests_per_minute else None
        self._tokens = _Pace(tokens_per_minute, clock()) if tokens_per_minute else None
        self._paid_calls = 0
        self._paid_tokens = 0
        self._clock = clock
        self._sleep = sleep
        self._timer: asyncio.Task[None] | None = None
        self._serving = False

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def waiting(self) -> int:
        return self._waiting

    @property
    def limit(self) -> int:
        """The most calls at once, as of now."""
        return self._limit

    def slot(self, priority: int = 0) -> Slot:
        return Slot(self, priority)

    def suspend(self, seconds: float) -> None:
        """Until `resume`, one call at a time goes out, the next one in so many seconds."""
        self._suspended = True
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def resume(self) -> None:
        """The service answers again.  Where its limit is felt for, that begins anew."""
        self._suspended = False
        self._paused_until = 0.0
        if self._adaptive:
            self._limit = min(self._limit, self._start)
            self._slow_start, self._successes = True, 0
        self._restart()

    def drain(self) -> None:
        """Lets everybody in at once, from now on: those who wait are to see that the run stops."""
        self._drained = True
        self._restart()

    def _restart(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._serve()

    # Entering and leaving

    async def _enter(self, slot: Slot) -> None:
        first = not self._queue or (slot.priority < self._queue[0][0] and not self._suspended)
        if first and not self._full and self._delay() == 0.0:
            self._admit(slot)
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._queue, (slot.priority, next(self._arrivals), admitted, slot))
        self._waiting += 1
        self._serve()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.cancelled():
                self._waiting -= 1
                self._serve()
            else:
                self._leave(slot)
            raise

    def _leave(self, slot: Slot) -> None:
        self._in_flight -= 1
        self._probing -= slot.probes
        if slot.tokens:
            self._paid_calls += 1
            self._paid_tokens += slot.tokens
        if self._tokens is not None:
            self._tokens.take(slot.tokens - slot.reserved)
        if self._queue and not self._serving:
            self._serving = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _admit(self, slot: Slot) -> None:
        slot.number = self._issued
        self._issued += 1
        self._in_flight += 1
        slot.probes = self._suspended
        self._probing += slot.probes
        if self._requests is not None:
            self._requests.take(1.0)
        if self._tokens is not None and self._paid_calls:
            # What a call costs is known at its end; until then it counts as the mean.
            slot.reserved = self._paid_tokens / self._paid_calls
            self._tokens.take(slot.reserved)

    def _serve(self) -> None:
        """Admits whom it can, in order; where time alone is in the way, sets the timer."""
        self._serving = False
        while self._queue:
            _, _, admitted, slot = self._first()
            if not admitted.done():
                if self._full:
                    return
                delay = self._delay()
                if delay > 0.0:
                    if self._timer is None:
                        self._timer = asyncio.ensure_future(self._wake(delay))
                    return
                self._waiting -= 1
                self._admit(slot)
                admitted.set_result(None)
            while self._queue and self._queue[0][2].done():
                heappop(self._queue)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _full(self) -> bool:
        """Whether there is no slot for another call."""
        if self._drained:
            return False
        return self._in_flight >= self._limit or (self._suspended and self._probing > 0)

    def _first(self) -> tuple[int, int, asyncio.Future[None], Slot]:
        """Who is let in next, if anybody waits; else anybody who went away."""
        if not self._suspended:
            return self._queue[0]
        waiting = (entry for entry in self._queue if not entry[2].done())
        return min(waiting, key=lambda entry: entry[1], default=self._queue[0])

    def _delay(self) -> float:
        """Seconds until pause and paces allow a call; 0.0 when they do."""
        if self._drained:
            return 0.0
        if self._requests is None and self._tokens is None and not self._paused_until:
            return 0.0
        now = self._clock()
        delay = self._paused_until - now
        for pace in (self._requests, self._tokens):
            if pace is not None:
                delay = max(delay, pace.delay(now))
        return delay if delay > MOMENT_S else 0.0

    async def _wake(self, delay: float) -> None:
        await self._sleep(delay)
        self._timer = None
        self._serve()

    # Learning

    def _succeeded(self, slot: Slot) -> None:
        if not self._adaptive or slot.number < self._episode_end:
            return
        self._successes += 1
        if self._successes < self._limit:
            return
        self._successes = 0
        step = self._limit if self._slow_start else max(1, self._most // 32)
        self._limit = min(self._most, self._limit + step)
        self._serve()

    def _rate_limited(self, slot: Slot, retry_after: float | None) -> None:
        if retry_after is not None:
            self._paused_until = max(self._paused_until, self._clock() + retry_after)
        if not self._adaptive or slot.number < self._episode_end:
            return
        self._episode_end = self._issued
        self._slow_start = False
        self._successes = 0
        self._limit = max(1, self._limit // 2)


class _Pace:
    """A bucket that fills at a rate and holds one second's worth; it may go below zero."""

    __slots__ = ("at", "holds", "level", "rate")

    def __init__(self, per_minute: float, now: float) -> None:
        self.rate = per_minute / 60.0
        self.holds = max(1.0, self.rate)
        self.level = self.holds
        self.at = now

    def delay(self, now: float) -> float:
        """Seconds until there is at least one in the bucket."""
        self.level = min(self.holds, self.level + (now - self.at) * self.rate)
        self.at = now
        return (1.0 - self.level) / self.rate

    def take(self, amount: float) -> None:
        self.level -= amount


def backoff(attempt: int, retry_after: float | None, random: Random) -> float:
    """Seconds to wait before trying a call again; `attempt` counts the failures so far, from 1.

    Exponential with full jitter, up to a minute, on top of what the service asked for.
    """
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempt - 1, 30))
    return (retry_after or 0.0) + random.random() * longest
