"""Values of a sample that follow from others of it, without a call: what `let` and `turn` put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synth.compiler.plan.conditions import there
from synth.compiler.plan.steps import CallPlan, RefPlan
from synth.compiler.stdlib.verdict import Refusal, resolved

# What is taken over of a message that a conversation opens with.
_OPENS = ("role", "content", "thought", "calls", "name")


def either(call: CallPlan, values: Mapping[str, Any]) -> Any:
    """The first of its arguments that is there in a sample, or None."""
    arguments = call.arguments.values()
    choices = (
        there(argument.path, values) if isinstance(argument, RefPlan) else argument for argument in arguments
    )
    return next((value for value in choices if value is not None), None)


def opening(call: CallPlan, values: Mapping[str, Any]) -> Any:
    """The messages that a conversation opens with: those given up to the last one of the role `until`,
    without what the system says where the conversation says that itself; or a Refusal."""
    arguments = resolved(call.arguments, values)
    until, messages = arguments.get("until"), arguments["messages"]
    kept = [
        {key: message[key] for key in _OPENS if message.get(key) is not None}
        for message in messages
        if message["role"] != "system" or not arguments.get("system")
    ]
    if until is not None:
        # A model that calls tools goes on once they have answered.
        while kept and (kept[-1]["role"] != until or kept[-1].get("calls")):
            kept.pop()
    if not kept:
        return Refusal("opening", f"has no message of the {until}" if until else "has no message")
    return kept


FOLDS: Mapping[str, Callable[[CallPlan, Mapping[str, Any]], Any]] = {"either": either, "opening": opening}

# What a rubric says of a text is called by this name.
MARKS = "marks"


def looks_up(call: CallPlan) -> bool:
    """Whether a call looks passages up, which takes an index."""
    return call.name not in FOLDS and call.name != MARKS and not call.source
