"""Why and when a run stops before its quotas are met.  Lives on the event loop alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["finished", "limited", "interrupted", "out_of_budget", "failed", "short", "stuck"]


class Stopped(Exception):
    """Raised where a call would have been issued after the run was told to stop."""


@dataclass(slots=True)
class Stop:
    """Bounds on a run.  Once stopped, no call is issued; those in flight are awaited."""

    max_calls: int | None = None
    max_minutes: float | None = None
    max_cost: float | None = None
    # The most calls of a run with a limit on its samples, and what is said when they are made.
    limit: tuple[int, str] | None = None
    outcome: Outcome | None = None
    reason: str = ""
    error: Exception | None = None
    calls: int = 0
    cost: float = 0.0
    started: float = field(default_factory=time.monotonic)
    event: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stopping(self) -> bool:
        return self.outcome is not None

    def stop(self, outcome: Outcome, reason: str, error: Exception | None = None) -> None:
        """The first reason counts."""
        if self.outcome is None:
            self.outcome, self.reason, self.error = outcome, reason, error
            self.event.set()

    def issue(self) -> None:
        """Counts a call that is about to be issued, or raises Stopped."""
        if self.limit is not None and self.calls >= self.limit[0]:
            self.stop("out_of_budget", self.limit[1])
        if self.max_calls is not None and self.calls >= self.max_calls:
            self.stop("out_of_budget", f"--max-calls {self.max_calls} reached")
        if self.max_minutes is not None and time.monotonic() - self.started >= self.max_minutes * 60:
            self.stop("out_of_budget", f"--max-minutes {self.max_minutes:g} reached")
        if self.outcome is not None:
            raise Stopped
        self.calls += 1

    def spend(self, amount: float) -> None:
        """Counts money; the bound can be overshot by what is in flight."""
        self.cost += amount
        if self.max_cost is not None and self.cost >= self.max_cost:
            self.stop("out_of_budget", f"--max-cost {self.max_cost:g} reached")
