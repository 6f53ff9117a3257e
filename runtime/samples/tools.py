"""A turn that calls tools before it speaks: one attempt at it is a dialogue with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
# So many names are listed in a reason.
_MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class DialogueEnd:
    """What came of asking a turn's model: the last answer, the calls before it and what they came to, and
    why the attempt is refused for its calls, if it is."""

    answer: Answer
    called: list[CalledTool]
    refused: Rejected | None = None


def beside(step: StepPlan, called: Sequence[CalledTool]) -> dict[str, Any]:
    """What stands beside the value of a turn with tools in a sample's values: its calls."""
    return {f"{step.name}.calls": list(called)}


class Dialogue:
    """One attempt at a turn with tools."""

    def __init__(self, work: Work, step: StepPlan, place: Place) -> None:
        self._work = work
        self._step = step
        self._place = place
        self._called: list[CalledTool] = []

    async def run(self, prompt: Sequence[Message]) -> DialogueEnd:
        """Asks the model, and while it calls tools has them answer and asks again.  Raises Failed."""
        messages, exchange, most = list(prompt), 0, self._step.max_tool_calls
        while True:
            answer = await self._work.ask(self._step, self._place, messages, exchange)
            if answer.malformed is not None:
                return self._end(answer, Rejected(UNREAD, answer.malformed))
            if not answer.calls:
                return self._end(answer)
            before = len(self._called)
            if before + len(answer.calls) > most:
                why = f"calls a tool more than {most} times: {self._names(answer)}"
                return self._end(answer, Rejected(TOO_MANY, why))
            for number in range(len(answer.calls)):
                self._called.append(await self._carried_out(answer, number, exchange))
            messages.append(Message("model", answer.text.strip(), answer.calls))
            messages += [
                Message("tool", told(call.get("result"), call.get("fault")), name=call["name"])
                for call in self._called[before:]
            ]
            exchange += 1

    def _end(self, answer: Answer, refused: Rejected | None = None) -> DialogueEnd:
        return DialogueEnd(answer, self._called, refused)

    def _names(self, answer: Answer) -> str:
        """The tools called so far, and by an answer, in order."""
        names = [call["name"] for call in self._called] + [call.name for call in answer.calls]
        listed = ", ".join(quoted(name) for name in names[:_MOST_NAMES])
        return listed if len(names) <= _MOST_NAMES else f"{listed} and {len(names) - _MOST_NAMES} more"

    async def _carried_out(self, answer: Answer, number: int, exchange: int) -> CalledTool:
        """A call of an answer and what the tool answers, noted in the log."""
        work, call = self._work, answer.calls[number]
        noted: CalledTool = {"name": call.name, "arguments": dict(call.arguments), "message": exchange}
        if call.signature is not None:
            noted["signature"] = call.signature
        if number == 0:
            if answer.text.strip():
                noted["content"] = answer.text.strip()
            if answer.thought is not None:
                noted["thought"] = answer.thought
        tool = next((tool for tool in self._step.tools if tool.name == call.name), None)
        fault = _unusable(self._step, tool, call)
        key, value = digest([answer.call_key, number, ""]), None
        known = work.earlier.tools.get(key)
        if known is not None and "fault" in known:
            # As it was told then: another wording would be another prompt.
            fault = known["fault"]
        elif fault is None:
            assert tool is not None
            carry_out = self._by_function if tool.call is not None else self._by_model
            key, value, fault = await carry_out(tool, answer, number)
        await work.client.answered(
            ToolAnswer(
                work.sample.sample_id,
                self._step,
                self._place,
                work.earlier,
                key,
                answer,
                number,
                value,
                fault,
            )
        )
        if fault is None:
            noted["result"] = value
        else:
            noted["fault"] = fault
        return noted

    async def _by_function(self, tool: ToolPlan, answer: Answer, number: int) -> tuple[str, Any, str | None]:
        """The key of a call, and what a Python function gives or the fault that the model is told."""
        assert tool.call is not None
        parameters = self._work.client.plan.function(tool.call).parameters
        # What may be None need not be given, and Python has no value for it.
        absent = {
            parameter.name: None for parameter in parameters if parameter.required and parameter.type.optional
        }
        # Null in place of what has another value where it is not given is no value of it.
        own = {
            parameter.name
            for parameter in parameters
            if not (parameter.required or parameter.type.optional or parameter.type.kind == "any")
        }
        written = {
            name: value
            for name, value in answer.calls[number].arguments.items()
            if value is not None or name not in own
        }
        arguments = {**absent, **written, **_given(tool, self._work.values)}
        if tool.sees_calls:
            arguments["calls"] = [_for_functions(call) for call in self._called]
        asking = self._work.asking(self._step, self._place, self._work.values)
        try:
            made = await asking.apply(tool.call, arguments, is_check=False, is_tool=True)
        except (CacheMiss, Stopped) as error:
            raise self._work.failed(self._step, error) from None
        key = digest([answer.call_key, number, tool.call.source, arguments])
        if isinstance(made, Fault):
            return key, None, made.reason
        return key, made.value, None

    async def _by_model(self, tool: ToolPlan, answer: Answer, number: int) -> tuple[str, Any, str | None]:
        """The key of a call, and what the model that plays a tool says or the fault that is told."""
        work, playing, place = self._work, tool.played, self._place
        assert playing is not None
        parameters: Any = tool.parameters.get("properties", {})
        written = answer.calls[number].arguments
        values = {**dict.fromkeys(parameters), **written, **_given(tool, work.values)}
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


def _unusable(step: StepPlan, tool: ToolPlan | None, call: ToolCall) -> str | None:
    """Why a call cannot be carried out as it is written, as the model is told."""
    if tool is None:
        names = ", ".join(tool.name for tool in step.tools)
        return f"there is no tool {quoted(call.name)}; the tools are {names}"
    return unfit(tool.parameters, call.arguments)


def _given(tool: ToolPlan, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that the sample fills."""
    return {
        name: there(argument.path, values) if isinstance(argument, RefPlan) else argument
        for name, argument in tool.given.items()
    }


def _for_functions(called: CalledTool) -> dict[str, Any]:
    """A call before, as a function is given it."""
    call: dict[str, Any] = {"name": called["name"], "arguments": called["arguments"]}
    if "fault" in called:
        return {**call, "fault": called["fault"]}
    return {**call, "result": called.get("result")}
