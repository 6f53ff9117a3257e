"""Conversations as lists of messages, before an export gives them its form.

A message has a `role` (system, user, model or tool), its `content`, a `weight` of 1 where it is trained
on, else 0, and a `thought` where there is one.  A model's that calls tools has `calls` (`name` and
`arguments` of each), and its content is then empty or what is said beside them.  The messages of role tool
behind it have what each call came to, in the calls' order, and the tool's `name` where somebody said it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import JsonOutput, StepPlan
from synth.compiler.stdlib.checks.strict_json import parse_json
from synth.compiler.stdlib.filters import numbered
from synth.compiler.stdlib.tool_results import told
from synth.store.log.payloads import CalledTool

Message = Mapping[str, Any]

_NONE: Mapping[str, str] = {}


def spoken(
    cohort: CohortPlan, values: Mapping[str, Any], thoughts: Mapping[str, str] = _NONE
) -> list[Message]:
    """What is said in a sample: its turns, or what the step holds that is its transcript.

    `values` are those of its steps, and `thoughts` what was thought before some of them.
    """
    if cohort.transcript is not None:
        return [
            _message(each["role"], each["content"], each["role"] == "model", each.get("thought"))
            for each in values[cohort.transcript]
        ]
    return [message for _, message in turn_messages(cohort, values, thoughts)]


def before(
    cohort: CohortPlan, values: Mapping[str, Any], turn: str, thoughts: Mapping[str, str] = _NONE
) -> list[Message]:
    """What is said in a sample before one of its turns."""
    return [{**message, "weight": 0} for _, message in turn_messages(cohort, values, thoughts, until=turn)]


def turn_messages(
    cohort: CohortPlan,
    values: Mapping[str, Any],
    thoughts: Mapping[str, str] = _NONE,
    *,
    until: str | None = None,
) -> Iterator[tuple[str, Message]]:
    """The messages of a sample's turns, or of those before one of them, each with the turn's name."""
    trained = set(trained_turns(cohort))
    for turn in cohort.turns:
        if turn.name == until:
            return
        if not is_said(turn, values):
            continue
        value = values[turn.name]
        if turn.role == "messages":
            for each in value:
                yield turn.name, _taken(each, False)
        else:
            for message in answer(turn, values, thoughts.get(turn.name), trained=turn.name in trained):
                yield turn.name, message


def is_said(turn: StepPlan, values: Mapping[str, Any]) -> bool:
    """Whether a turn of a sample that has its value is said in it: conditions may leave it out."""
    return not turn.when or values[turn.name] is not None


def with_passages(chunks: Sequence[Mapping[str, Any]], messages: Sequence[Message]) -> list[Message]:
    """A conversation about passages, which open it as a system message, below what the system says."""
    text = numbered(chunks)
    if messages and messages[0]["role"] == "system":
        system = {**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}
        return [system, *messages[1:]]
    return [_message("system", text, False, None), *messages]


def unanswered(messages: Sequence[Message]) -> list[Message]:
    """A conversation without what the model says and does last, so that the user waits for an answer."""
    end = len(messages)
    while end and messages[end - 1]["role"] in ("model", "tool"):
        end -= 1
    return list(messages[:end])


def read(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The messages of a source's row.  The model's are trained on unless they say otherwise by a
    `weight` of their own."""
    return [_taken(each, each["role"] == "model" and each.get("weight", 1) != 0) for each in messages]


def said(role: str, content: Any) -> Message:
    """One message that stands by itself."""
    return _message(role, content, False, None)


def answer(
    step: StepPlan, values: Mapping[str, Any], thought: str | None = None, *, trained: bool = False
) -> list[Message]:
    """What a model says in one of its turns, from the values of its sample: the messages in which it calls
    tools, each with what these gave, and at the end what it says."""
    calls: Sequence[CalledTool] = values.get(f"{step.name}.calls") or ()
    return [*_traced(calls, trained), _turn(step, values[step.name], trained, thought)]


