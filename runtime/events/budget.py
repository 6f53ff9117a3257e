"""Why and when a run stops before its quotas are met.  Lives on the event loop alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from synth.base.text import spoken

T = TypeVar("T")

# How long what is in flight is awaited once a run is told to stop, in seconds.
GRACE_S = 60.0

Outcome = Literal["finished", "limited", "interrupted", "out_of_budget", "failed", "short", "stuck"]


class Stopped(Exception):
    """Raised where a call would have been issued after the run was told to stop."""


@dataclass(slots=True)
class RunBudget:
    """Bounds on a run.  Once stopped, no call is issued; those in flight are awaited for `grace`
    seconds, and `given_up` counts those that have no answer by then."""

    max_calls: int | None = None
    max_minutes: float | None = None
    max_cost: float | None = None
    # The most calls of a run with a limit on its samples, and what is said when they are made.
    limit: tuple[int, str] | None = None
    grace: float = GRACE_S
    outcome: Outcome | None = None
    reason: str = ""
    error: Exception | None = None
    calls: int = 0
    given_up: int = 0
    started: float = field(default_factory=time.monotonic)
    stopped: float = 0.0
    event: asyncio.Event = field(default_factory=asyncio.Event)
    _wakes: list[Callable[[], None]] = field(default_factory=list)

    @property
    def stopping(self) -> bool:
        return self.outcome is not None

    def stop(self, outcome: Outcome, reason: str, error: Exception | None = None) -> None:
        """The first reason counts."""
        if self.outcome is None:
            self.outcome, self.reason, self.error = outcome, reason, error
            self.stopped = time.monotonic()
            self.event.set()
            for wake in self._wakes:
                wake()

    def wakes(self, wake: Callable[[], None]) -> None:
        """Has something called at the stop that others wait for and would wait for in vain."""
        self._wakes.append(wake)

    @property
    def summary(self) -> str:
        """The reason, and how many calls were given up for it."""
        if not self.given_up:
            return self.reason
        calls = "1 call" if self.given_up == 1 else f"{self.given_up:,} calls"
        waited = min(self.grace, time.monotonic() - self.stopped)
        return f"{self.reason}; {calls} in flight given up after {spoken(waited)}"

    @property
    def grace_left(self) -> float:
        """Seconds until what is in flight is given up, once the run was told to stop."""
        return max(0.0, self.stopped + self.grace - time.monotonic())

    async def pause(self, seconds: float) -> None:
        """Waits, but not for a run that is stopping: raises Stopped then."""
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return
        raise Stopped

    async def bounded(self, work: Coroutine[Any, Any, T]) -> T:
        """What some work comes to.  Raises Stopped where it is not done within the grace of a stop."""
        task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self.event.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait((task,), timeout=self.grace_left)
            if task.done():
                return task.result()
            raise Stopped
        finally:
            stopped.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Stops the run when its time is over, whatever it waits for."""
        if self.max_minutes is None:
            yield
            return
        left = self.started + self.max_minutes * 60 - time.monotonic()
        reason = f"--max-minutes {self.max_minutes:g} reached"
        timer = asyncio.get_running_loop().call_later(max(0.0, left), self.stop, "out_of_budget", reason)
        try:
            yield
        finally:
            timer.cancel()

    def issue(self) -> None:
        """Counts a call that is about to be issued, or raises Stopped."""
        if self.limit is not None and self.calls >= self.limit[0]:
            self.stop("out_of_budget", self.limit[1])
        if self.max_calls is not None and self.calls >= self.max_calls:
            self.stop("out_of_budget", f"--max-calls {self.max_calls} reached")
        if self.outcome is not None:
            raise Stopped
        self.calls += 1
