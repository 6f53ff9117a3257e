"""Pass: Bound -> Plan.  Nothing is decided here; places in the text are left behind."""

from __future__ import annotations

from compiler.bound import Bound, Conversation, Step
from compiler.plan import (
    AxisPlan,
    CohortPlan,
    DrawPlan,
    JsonOutput,
    Plan,
    StepPlan,
    TextOutput,
)
from compiler.types import json_schema


def lower(bound: Bound) -> Plan:
    """The plan of a recipe that has no faults.  Models nobody uses are left out."""
    used = {
        step.model.plan.name
        for conversation in bound.conversations.values()
        for step in conversation.steps
        if step.model is not None
    }
    return Plan(
        edition=bound.edition,
        recipe=bound.recipe,
        docs=bound.docs,
        seed=bound.seed,
        params={name: param.value for name, param in bound.params.items()},
        models=tuple(model.plan for name, model in bound.models.items() if name in used),
        cohorts=tuple(_cohort(conversation) for conversation in bound.conversations.values()),
        exports=tuple(bound.exports.values()),
    )


def _cohort(conversation: Conversation) -> CohortPlan:
    return CohortPlan(
        name=conversation.name,
        quota=conversation.quota,
        times=conversation.times,
        axes=tuple(
            AxisPlan(name=axis.name, set=axis.set.name, members=axis.set.members)
            for axis in conversation.axes
        ),
        draws=tuple(
            DrawPlan(name=draw.name, set=draw.source, members=draw.members) for draw in conversation.draws
        ),
        steps=tuple(_step(step) for step in conversation.steps),
        train_on=conversation.train_on,
        tags=conversation.tags,
    )


def _step(step: Step) -> StepPlan:
    return StepPlan(
        name=step.name,
        role=step.role,
        model=step.model.plan.name if step.model is not None else None,
        output=JsonOutput(schema_=json_schema(step.output)) if step.output.name == "json" else TextOutput(),
        value=step.value,
        system=step.system,
        prompt=step.prompt,
        sees="transcript" if step.sees == "transcript" else "prompt",
        sampling=step.sampling,
        checks=step.checks,
        retry=step.retry,
        needs=step.needs,
    )
