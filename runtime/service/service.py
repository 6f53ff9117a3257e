"""Whether one engine answers: told of every answer and every failure, it tells an outage from a
call that cannot be answered.

A failure that may pass (an error of the server, a broken connection, no answer in time) is held
against a call where others were answered meanwhile.  Where nobody is, the service is silent: once
two calls have met that, or any call of a service that has not answered yet, it is down.  Then
nothing is held against anybody, one call at a time goes out with growing pauses, and the run stops
when patience is over.  A call that fails alone is taken for the one at fault, after as many tries.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from synth.base.errors import AccessDenied, CallFailed
from synth.runtime.service.limiter import Limiter
from synth.runtime.service.patience import Patience

# Silences that are over by then are not told of.
WORTH_SAYING_S = 1.0
# Failures held against one call before it is given up: with half-second first waits and full
# jitter that is half a minute, give or take.
MOST_STRIKES = 8
# A call that had all the time allowed would have it again, so few of those are enough.
_STRIKES = {"timeout": 3}
# Failures without an answer between them, after which one call at a time goes out.
_SUSPEND_AFTER = 8
_FIRST_PROBE_S = 0.5
_LONGEST_PROBE_S = 10.0
# Answers that are none, after a first one, of a service that has given no other: then it is taken for
# another service than the one that was meant.
_MOST_GARBLED = 60
# Calls refused without an answer between them, after which the key is at fault, or the model: of a
# service that has answered, which may refuse many prompts in a row, and of one that never has.
_MOST_KEYS_DENIED = 10
_MOST_DENIED = 100
_FIRST_DENIED = 3


@dataclass(slots=True, eq=False)
class Asked:
    """One call while it is tried, `issued` so many times.  `strikes` are the failures held against it,
    `tries` those that it waits after, each time longer.  `first` and `seen` are how many answers others had
    when it was first issued and when it last failed, `seen_away` how often the service had sent its
    callers away when it was last issued."""

    issued: int = 0
    first: int | None = None
    seen: int = 0
    tries: int = 0
    strikes: int = 0
    denied: int = 0
    seen_away: int = 0
    failed_at: float = 0.0
    uselessly: bool = False
    warned: bool = False


@dataclass(slots=True, eq=False)
class Service:
    """One engine as its callers find it.  `answers` counts its answers in this run; `on_end` is
    called with the last failure when patience is over.  Times are in seconds."""

    limiter: Limiter
    patience: Patience = field(default_factory=Patience.of)
    answers: int = 0
    on_end: Callable[[CallFailed], None] | None = None
    # How often in a row it sent its callers away for longer than there is patience for, where those
    # that were out together count once.
    away: int = 0
    # Whether it has answered with what is no answer, and how often since, of calls issued after that.
    _garbles: bool = False
    _garbled: int = 0
    # Calls that want an answer now.
    _asking: int = 0
    # Since the last answer: failures, the calls that met them with nothing held against them, the
    # pauses between calls that went out alone, and since when the service is down.
    _failures: int = 0
    _innocent: set[Asked] = field(default_factory=set)
    _probes: int = 0
    _down_since: float | None = None
    # Whether nobody was at the address in all that time, nor ever before.
    _nobody: bool = False
    _last: CallFailed | None = None
    _timer: asyncio.TimerHandle | None = None
    _denied: set[Asked] = field(default_factory=set)

    def begin(self) -> Asked:
        """A call that wants an answer; `end` it whatever comes of it."""
        self._asking += 1
        return Asked()

    def end(self) -> None:
        self._asking -= 1

    def issued(self, asked: Asked) -> None:
        asked.issued += 1
        asked.seen_away = self.away
        asked.warned = self._garbles
        if asked.first is None:
            asked.first = asked.seen = self.answers

    @property
    def silence(self) -> float | None:
        """For how long the service is down; None while it is not."""
        since = self._down_since
        return None if since is None or not self._asking else time.monotonic() - since

    @property
    def suspended(self) -> bool:
        """Whether one call at a time goes out."""
        return self._probes > 0

    def answered(self) -> None:
        self.answers += 1
        self.away = 0
        if self._denied:
            self._denied.clear()
        if self._failures:
            self.spoke()

    def paused(self, asked: Asked, failure: CallFailed) -> None:
        """A failure that may ask for some time."""
        if self.patience.pause(failure) and asked.seen_away == self.away:
            self.away += 1

    @property
    def waits(self) -> float:
        """How long the service is waited for, as far as is known of it."""
        return self.patience.nobody if self._nobody else self.patience.seconds

    @property
    def absent(self) -> str | None:
        """Why nobody is at the address, where nobody ever was."""
        return str(self._last) if self._nobody else None

    def failed(self, asked: Asked, failure: CallFailed, answered_before: Callable[[], bool]) -> None:
        """A failure that may pass.  `answered_before` says whether the service answered in an earlier
        run."""
        asked.tries += 1
        if asked.tries == 1:
            asked.failed_at = time.monotonic()
        strikes = _STRIKES.get(failure.kind, 1)
        others = asked.seen != self.answers
        asked.seen = self.answers
        asked.uselessly = self._is_useless(failure, others and asked.strikes > 0)
        if failure.kind == "malformed":
            self._garbles = True
            self._garbled += asked.warned
        if failure.kind == "engine" or asked.uselessly:
            # It says itself that it is being restarted, or it has answered, if with nothing of use.
            asked.strikes += strikes
            self.spoke()
            return
        self._failures += 1
        self._last = failure
        limited = failure.kind == "rate_limit"
        if others:
            # A rate limit is nobody's fault, but to wait for it has an end as well.
            if not limited or time.monotonic() - asked.failed_at > self.patience.seconds:
                asked.strikes += strikes
            return
        if not asked.strikes:
            self._innocent.add(asked)
        if limited or len(self._innocent) > 1 or not self.answers:
            self._go_down(failure.unreached and not self.answers and not answered_before())
        if self._down_since is None:
            asked.strikes += strikes
        elif self._failures >= _SUSPEND_AFTER:
            asked.tries = 0
            self._probe()

    def _is_useless(self, failure: CallFailed, again: bool) -> bool:
        """Whether a failure is an answer that nobody can use.  What is not of the protocol at all is
        that of a service that never spoke it, or one call's own where it comes `again` while others
        are answered; otherwise it is an outage, with a page of a proxy's."""
        if failure.kind == "malformed":
            return again or not self.answers
        return failure.kind in ("empty", "finish")

    @property
    def garbled(self) -> int | None:
        """How many answers were none, once it is plain that it gives no other."""
        return self._garbled if self._garbled >= _MOST_GARBLED and not self.answers else None

    def spoke(self) -> None:
        """The service looked at a call, whatever it said."""
        if self._timer is not None:
            self._timer.cancel()
        if self._probes:
            self.limiter.resume()
        self._failures = self._probes = 0
        self._down_since = self._last = self._timer = None
        self._nobody = False
        self._innocent.clear()

    def denied(self, asked: Asked, denial: AccessDenied, answered_before: Callable[[], bool]) -> bool:
        """Whether a refusal is everybody's.  `answered_before` says whether the service answered in
        an earlier run."""
        self.spoke()
        asked.denied += 1
        self._denied.add(asked)
        if denial.final:
            return True
        if self.answers or answered_before():
            return len(self._denied) >= (_MOST_KEYS_DENIED if denial.of_key else _MOST_DENIED)
        return len(self._denied) >= _FIRST_DENIED

    def _go_down(self, nobody: bool) -> None:
        now = time.monotonic()
        if self._down_since is None:
            self._down_since, self._nobody = now, nobody
        elif self._nobody and not nobody:
            # Somebody is there after all.
            self._nobody = False
        else:
            return
        if self._timer is not None:
            self._timer.cancel()
        left = max(0.0, self._down_since + self.waits - now)
        self._timer = asyncio.get_running_loop().call_later(left, self._end_patience)

    def _probe(self) -> None:
        """Has the next call go out alone, and later than the one before it."""
        longest = min(_LONGEST_PROBE_S, self.waits / 8)
        self.limiter.suspend(min(longest, _FIRST_PROBE_S * 2.0 ** min(self._probes, 30)))
        self._probes += 1

    def _end_patience(self) -> None:
        if not self._asking:
            # What nobody waits for is not missed.
            self.spoke()
        elif self.on_end is not None and self._last is not None:
            self.on_end(self._last)
