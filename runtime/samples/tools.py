"""A turn that calls tools before it speaks: one attempt at it is a dialogue with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synth.base.canonical import digest
from synth.base.display import quoted
from synth.compiler.plan.conditions import there
from synth.compiler.plan.steps import RefPlan, StepPlan, ToolPlan
from synth.compiler.stdlib.tool_results import told
from synth.runtime.calls.attempt import Answer, CacheMiss, Place, ToolAnswer
from synth.runtime.calls.validate import Accepted, Rejected, verdict_on
from synth.runtime.engines.base import Message, ToolCall
from synth.runtime.events.budget import Stopped
from synth.runtime.functions.asked import Fault
from synth.runtime.samples.arguments import unfit
from synth.runtime.samples.work import Work
from synth.store.log.payloads import CalledTool

# The names of what refuses an attempt for its calls.
UNREAD, TOO_MANY = "tool_calls", "max_tool_calls"


@dataclass(frozen=True, slots=True)
class Said:
    """What came of asking a turn's model: the last answer, the calls before it and what they came to, and
    why the attempt is refused for its calls, if it is."""

    answer: Answer
    called: list[CalledTool] = field(default_factory=list)
    refused: Rejected | None = None


async def said(work: Work, step: StepPlan, place: Place, shown: Sequence[Message]) -> Said:
    """Asks a step's model, and while it calls tools has them answer and asks again.  Raises Failed."""
    answer = await work.ask(step, place, shown)
    called: list[CalledTool] = []
    messages, exchange = list(shown), 0
    while True:
        if answer.malformed is not None:
            return Said(answer, called, Rejected(UNREAD, answer.malformed))
        if not answer.calls:
            return Said(answer, called)
        beyond = len(called) + len(answer.calls) > step.max_tool_calls
        if beyond:
            why = f"calls a tool more than {step.max_tool_calls} times: {_listed(called, answer)}"
            return Said(answer, called, Rejected(TOO_MANY, why))
        before = len(called)
        for number, call in enumerate(answer.calls):
            called.append(await _answered(work, step, place, answer, number, call, called, exchange))
        messages.append(Message("model", answer.text.strip(), answer.calls))
        messages += [
            Message("tool", told(each.get("result"), each.get("fault")), name=each["name"])
            for each in called[before:]
        ]
        exchange += 1
        answer = await work.ask(step, place, messages, exchange)


def beside(step: StepPlan, called: Sequence[CalledTool]) -> dict[str, Any]:
    """What stands beside the value of a turn with tools in a sample's values: its calls."""
    return {f"{step.name}.calls": list(called)}


async def _answered(
    work: Work,
    step: StepPlan,
    place: Place,
    answer: Answer,
    number: int,
    call: ToolCall,
    before: Sequence[CalledTool],
    exchange: int,
) -> CalledTool:
    """A call and what the tool answers, noted in the log."""
    noted: CalledTool = {"name": call.name, "arguments": dict(call.arguments), "message": exchange}
    if call.signature is not None:
        noted["signature"] = call.signature
    if number == 0:
        if answer.text.strip():
            noted["content"] = answer.text.strip()
        if answer.thought is not None:
            noted["thought"] = answer.thought
    tool = next((each for each in step.tools if each.name == call.name), None)
    fault = _unusable(step, tool, call)
    key, value = digest([answer.call_key, number, ""]), None
    known = work.earlier.tools.get(key)
    if known is not None and "fault" in known:
        # As it was told then: another wording would be another prompt.
        fault = known["fault"]
    elif fault is None:
        assert tool is not None
        does = _by_function if tool.call is not None else _by_model
        key, value, fault = await does(work, step, tool, place, answer, number, call, before)
    await work.client.answered(
        ToolAnswer(work.sample.sample_id, step, place, work.earlier, key, answer, number, value, fault)
    )
    if fault is None:
        noted["result"] = value
    else:
        noted["fault"] = fault
    return noted


def _unusable(step: StepPlan, tool: ToolPlan | None, call: ToolCall) -> str | None:
    """Why a call cannot be carried out as it is written, as the model is told."""
    if tool is None:
        names = ", ".join(each.name for each in step.tools)
        return f"there is no tool {quoted(call.name)}; the tools are {names}"
    return unfit(tool.parameters, call.arguments)


async def _by_function(
    work: Work,
    step: StepPlan,
    tool: ToolPlan,
    place: Place,
    answer: Answer,
    number: int,
    call: ToolCall,
    before: Sequence[CalledTool],
) -> tuple[str, Any, str | None]:
    """Its key, and what a Python function gives or the fault that the model is told."""
    assert tool.call is not None
    parameters = work.client.plan.function(tool.call).parameters
    # What may be None need not be given, and Python has no value for it.
    absent = {each.name: None for each in parameters if each.required and each.type.optional}
    # Null in place of what has another value where it is not given is no value of it.
    own = {
        each.name
        for each in parameters
        if not (each.required or each.type.optional or each.type.kind == "any")
    }
    written = {name: value for name, value in call.arguments.items() if value is not None or name not in own}
    arguments = {**absent, **written, **_given(tool, work.values)}
    if tool.sees_calls:
        arguments["calls"] = [_shown(each) for each in before]
    asking = work.asking(step, place, work.values)
    try:
        made = await asking.apply(tool.call, arguments, is_check=False, is_tool=True)
    except (CacheMiss, Stopped) as error:
        raise work.failed(step, error) from None
    key = digest([answer.call_key, number, tool.call.source, arguments])
    if isinstance(made, Fault):
        return key, None, made.reason
    return key, made.value, None


async def _by_model(
    work: Work,
    step: StepPlan,
    tool: ToolPlan,
    place: Place,
    answer: Answer,
    number: int,
    call: ToolCall,
    before: Sequence[CalledTool],
) -> tuple[str, Any, str | None]:
    """Its key, and what a model that plays a tool says, or the fault that the caller is told."""
    playing = tool.played
    assert playing is not None
    parameters: Any = tool.parameters.get("properties", {})
    values = {**dict.fromkeys(parameters), **call.arguments, **_given(tool, work.values)}
    messages = work.messages(playing, values)
    for attempt in range(playing.retry + 1):
        own = Place(place.round * (playing.retry + 1) + attempt, place.candidate)
        played = await work.ask(playing, own, messages)
        verdict = verdict_on(playing, played, work.rules, values)
        work.count(playing, played, verdict)
        key = digest([answer.call_key, number, played.call_key])
        if isinstance(verdict, Accepted):
            work.observer.accepted(work.sample, playing, own, played)
            return key, verdict.value, None
        work.observer.rejected(work.sample, playing, own, played, verdict)
    return key, None, "the tool gave no answer"


def _given(tool: ToolPlan, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that the sample fills."""
    return {
        name: there(argument.path, values) if isinstance(argument, RefPlan) else argument
        for name, argument in tool.given.items()
    }


def _shown(called: CalledTool) -> dict[str, Any]:
    """A call before, as a function is given it."""
    shown: dict[str, Any] = {"name": called["name"], "arguments": called["arguments"]}
    if "fault" in called:
        return {**shown, "fault": called["fault"]}
    return {**shown, "result": called.get("result")}


def _listed(called: Sequence[CalledTool], answer: Answer) -> str:
    names = [each["name"] for each in called] + [each.name for each in answer.calls]
    shown = ", ".join(quoted(name) for name in names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"
