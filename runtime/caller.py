"""One answer for one attempt of one step: from the log when it is there, else from an engine.

A `Caller` is what stands between a sample and the models.  The live one limits, retries and
records; the preview counts what would be issued; the replay takes the log for the only engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from compiler.plan import CheckPlan, Plan, Sampling, StepPlan
from compiler.strata import call_seed
from dsl.errors import CallFailed, EngineDied, EngineError
from runtime.call import call_key, sampling_json, schema_of
from runtime.engines.base import Call, Completion, Message, render_answer
from runtime.limiter import backoff
from runtime.lookup import Indexes, LookUp, Passages
from runtime.models import Models, RunningModel
from runtime.progress import Progress
from runtime.recorder import Recorder
from runtime.stop import Stop, Stopped
from store.event import Kind
from store.history import LoggedCall, LoggedSample

# Tries of one call before it is given up: with half-second first waits and full jitter that
# is half a minute of a service's silence, give or take.
MOST_TRIES = 8
# A service that asks for more than this is out of quota: better to stop than to sit there.
LONGEST_WAIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`seq` is the event of the call; `reused` says that nothing was paid now.

    Of a step that `scores`, `logprob` is the sum over `scored_tokens` tokens.
    """

    text: str
    finish_reason: str
    seq: int
    call_key: str
    reused: bool
    logprob: float | None = None
    scored_tokens: int = 0


class GaveUp(Exception):
    """A call that failed for good; the sample is abandoned for this reason.

    `lasting` says that the call itself is at fault: another run would fare no better.
    """

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


class Missing(Exception):
    """The log does not hold an answer, and there is no engine to ask."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt (from 0) at one step of a cohort's sample: what the model is shown, in what
    order of urgency, the sample's earlier calls by key, and what the answer must satisfy."""

    cohort: str
    sample_id: str
    step: StepPlan
    number: int
    messages: Sequence[Message]
    priority: int
    earlier: LoggedSample
    checks: tuple[CheckPlan, ...] = ()
    must_fail: tuple[CheckPlan, ...] = ()


class Caller(Protocol):
    plan: Plan

    async def call(self, attempt: Attempt) -> Answer:
        """Raises GaveUp, Missing or Stopped."""
        ...

    async def look_up(self, lookup: LookUp) -> Passages:
        """Raises GaveUp or Missing."""
        ...


class LiveCaller:
    """Asks the engines, within limits, and records what they say."""

    def __init__(
        self,
        plan: Plan,
        models: Models,
        indexes: Indexes,
        recorder: Recorder,
        stop: Stop,
        progress: Progress,
    ) -> None:
        self.plan = plan
        self._models = models
        self._indexes = indexes
        self._recorder = recorder
        self._stop = stop
        self._progress = progress
        self._random = Random(plan.seed)

    async def call(self, attempt: Attempt) -> Answer:
        step, model = attempt.step, model_of(self._models, attempt.step)
        call = make_call(self.plan, model, attempt)
        known = attempt.earlier.calls.get(call.key)
        if known is not None:
            # It costs no call, but its verdict and its sample are events as well.
            await self._recorder.room()
            self._progress.reused(step)
            return logged(known)
        columns = {
            "sample_id": attempt.sample_id,
            "step": step.name,
            "attempt": attempt.number,
            "model": step.model,
        }
        await self._models.ready(model)
        completion = await self._ask(model, step, call, columns)
        seq = self._recorder.emit(
            Kind.CALL_COMPLETED,
            {
                **_identify(model, call),
                "messages": [{"role": m.role, "content": m.content} for m in call.messages],
                "token_ids": list(call.token_ids) if call.token_ids is not None else None,
                "schema": call.schema,
                "sampling": sampling_json(call.sampling),
                "seed": call.seed,
                "text": completion.text,
                "finish_reason": completion.finish_reason,
                "cached_tokens": completion.cached_tokens,
                "served_by": completion.served_by,
                **_score(call, completion),
            },
            **columns,
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            latency_ms=completion.latency_ms,
        )
        self._progress.completed(step, completion.prompt_tokens, completion.completion_tokens)
        self._stop.spend(model.cost(completion.prompt_tokens, completion.completion_tokens))
        return Answer(
            completion.text,
            completion.finish_reason,
            seq,
            call.key,
            reused=False,
            logprob=completion.logprob,
            scored_tokens=completion.scored_tokens,
        )

    async def look_up(self, lookup: LookUp) -> Passages:
        from runtime.retrieval import RetrievalShort

        try:
            return await self._indexes.look_up(lookup, self._recorder)
        except RetrievalShort as short:
            # Another run may find other documents there.
            raise GaveUp(str(short), lasting=False) from None

    async def _ask(
        self, model: RunningModel, step: StepPlan, call: Call, columns: dict[str, Any]
    ) -> Completion:
        """An answer after as many tries as it takes and MOST_TRIES allow."""
        successes = model.successes
        for number in range(1, MOST_TRIES + 1):
            async with model.limiter.slot(call.priority) as slot:
                await self._recorder.room()
                self._stop.issue()
                self._progress.issued(step)
                try:
                    completion = await model.engine.generate(call)
                except CallFailed as error:
                    failure = error
                    slot.tokens = failure.prompt_tokens + failure.completion_tokens
                    if failure.kind == "rate_limit":
                        slot.rate_limited(failure.retry_after)
                    self._record_failure(model, step, call, failure, number, columns)
                else:
                    slot.tokens = completion.prompt_tokens + completion.completion_tokens
                    slot.succeeded()
                    model.successes += 1
                    return completion
                finally:
                    self._progress.returned(step)
            if not failure.retryable:
                raise GaveUp(f"{failure.kind}: {failure}")
            if (failure.retry_after or 0) > LONGEST_WAIT_S:
                raise EngineError(
                    f"`{model.name}` ({model.engine.identity}) asks to be left alone for "
                    f"{(failure.retry_after or 0) / 60:.0f} minutes ({failure}); what is done is safe: "
                    "run again then"
                )
            if number < MOST_TRIES:
                await self._pause(backoff(number, failure.retry_after, self._random))
        # Who has nothing to say to this call alone is not down, and would have nothing more to say.
        silent = failure.kind == "empty" and model.successes > 0
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
                **_identify(model, call),
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


