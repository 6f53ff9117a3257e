"""From a step and what came before it to one call: messages, and the key that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from synth.base.canonical import digest
from synth.base.errors import CallFailed, EngineError
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import JsonOutput, StepPlan
from synth.compiler.plan.strata import call_seed
from synth.compiler.stdlib.render import render
from synth.runtime.calls.attempt import Attempt, CallAbandoned
from synth.runtime.calls.models import Models, RunningModel
from synth.runtime.engines.base import Call, Message, MessageRole, ModelIdentity, Opener, render_answer

_EXCHANGED: Mapping[MessageRole, MessageRole] = {"user": "model", "model": "user"}


def messages_for(cohort: CohortPlan, step: StepPlan, values: Mapping[str, Any]) -> tuple[Message, ...]:
    """The conversation a model is shown for a step.

    With `sees = transcript` or `template`, that is every earlier turn that is in the sample; of a row that
    is evaluated, its messages; otherwise the prompt alone.  A user's turn with a prompt is asked that, and
    then sees the turns with roles exchanged, without what the system says.
    """
    found: list[Message] = []
    if step.system is not None:
        found.append(Message("system", render(step.system, values)))
    if step.sees in ("transcript", "template"):
        turns = _turns(cohort, step, values)
        if step.prompt is None:
            found += turns
        else:
            found.append(Message("user", render(step.prompt, values)))
            found += [
                Message(_EXCHANGED[turn.role], turn.content) for turn in turns if turn.role in _EXCHANGED
            ]
    elif step.sees == "row":
        found += [Message(message["role"], message["content"]) for message in values["row"]]
    elif step.prompt is not None:
        found.append(Message("user", render(step.prompt, values)))
    return tuple(found)


def _turns(cohort: CohortPlan, step: StepPlan, values: Mapping[str, Any]) -> Iterator[Message]:
    """What was said in a sample before one of its turns."""
    for turn in cohort.turns:
        if turn.name == step.name:
            break
        value = values[turn.name]
        # The step's own system text takes the place of the conversation's.
        if (turn.when and value is None) or (turn.role == "system" and step.system is not None):
            continue
        if turn.role == "messages":
            yield from _opening(value, system=step.system is None)
        elif turn.role is not None:
            yield Message(turn.role, turn.said(value))


def _opening(messages: Sequence[Mapping[str, Any]], *, system: bool) -> Iterator[Message]:
    """What was said before, without what was thought, and perhaps without what the system says."""
    for each in messages:
        if system or each["role"] != "system":
            yield Message(each["role"], each["content"])


def schema_of(step: StepPlan) -> dict[str, Any] | None:
    return step.output.schema_ if isinstance(step.output, JsonOutput) else None


@lru_cache(maxsize=1024)
def sampling_json(sampling: Sampling) -> Mapping[str, Any]:
    """What was set, and nothing else, so that a new field later changes no key."""
    return sampling.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def call_key(
    identity: ModelIdentity | Mapping[str, Any],
    messages: Sequence[Message],
    token_ids: Sequence[int] | None,
    schema: Mapping[str, Any] | None,
    sampling: Mapping[str, Any],
    seed: int,
    scored: int | None = None,
) -> str:
    """sha256, in hex, of everything an answer depends on.  The token prefix stands for the
    messages where the runtime rendered it; `scored` is a scoring call's alone."""
    model = identity.model_dump(mode="json") if isinstance(identity, ModelIdentity) else dict(identity)
    prompt: Any = list(token_ids) if token_ids is not None else [[m.role, m.content] for m in messages]
    parts = [model, prompt, schema, sampling, seed]
    return digest(parts if scored is None else [*parts, scored])


def model_of(models: Models, step: StepPlan) -> RunningModel:
    assert step.model is not None, "a composed step asks nobody"
    return models[step.model]


def make_call(plan: Plan, model: RunningModel, attempt: Attempt) -> Call:
    """The call that an attempt makes.  Raises CallAbandoned when the chat template refuses."""
    step = attempt.step
    if step.scores:
        return score_call(model, attempt)
    opened = step.sees == "template"
    try:
        if opened and isinstance(model.engine, Opener):
            token_ids: tuple[int, ...] | None = model.engine.render_opening(attempt.messages)
        else:
            token_ids = model.engine.render(attempt.messages)
    except CallFailed as failure:
        raise CallAbandoned(str(failure)) from None
    schema = schema_of(step)
    seed = call_seed(plan, attempt.sample_id, step.name, *attempt.place)
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
        opened=opened,
    )


def score_call(model: RunningModel, attempt: Attempt) -> Call:
    """The call that asks how likely a model finds the last of an attempt's messages.

    Neither sampling nor a seed has a part in that, so one conversation is scored once, whatever
    sample and attempt it comes from.  Raises CallAbandoned when the chat template refuses, and
    EngineError for a model that runs where it gives no token probabilities.
    """
    try:
        rendered = render_answer(model.engine, attempt.messages)
    except CallFailed as failure:
        raise CallAbandoned(str(failure)) from None
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
