"""The bound on a run's money, so that it is one: what is in flight is reserved before it is sent.

Invariant, kept because every change happens between two awaits on one event loop: what was spent and
what the calls in flight can cost at most is together no more than the bound.  A call that does not fit
waits for others to come back and leave some of what was reserved for them, so near the bound fewer and
fewer calls are out at once; when none is out and none of those that wait fits, the run stops.

What a call can cost at most goes by its prompt's bytes and by `max_tokens` (else by what the model can
answer at most), corrected by what the service was seen to count beyond that.  Until it has counted a
first call, nobody knows what else it counts, so only as many go out as the bound leaves ample room for.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from synth.base.canonical import canonical_json
from synth.runtime.calls.models import RunningModel
from synth.runtime.engines.base import Call
from synth.runtime.events.budget import RunBudget, Stopped
from synth.runtime.money.prices import output_limit
from synth.runtime.money.tokens import most
from synth.runtime.money.usage import Usage

# How many times what a call should cost is reserved, while it is not known how the service counts.
_AMPLE = 100
# How long a call that fits nowhere waits for smaller ones to be issued, before it ends the run.
_MOMENT_S = 0.05


@dataclass(slots=True)
class _Seen:
    """How a service counts.  `beyond` are the most tokens of a prompt and of an answer that it
    counted beyond what was expected at most."""

    known: bool = False
    in_flight: int = 0
    changes: int = 0
    prompt_beyond: int = 0
    completion_beyond: int = 0


@dataclass(slots=True)
class Reserved:
    """What one call can cost at most, by tokens and in money.  `limited` says that the call sets the
    length of its answer; `held` is what is set aside while it is in flight."""

    model: RunningModel
    prompt_tokens: int
    completion_tokens: int
    limited: bool = True
    amount: float = 0.0
    held: float = 0.0
    # How often what was seen of the service had changed when the amount was made out.
    changes: int = -1


class Budget:
    """The money of one run.  `spent` is what answers cost and what lost ones can have cost."""

    def __init__(self, stop: RunBudget) -> None:
        self.bound = stop.max_cost
        self.spent = 0.0
        self._stop = stop
        self._held = 0.0
        self._in_flight = 0
        self._seen: dict[int, _Seen] = {}
        self._beside: dict[int, tuple[Any, str]] = {}
        self._arrivals = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None], Reserved]] = []
        self._timer: asyncio.TimerHandle | None = None

    def most(self, model: RunningModel, call: Call) -> Reserved:
        """What a call can cost at most."""
        if model.priced is None:
            return Reserved(model, 0, 0)
        if call.token_ids is not None:
            prompt = len(call.token_ids)
        else:
            prompt = most(call.messages, self._json(call.schema) + self._json(call.tools or None))
        answer = 0
        if call.scored is None:
            limit = call.sampling.max_tokens if model.limited else None
            answer = output_limit(model.priced.price, model.engine.identity.id, limit)
        limited = call.scored is not None or (model.limited and call.sampling.max_tokens is not None)
        wanted = Reserved(model, prompt, answer, limited)
        self._make_out(wanted)
        return wanted

    async def reserve(self, model: RunningModel, call: Call) -> Reserved | None:
        """Sets aside what a call can cost before it is sent; None where there is no bound, or no
        price.  Raises Stopped when the run stops before there is room."""
        if self.bound is None or model.priced is None:
            return None
        if self._stop.stopping:
            raise Stopped
        wanted = self.most(model, call)
        if self._fits(wanted) and not (self._waiting and call.priority > self._waiting[0][0]):
            self._take(wanted)
            return wanted
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        insort(self._waiting, (call.priority, next(self._arrivals), admitted, wanted))
        self._serve()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled() and admitted.exception() is None:
                self.settle(wanted, None, 0.0)
            raise
        return wanted

    def settle(self, reserved: Reserved | None, usage: Usage | None, cost: float) -> None:
        """What a call came to; `usage` is None where nobody said."""
        self.spent += cost
        if reserved is None:
            return
        self._in_flight -= 1
        # Sums of floating point are not exact, and nothing is held for nobody.
        self._held = self._held - reserved.held if self._in_flight else 0.0
        seen = self._of(reserved.model)
        seen.in_flight -= 1
        if usage is not None and usage.prompt_tokens:
            self._learn(seen, reserved, usage)
        if self._waiting:
            self._serve()

    def wake(self) -> None:
        """The run stops: nobody waits any longer."""
        for *_, admitted, _ in self._waiting:
            if not admitted.done():
                admitted.set_exception(Stopped())
        self._waiting.clear()

    def _json(self, beside: Mapping[str, Any] | Sequence[Any] | None) -> str:
        """The JSON of a schema or of tools, which stay the same objects as long as their plan."""
        if beside is None:
            return ""
        known = self._beside.get(id(beside))
        if known is None:
            known = self._beside[id(beside)] = beside, canonical_json(beside)
        return known[1]

    def _of(self, model: RunningModel) -> _Seen:
        # Names that run at one place are counted by one service.
        return self._seen.setdefault(id(model.engine), _Seen())

    def _learn(self, seen: _Seen, reserved: Reserved, usage: Usage) -> None:
        prompt = max(seen.prompt_beyond, usage.prompt_tokens - reserved.prompt_tokens)
        completion = max(seen.completion_beyond, usage.completion_tokens - reserved.completion_tokens)
        if not seen.known or (prompt, completion) != (seen.prompt_beyond, seen.completion_beyond):
            seen.changes += 1
        seen.known, seen.prompt_beyond, seen.completion_beyond = True, prompt, completion

    def _make_out(self, wanted: Reserved) -> None:
        """The amount by what is known now of how the service counts."""
        seen = self._of(wanted.model)
        if wanted.changes != seen.changes and wanted.model.priced is not None:
            wanted.changes = seen.changes
            wanted.amount = wanted.model.priced.price.most(
                wanted.prompt_tokens + seen.prompt_beyond, wanted.completion_tokens + seen.completion_beyond
            )

    def _fits(self, wanted: Reserved) -> bool:
        self._make_out(wanted)
        assert self.bound is not None
        return self.spent + self._held + self._share(wanted) <= self.bound

    def _share(self, wanted: Reserved) -> float:
        seen = self._of(wanted.model)
        return wanted.amount if seen.known or not seen.in_flight else _AMPLE * wanted.amount

    def _take(self, wanted: Reserved) -> None:
        wanted.held = self._share(wanted)
        self._held += wanted.held
        self._in_flight += 1
        self._of(wanted.model).in_flight += 1

    def _serve(self) -> None:
        """Lets in whom there is room for, the most urgent first; smaller ones pass larger ones."""
        left = []
        for entry in self._waiting:
            _, _, admitted, wanted = entry
            if admitted.done():
                continue
            if self._fits(wanted):
                self._take(wanted)
                admitted.set_result(None)
            else:
                left.append(entry)
        self._waiting = left
        if left and not self._in_flight and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_MOMENT_S, self._end)

    def _end(self) -> None:
        """Nothing is in flight that could make room."""
        self._timer = None
        waiting = [entry[3] for entry in self._waiting if not entry[2].done()]
        if self._in_flight or not waiting:
            return
        wanted = min(waiting, key=lambda waiter: waiter.amount)
        less = "" if wanted.limited else ", less with `max_tokens`"
        self._stop.stop(
            "out_of_budget",
            f"--max-cost {self.bound:g} reached: {self.spent:.4g} is spent, and a call of "
            f"`{wanted.model.name}` can cost {wanted.amount:.4g}{less}",
        )
        self.wake()
