"""The tries of one call: as many as it takes, within limits, each of them recorded."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import NamedTuple

from synth.base.errors import AccessDenied, CallFailed, EngineDied, EngineError
from synth.base.text import spoken
from synth.compiler.plan.steps import StepPlan
from synth.runtime.calls.attempt import CallAbandoned
from synth.runtime.calls.breaker import Breakers, Held
from synth.runtime.calls.models import Models, RunningModel
from synth.runtime.calls.reservation import Budget, Reserved
from synth.runtime.engines.base import Call, Completion
from synth.runtime.events.budget import RunBudget, Stopped
from synth.runtime.events.progress import Progress
from synth.runtime.events.recorder import Recorder
from synth.runtime.money.usage import NOTHING, Usage, of_completion, of_failure
from synth.runtime.service.limiter import backoff
from synth.runtime.service.service import MOST_STRIKES, Asked
from synth.store.log import payloads
from synth.store.log.events import Kind
from synth.store.log.past.history import History

# A call whose key or model was refused is tried once more; then others show whose fault it is.
_TRIES_DENIED = 2
# So often in a row callers are sent away for longer than patience before that is believed.
_MOST_AWAY = 3
# Waits of who is answered, if with a rate limit, are those of so many tries at most: 4 seconds.
_LIMITED_TRIES = 4


class Answered(NamedTuple):
    """An answer, the tokens it took and the money it cost."""

    completion: Completion
    usage: Usage
    cost: float


class Tries:
    """`history` is what earlier runs left in the log."""

    def __init__(
        self,
        models: Models,
        recorder: Recorder,
        stop: RunBudget,
        progress: Progress,
        breakers: Breakers,
        seed: int,
        history: History,
    ) -> None:
        self._recorder = recorder
        self._stop = stop
        self._progress = progress
        self._breakers = breakers
        self._random = Random(seed)
        self._history = history
        self._answered: dict[str, bool] = {}
        self._budget = Budget(stop)
        stop.wakes(self._budget.wake)
        for model in models:
            model.service.on_end = partial(self._end_patience, model)
            stop.wakes(model.service.limiter.drain)

    async def ask(
        self, model: RunningModel, step: StepPlan, call: Call, columns: payloads.AttemptColumns
    ) -> Answered:
        """An answer, after as many tries as it takes.  Raises CallAbandoned for a call that fails for good,
        EngineError where every other would as well, Held and Stopped."""
        service = model.service
        asked = service.begin()
        try:
            while True:
                tried = await self._try(model, step, call, columns, asked)
                if isinstance(tried, Answered):
                    return tried
                wait = self._wait(model, asked, tried)
                if wait > 0.0:
                    await self._stop.pause(wait)
        finally:
            service.end()

    async def _try(
        self,
        model: RunningModel,
        step: StepPlan,
        call: Call,
        columns: payloads.AttemptColumns,
        asked: Asked,
    ) -> Answered | CallFailed:
        """One try within the limits.  What comes of it is told to the service before the next slot is
        given away."""
        service = model.service
        async with service.limiter.slot(call.priority) as slot:
            await self._recorder.room()
            reserved = await self._budget.reserve(model, call)
            try:
                self._breakers.admit(step)
                self._stop.issue()
            except (Held, Stopped):
                self._budget.settle(reserved, NOTHING, 0.0)
                raise
            self._breakers.begin(step)
            self._progress.issued(step)
            service.issued(asked)
            try:
                completion = await model.engine.generate(call)
                # Thousands can be answered at one time, faster than the log can be written.
                await self._recorder.room()
            except CallFailed as failure:
                slot.tokens = failure.prompt_tokens + failure.completion_tokens
                service.paused(asked, failure)
                if failure.kind == "rate_limit":
                    slot.rate_limited(failure.retry_after)
                self._record_failure(model, step, call, failure, asked.issued, columns, reserved)
                self._tell(model, step, asked, failure)
                return failure
            except asyncio.CancelledError:
                self._stop.given_up += 1
                self._record_failure(model, step, call, _given_up(), asked.issued, columns, reserved)
                raise
            except EngineError as fault:
                ended = CallFailed("engine", str(fault), retryable=False)
                self._record_failure(model, step, call, ended, asked.issued, columns, reserved)
                raise
            else:
                usage = of_completion(call, completion)
                cost = model.cost(usage)
                self._budget.settle(reserved, usage, cost)
                slot.tokens = usage.prompt_tokens + usage.completion_tokens
                slot.succeeded()
                service.answered()
                return Answered(completion, usage, cost)
            finally:
                self._breakers.end(step)
                self._progress.returned(step)

    def _tell(self, model: RunningModel, step: StepPlan, asked: Asked, failure: CallFailed) -> None:
        """Raises EngineError for a failure that is everybody's."""
        if isinstance(failure, AccessDenied):
            if model.service.denied(asked, failure, partial(self._answered_before, model)):
                raise EngineError(failure.verdict)
        elif failure.retryable:
            model.service.failed(asked, failure, partial(self._answered_before, model))
            if asked.uselessly:
                # It was answered, and an answer without a text is refused like any other.
                self._breakers.refused(step, failure.kind, str(failure))
            if model.service.garbled:
                raise EngineError(
                    f"`{model.name}` ({model.engine.identity}) has answered nothing that can be read "
                    f"{model.service.garbled} times in a row (last: {failure}); check its address, and "
                    "whether what listens there speaks this protocol"
                )
        else:
            model.service.spoke()

    def _wait(self, model: RunningModel, asked: Asked, failure: CallFailed) -> float:
        """Seconds until a call is tried again.  Raises CallAbandoned, and EngineError."""
        service = model.service
        if isinstance(failure, AccessDenied):
            if asked.denied >= _TRIES_DENIED:
                raise CallAbandoned(f"{failure.kind}: {failure}", lasting=False)
            return backoff(asked.denied, None, self._random)
        if not failure.retryable:
            raise CallAbandoned(f"{failure.kind}: {failure}")
        if service.away >= _MOST_AWAY:
            raise EngineError(
                f"`{model.name}` ({model.engine.identity}) has sent its callers away {service.away} times "
                f"in a row for longer than patience, which is {spoken(service.patience.seconds)} (last: "
                f"{failure}); what is done is safe: run again then"
            )
        if asked.strikes >= MOST_STRIKES:
            self._give_up(model, asked, failure)
        if service.suspended or failure.kind == "empty":
            # Whose turn it is, and when, the limiter says; and who answered with nothing needs no rest.
            return 0.0
        # The limiter slows everybody down, so that one call need not wait for long.
        answered = failure.kind == "rate_limit" or asked.uselessly
        most = _LIMITED_TRIES if answered else asked.tries
        return backoff(max(1, min(asked.tries, most)), failure.retry_after, self._random)

    def _answered_before(self, model: RunningModel) -> bool:
        """Whether a model answered in an earlier run, as what it is now."""
        if model.name not in self._answered:
            self._answered[model.name] = self._history.answered(
                model.name, model.engine.identity.backend, model.engine.identity.id
            )
        return self._answered[model.name]

    def _give_up(self, model: RunningModel, asked: Asked, failure: CallFailed) -> None:
        alone = model.service.answers == asked.first
        if failure.kind == "engine" and alone:
            raise EngineDied(
                f"`{model.name}` ({model.engine.identity}) has not answered {MOST_STRIKES} tries in a row "
                f"(last: {failure}); what is done is safe: run again when it is back"
            )
        # Who answers and says nothing would have nothing more to say.
        lasting = failure.kind == "empty"
        reason = f"{failure.kind} {asked.issued} times in a row: {failure}"
        raise CallAbandoned(reason, lasting=lasting, judged=asked.uselessly)

    def _end_patience(self, model: RunningModel, failure: CallFailed) -> None:
        what = (
            "check its address; a server that is still starting is waited for with --patience"
            if model.service.absent
            else "what is done is safe: run again when it is back, or wait longer with --patience"
        )
        died = EngineDied(
            f"`{model.name}` ({model.engine.identity}) has not answered for "
            f"{spoken(model.service.waits)} (last: {failure}); {what}"
        )
        self._stop.stop("failed", str(died), died)

    def _record_failure(
        self,
        model: RunningModel,
        step: StepPlan,
        call: Call,
        failure: CallFailed,
        number: int,
        columns: payloads.AttemptColumns,
        reserved: Reserved | None,
    ) -> None:
        usage = of_failure(failure)
        cost, lost_cost = model.cost(usage), None
        if failure.lost and model.priced is not None:
            lost_cost = (reserved or self._budget.most(model, call)).amount
        self._budget.settle(reserved, usage, cost + (lost_cost or 0.0))
        payload: payloads.CallFailed = {
            "call_key": call.key,
            "identity": model.identity,
            "engine": model.engine.version,
            "failure": failure.kind,
            "message": str(failure),
            "retryable": failure.retryable,
            "try": number,
        }
        note_tokens(payload, usage)
        if usage.cached_tokens:
            payload["cached_tokens"] = usage.cached_tokens
        if lost_cost is not None:
            payload["lost_cost"] = lost_cost
        self._recorder.emit(
            Kind.CALL_FAILED,
            payload,
            **columns,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )
        self._progress.heard(failure.kind, str(failure))
        self._progress.failed(step, failure.kind, usage, cost, lost_cost)


def note_tokens(payload: payloads.TokenNotes, usage: Usage) -> None:
    """Adds what there is to say of a call's tokens."""
    if usage.reasoning_tokens:
        payload["reasoning_tokens"] = usage.reasoning_tokens
    if usage.estimated:
        payload["estimated"] = True


def _given_up() -> CallFailed:
    return CallFailed("given_up", "the run stopped before an answer was there", retryable=True, lost=True)
