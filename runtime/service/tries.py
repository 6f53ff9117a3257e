"""The tries of one call: as many as it takes, within limits, each of them recorded."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from compiler.plan import StepPlan
from dsl.errors import CallFailed, EngineDied, EngineError
from runtime.attempt import GaveUp
from runtime.engines.base import Call, Completion
from runtime.models import RunningModel
from runtime.progress import Progress
from runtime.recorder import Recorder
from runtime.service.breaker import Breakers
from runtime.service.limiter import backoff
from runtime.stop import Stop, Stopped
from store.event import Kind

# Tries of one call before it is given up: with half-second first waits and full jitter that
# is half a minute of a service's silence, give or take.
MOST_TRIES = 8
# A service that asks for more than this is out of quota: better to stop than to sit there.
LONGEST_WAIT_S = 600.0


class Tries:
    def __init__(
        self, recorder: Recorder, stop: Stop, progress: Progress, breakers: Breakers, seed: int
    ) -> None:
        self._recorder = recorder
        self._stop = stop
        self._progress = progress
        self._breakers = breakers
        self._random = Random(seed)

    async def ask(
        self, model: RunningModel, step: StepPlan, call: Call, columns: dict[str, Any]
    ) -> Completion:
        """An answer after as many tries as it takes and MOST_TRIES allow."""
        successes = model.successes
        for number in range(1, MOST_TRIES + 1):
            async with model.limiter.slot(call.priority) as slot:
                await self._recorder.room()
                self._breakers.admit(step)
                self._stop.issue()
                self._breakers.begin(step)
                self._progress.issued(step)
                try:
                    completion = await model.engine.generate(call)
                except CallFailed as error:
                    failure = error
                    slot.tokens = failure.prompt_tokens + failure.completion_tokens
                    if failure.kind == "rate_limit":
                        slot.rate_limited(failure.retry_after)
                    self._record_failure(model, step, call, failure, number, columns)
                    if failure.kind == "empty" and failure.retryable:
                        # It was answered, and an answer without a text is refused like any other.
                        self._breakers.refused(step, failure.kind, str(failure))
                else:
                    slot.tokens = completion.prompt_tokens + completion.completion_tokens
                    slot.succeeded()
                    model.successes += 1
                    return completion
                finally:
                    self._breakers.end(step)
                    self._progress.returned(step)
            if not failure.retryable:
                raise GaveUp(f"{failure.kind}: {failure}")
            if (failure.retry_after or 0) > LONGEST_WAIT_S:
                raise EngineError(
                    f"`{model.name}` ({model.engine.identity}) asks to be left alone for "
                    f"{(failure.retry_after or 0) / 60:.0f} minutes ({failure}); what is done is safe: "
                    "run again then"
                )
            # Who answered, if with nothing, needs no rest.
            if number < MOST_TRIES and failure.kind != "empty":
                await self._pause(backoff(number, failure.retry_after, self._random))
        # Who answers and says nothing is not down, and would have nothing more to say.
        silent = failure.kind == "empty"
        if model.successes == successes and not silent:
            # Nobody got an answer while this call tried: the service is down, not the call.
            raise EngineDied(
                f"`{model.name}` ({model.engine.identity}) has not answered {MOST_TRIES} tries in a row "
                f"(last: {failure}); what is done is safe: run again when it is back"
            )
        raise GaveUp(f"{failure.kind} {MOST_TRIES} times in a row: {failure}", lasting=silent)

    def _record_failure(
        self,
        model: RunningModel,
        step: StepPlan,
        call: Call,
        failure: CallFailed,
        number: int,
        columns: dict[str, Any],
    ) -> None:
        self._recorder.emit(
            Kind.CALL_FAILED,
            {
                **identify(model, call),
                "failure": failure.kind,
                "message": str(failure),
                "retryable": failure.retryable,
                "try": number,
            },
            **columns,
            prompt_tokens=failure.prompt_tokens,
            completion_tokens=failure.completion_tokens,
        )
        self._progress.failed(step, failure.kind, failure.prompt_tokens, failure.completion_tokens)
        self._stop.spend(model.cost(failure.prompt_tokens, failure.completion_tokens))

    async def _pause(self, seconds: float) -> None:
        """Waits, but not for a run that is stopping."""
        try:
            await asyncio.wait_for(self._stop.event.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped


def identify(model: RunningModel, call: Call) -> dict[str, Any]:
    return {
        "call_key": call.key,
        "identity": model.identity,
        "engine": model.engine.version,
    }
