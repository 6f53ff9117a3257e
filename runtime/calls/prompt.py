"""From a step and what came before it to one call: messages, and the key that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from synth.base.canonical import digest
from synth.base.errors import CallFailed, EngineError
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import JsonOutput, StepPlan
from synth.compiler.plan.strata import call_seed
from synth.compiler.stdlib.render import render
from synth.compiler.stdlib.tool_results import told
from synth.runtime.calls.attempt import Attempt, CallAbandoned
from synth.runtime.calls.models import Models, RunningModel
from synth.runtime.engines.base import (
    Call,
    Message,
    MessageRole,
    ModelIdentity,
    Opener,
    ToolCall,
    render_answer,
)
from synth.store.log.past.logged import keyed
from synth.store.log.payloads import CalledTool
from synth.store.log.source_payloads import Message as LoggedMessage
from synth.store.log.source_payloads import ToolCall as LoggedToolCall

_EXCHANGED: Mapping[MessageRole, MessageRole] = {"user": "model", "model": "user"}


def messages_for(cohort: CohortPlan, step: StepPlan, values: Mapping[str, Any]) -> tuple[Message, ...]:
    """The conversation a model is shown for a step.

    With `sees = transcript` or `template`, that is every earlier turn that is in the sample; of a row that
    is evaluated, its messages; otherwise the prompt alone.  A user's turn with a prompt is asked that, and
    then sees the turns with roles exchanged, without what the system says.
    """
    messages: list[Message] = []
    if step.system is not None:
        messages.append(Message("system", render(step.system, values)))
    if step.sees in ("transcript", "template"):
        turns = _turns(cohort, step, values)
        if step.prompt is None:
            messages += turns
        else:
            messages.append(Message("user", render(step.prompt, values)))
            messages += [
                Message(_EXCHANGED[turn.role], turn.content)
                for turn in turns
                # What only calls tools says nothing to the user.
                if turn.role in _EXCHANGED and (turn.content or not turn.calls)
            ]
    elif step.sees == "row":
        messages += [message_of(message) for message in values["row"]]
    elif step.prompt is not None:
        messages.append(Message("user", render(step.prompt, values)))
    return tuple(messages)


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
            if turn.tools:
                yield from tool_messages(values.get(f"{turn.name}.calls") or ())
            yield Message(turn.role, turn.said(value))


def _opening(messages: Sequence[Mapping[str, Any]], *, system: bool) -> Iterator[Message]:
    """What was said before, without what was thought, and perhaps without what the system says."""
    for message in messages:
        if system or message["role"] != "system":
            yield message_of(message)


def message_of(message: Mapping[str, Any]) -> Message:
    """A message as the log has it, as engines take it."""
    calls = message.get("calls")
    if not calls and message["role"] != "tool":
        return Message(message["role"], message["content"])
    return Message(
        message["role"],
        message["content"],
        tuple(ToolCall(call["name"], call["arguments"], call.get("signature")) for call in calls or ()),
        message.get("name", ""),
    )


def tool_messages(called: Sequence[CalledTool]) -> Iterator[Message]:
    """The messages in which a turn called tools, and what they answered."""
    for _, exchange in groupby(called, key=lambda call: call["message"]):
        calls = list(exchange)
        asked = tuple(ToolCall(call["name"], call["arguments"], call.get("signature")) for call in calls)
        yield Message("model", calls[0].get("content", ""), asked)
        for call in calls:
            yield Message("tool", told(call.get("result"), call.get("fault")), name=call["name"])


def logged_message(message: Message) -> LoggedMessage:
    """A message as the log has it."""
    logged: LoggedMessage = {"role": message.role, "content": message.content}
    if message.calls:
        logged["calls"] = [logged_call(call) for call in message.calls]
    if message.name:
        logged["name"] = message.name
    return logged


def logged_call(call: ToolCall) -> LoggedToolCall:
    """A call of a tool as the log has it."""
    logged: LoggedToolCall = {"name": call.name, "arguments": call.arguments}
    if call.signature is not None:
        logged["signature"] = call.signature
    return logged


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
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """sha256, in hex, of everything an answer depends on.  The token prefix stands for the
    messages and the definitions of tools where the runtime rendered it; `scored` is a scoring call's
    alone."""
    model = identity.model_dump(mode="json") if isinstance(identity, ModelIdentity) else dict(identity)
    prompt: Any = list(token_ids) if token_ids is not None else [_keyed(message) for message in messages]
    parts = [model, prompt, schema, sampling, seed]
    if scored is not None:
        parts.append(scored)
    elif tools and token_ids is None:
        parts.append({"tools": list(tools)})
    return digest(parts)


def _keyed(message: Message) -> Sequence[str]:
    plain = not message.calls and not message.name
    return (message.role, message.content) if plain else keyed(logged_message(message))


def model_of(models: Models, step: StepPlan) -> RunningModel:
    assert step.model is not None, "a composed step asks nobody"
    return models[step.model]


def make_call(plan: Plan, model: RunningModel, attempt: Attempt) -> Call:
    """The call that an attempt makes.  Raises CallAbandoned when the chat template refuses."""
    step = attempt.step
    if step.scores:
        return score_call(model, attempt)
    opened = step.sees == "template"
    tools: tuple[Mapping[str, Any], ...] = step.definitions
    if not tools and "tools" in model.engine.capabilities:
        tools = attempt.tools
    try:
        if opened and isinstance(model.engine, Opener):
            token_ids: tuple[int, ...] | None = model.engine.render_opening(attempt.messages)
        else:
            token_ids = model.engine.render(attempt.messages, tools)
    except CallFailed as failure:
        raise CallAbandoned(str(failure)) from None
    schema = schema_of(step)
    seed = call_seed(plan, attempt.sample_id, step.name, *attempt.place)
    key = call_key(
        model.identity,
        attempt.messages,
        token_ids,
        schema,
        sampling_json(step.sampling),
        seed,
        tools=tools,
    )
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
        tools=tools,
        most_calls=step.max_tool_calls,
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