class PreviewCaller:
    """Answers from the log alone and raises Missing where a call would be issued."""

    def __init__(self, plan: Plan, models: Models) -> None:
        self.plan = plan
        self._models = models

    async def call(self, attempt: Attempt) -> Answer:
        call = make_call(self.plan, model_of(self._models, attempt.step), attempt)
        known = attempt.earlier.calls.get(call.key)
        if known is None:
            raise Missing
        return logged(known)

    async def look_up(self, lookup: LookUp) -> Passages:
        return logged_passages(lookup)


def model_of(models: Models, step: StepPlan) -> RunningModel:
    assert step.model is not None, "a composed step asks nobody"
    return models[step.model]


def make_call(plan: Plan, model: RunningModel, attempt: Attempt) -> Call:
    """The call that an attempt makes.  Raises GaveUp when the chat template refuses."""
    step = attempt.step
    if step.scores:
        return score_call(model, attempt)
    try:
        token_ids = model.engine.render(attempt.messages)
    except CallFailed as failure:
        raise GaveUp(str(failure)) from None
    schema = schema_of(step)
    seed = call_seed(plan, attempt.sample_id, step.name, attempt.number)
    key = call_key(model.identity, attempt.messages, token_ids, schema, sampling_json(step.sampling), seed)
    return Call(
        key,
        tuple(attempt.messages),
        token_ids,
        schema,
        step.sampling,
        seed,
        attempt.priority,
        attempt.checks,
        attempt.must_fail,
    )


def score_call(model: RunningModel, attempt: Attempt) -> Call:
    """The call that asks how likely a model finds the last of an attempt's messages.

    Neither sampling nor a seed has a part in that, so one conversation is scored once, whatever
    sample and attempt it comes from.  Raises GaveUp when the chat template refuses, and
    EngineError for a model that runs where it gives no token probabilities.
    """
    try:
        rendered = render_answer(model.engine, attempt.messages)
    except CallFailed as failure:
        raise GaveUp(str(failure)) from None
    if rendered is None:
        raise EngineError(
            f"`{model.name}` runs on {model.engine.identity}, which gives no token probabilities: "
            "run it on vllm, transformers or pocket"
        )
    token_ids, scored = rendered
    key = call_key(model.identity, attempt.messages, token_ids, None, {}, 0, scored)
    return Call(
        key,
        tuple(attempt.messages),
        token_ids,
        schema=None,
        sampling=Sampling(),
        seed=0,
        priority=attempt.priority,
        scored=scored,
    )


def logged_passages(lookup: LookUp) -> Passages:
    """The passages that the log has.  Raises Missing."""
    if lookup.known is None:
        raise Missing
    return lookup.known.passages


def logged(call: LoggedCall) -> Answer:
    """An answer that the log has."""
    return Answer(
        call.text,
        call.finish_reason,
        call.seq,
        call.call_key,
        reused=True,
        logprob=call.logprob,
        scored_tokens=call.scored_tokens,
    )


def _score(call: Call, completion: Completion) -> dict[str, Any]:
    """What the log holds of a scoring call and of no other."""
    if call.scored is None:
        return {}
    return {
        "scored": call.scored,
        "logprob": completion.logprob,
        "scored_tokens": completion.scored_tokens,
    }


def _identify(model: RunningModel, call: Call) -> dict[str, Any]:
    return {
        "call_key": call.key,
        "identity": model.identity,
        "engine": model.engine.version,
    }
