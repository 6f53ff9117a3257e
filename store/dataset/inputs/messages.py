"""Conversations as lists of messages, before an export gives them its form.

A message has a `role` (system, user or model), its `content`, a `weight` of 1 where it is trained
on, else 0, and a `thought` where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.model import CohortPlan, StepPlan
from synth.compiler.stdlib.filters import numbered

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
    trained = set(trained_turns(cohort))
    return [
        _turn(turn, values[turn.name], turn.name in trained, thoughts.get(turn.name))
        for turn in said_turns(cohort, values)
    ]


def before(
    cohort: CohortPlan, values: Mapping[str, Any], turn: str, thoughts: Mapping[str, str] = _NONE
) -> list[Message]:
    """What is said in a sample before one of its turns."""
    found: list[Message] = []
    for each in cohort.turns:
        if each.name == turn:
            break
        if is_said(each, values):
            found.append(_turn(each, values[each.name], False, thoughts.get(each.name)))
    return found


def is_said(turn: StepPlan, values: Mapping[str, Any]) -> bool:
    """Whether a turn of a sample that has its value is said in it: conditions may leave it out."""
    return not turn.when or values[turn.name] is not None


def said_turns(cohort: CohortPlan, values: Mapping[str, Any]) -> Iterator[StepPlan]:
    """The turns that are said in a sample."""
    return (turn for turn in cohort.turns if is_said(turn, values))


def passages(chunks: Sequence[Mapping[str, Any]]) -> Message:
    """Passages as the message that opens a conversation about them."""
    return _message("system", numbered(chunks), False, None)


def unanswered(messages: Sequence[Message]) -> list[Message]:
    """A conversation without what the model says last, so that the user waits for an answer."""
    end = len(messages)
    while end and messages[end - 1]["role"] == "model":
        end -= 1
    return list(messages[:end])


def read(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The messages of a source's row.  The model's are trained on unless they say otherwise by a
    `weight` of their own."""
    return [
        _message(
            each["role"],
            each["content"],
            each["role"] == "model" and each.get("weight", 1) != 0,
            each.get("thought"),
        )
        for each in messages
    ]


def said(role: str, content: Any) -> Message:
    """One message that stands by itself."""
    return _message(role, content, False, None)


def answered(step: StepPlan, value: Any, thought: str | None = None) -> Message:
    """What a model says in one of its turns, by itself."""
    return _turn(step, value, False, thought)


def attempted(step: StepPlan, text: str, thought: str | None = None) -> Message:
    """What a model said in a refused attempt: as it stands, where it is not what it was to be."""
    if step.thinks:
        try:
            value = json.loads(text)
            return _message("model", step.said(value), False, value.get("thought"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
    return _message("model", text, False, thought)


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


def _message(role: str, content: Any, trained: bool, thought: Any) -> Message:
    message = {"role": role, "content": as_text(content), "weight": int(trained)}
    if thought not in (None, ""):
        message["thought"] = as_text(thought)
    return message