def _traced(calls: Sequence[CalledTool], trained: bool) -> Iterator[Message]:
    for _, group in groupby(calls, key=lambda call: call["message"]):
        of_message = list(group)
        first = of_message[0]
        called = [{"name": call["name"], "arguments": call["arguments"]} for call in of_message]
        yield {
            **_message("model", first.get("content", ""), trained, first.get("thought")),
            "calls": called,
        }
        for call in of_message:
            content = told(call.get("result"), call.get("fault"))
            yield {**_message("tool", content, False, None), "name": call["name"]}


def shown_messages(messages: str) -> list[Message]:
    """What a model was shown before an attempt, from the JSON of a call's messages."""
    shown = [_taken(each, False) for each in json.loads(messages)]
    return shown[: len(shown) - len(_trace(shown))]


def _trace(shown: list[Message]) -> list[Message]:
    start = len(shown)
    while start and (shown[start - 1]["role"] == "tool" or shown[start - 1].get("calls")):
        start -= 1
    return shown[start:]


def tried(step: StepPlan, last: Message, shown: str, calls: str | None = None) -> list[Message]:
    """An attempt as a whole, from its last answer and the JSON of that answer's messages and `calls`: those
    behind what the model was shown first are what it called and was told."""
    if not step.tools:
        return [last]
    if calls:
        last = {**last, "calls": _called(json.loads(calls))}
    return [*_trace([_taken(each, False) for each in json.loads(shown)]), last]


def says(messages: Sequence[Message]) -> str:
    """What tells one answer from another; nothing of one that says and calls nothing."""
    *before, last = messages
    said = last["content"].strip()
    if not before and not last.get("calls"):
        return str(said)
    parts = [[each["content"], each.get("calls", ())] for each in before]
    return canonical_json([*parts, [said, last.get("calls", ())]])


def attempted(step: StepPlan, text: str, thought: str | None = None) -> Message:
    """What a model said in a refused attempt: as it stands, where it is not what it was to be."""
    if step.thinks:
        try:
            value = json.loads(text)
            return _message("model", step.said(value), False, value.get("thought"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
    return _message("model", text, False, thought)


def marked(step: StepPlan, text: str, thought: str | None = None) -> Message:
    """What a model said in an attempt that is what it was to be, laid out as a value is."""
    if isinstance(step.output, JsonOutput):
        try:
            return _turn(step, parse_json(text), False, thought)
        except ValueError:
            # Answers of earlier versions were read by other rules.
            pass
    return attempted(step, text, thought)


def trained_turns(cohort: CohortPlan) -> tuple[str, ...]:
    """The turns that are trained on.  In a transcript, which has none, the model's messages are."""
    if cohort.train_every is None:
        return cohort.train_on
    return tuple(turn.name for turn in cohort.turns if turn.role == cohort.train_every)


def untrained_turns(cohort: CohortPlan) -> list[str]:
    """The model's turns that are not trained on."""
    if cohort.transcript is not None:
        return []
    trained = trained_turns(cohort)
    return [turn.name for turn in cohort.turns if turn.role == "model" and turn.name not in trained]


def as_text(value: Any) -> str:
    """A value as text: itself, or canonical JSON."""
    return value if isinstance(value, str) else canonical_json(value)


def _turn(turn: StepPlan, value: Any, trained: bool, thought: str | None) -> Message:
    """A turn that `thinks` says itself what its thought is."""
    if turn.thinks:
        thought = value.get("thought")
    return _message(turn.role or "model", turn.said(value), trained, thought)


def _taken(message: Mapping[str, Any], trained: bool) -> Message:
    """A message of a source's row or of a prompt."""
    found = _message(message["role"], message["content"], trained, message.get("thought"))
    if calls := message.get("calls"):
        found["calls"] = _called(calls)
    if name := message.get("name"):
        found["name"] = name
    return found


def _called(calls: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [{"name": each["name"], "arguments": each["arguments"]} for each in calls]


def _message(role: str, content: Any, trained: bool, thought: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": as_text(content), "weight": int(trained)}
    if thought not in (None, ""):
        message["thought"] = as_text(thought)
    return message
