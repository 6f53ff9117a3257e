"""Calls of tools in rows: the tools of a conversation, and messages that call them as trainers take them."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import RefPlan
from synth.store.dataset.inputs.environment import offered
from synth.store.dataset.inputs.messages import Message

# The column of a row's definitions.
TOOLS = "tools"

# What a model is told of a tool: `type` and `function`, which has `name`, `description` and `parameters`.
Definition = Mapping[str, Any]


def may_call(cohort: CohortPlan, calling: Container[str] = ()) -> bool:
    """Whether tools can be called in a conversation, some sources' rows `calling` them."""
    if any(turn.tools for turn in cohort.turns):
        return True
    behind = [cohort.rows.table] if cohort.rows is not None else []
    behind += [dealt.table for dealt in cohort.dealt if dealt.table]
    return bool(opened_by(cohort)) and any(name in calling for name in behind)


def opened_by(cohort: CohortPlan) -> list[tuple[str, ...]]:
    """The paths of the messages that a conversation opens with."""
    given = [
        turn.call.arguments["messages"] for turn in cohort.turns if turn.role == "messages" and turn.call
    ]
    return [each.path for each in given if isinstance(each, RefPlan)]


class SampleTools:
    """The tools that can be called in the samples of a cohort: those of its turns, in their order, behind
    those of the rows that it opens with.  Of several with one name the first counts."""

    def __init__(self, cohort: CohortPlan) -> None:
        self._own = [tool.definition for turn in cohort.turns for tool in turn.tools]
        self._opens = opened_by(cohort)

    @property
    def by_rows(self) -> bool:
        """Whether samples may have others than those of the turns."""
        return bool(self._opens)

    def of(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """The column of a sample, by what its rows stand for by name; nothing where there are no tools."""
        before = (each for path in self._opens for each in offered(rows.get(path[0])))
        found: dict[str, Definition] = {}
        for each in (*before, *self._own):
            found.setdefault(str(each["function"]["name"]), ordered(each))
        return {TOOLS: list(found.values())} if found else {}


def ordered(definition: Definition) -> dict[str, Any]:
    """A definition with its keys as chat templates were trained to show them: a log has them sorted."""
    function = definition["function"]
    first = {key: function[key] for key in ("name", "description", "parameters") if key in function}
    return {"type": "function", "function": {**first, **function}}


def called_in(messages: Sequence[Message]) -> Iterator[str]:
    """The names of the tools that are called in some messages, in order."""
    return (str(call["name"]) for message in messages for call in message.get("calls", ()))


def called(message: Message) -> dict[str, Any]:
    """The keys of a message beside its content, as chat templates take them."""
    found: dict[str, Any] = {}
    if calls := message.get("calls"):
        found["tool_calls"] = [{"type": "function", "function": _function(call)} for call in calls]
    if name := message.get("name"):
        found["name"] = name
    return found


def function_call(content: str, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A message of the ShareGPT form that calls tools: one as an object, several as a list, as JSON text.
    What is said beside them has no place in that form, and stands in `beside`."""
    functions = [_function(call) for call in calls]
    value = json.dumps(functions[0] if len(functions) == 1 else functions, ensure_ascii=False)
    return {"from": "function_call", "value": value, **({"beside": content} if content.strip() else {})}


def in_turns(messages: Sequence[Message]) -> Iterator[Message]:
    """Messages with what several tools gave as one, a list in JSON: the ShareGPT form takes turns."""
    for role, group in groupby(messages, key=lambda message: message["role"]):
        found = list(group)
        if role == "tool" and len(found) > 1:
            yield {**found[0], "content": canonical_json([each["content"] for each in found])}
        else:
            yield from found


def _function(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": call["name"], "arguments": call["arguments"]}
