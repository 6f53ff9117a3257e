"""Pass: Bound -> Plan.  Nothing is decided here; places in the text are left behind."""

from __future__ import annotations

from collections.abc import Iterator

from synth.compiler.bind.blocks.bound import Bound, Conversation, Model, Preference, Step, ToolUse
from synth.compiler.plan.functions import FunctionPlan
from synth.compiler.plan.judging.judge_steps import judging
from synth.compiler.plan.judging.marking import marking
from synth.compiler.plan.model import AxisPlan, CohortPlan, Plan, PreferencePlan
from synth.compiler.plan.steps import ArgumentValue, JsonOutput, StepPlan, TextOutput, ToolPlan
from synth.compiler.plan.tables.draws import DrawPlan
from synth.compiler.plan.types import json_schema
from synth.compiler.stdlib.running import RUNNING


def lower(bound: Bound) -> Plan:
    """The plan of a recipe that has no faults.  Models nobody uses are left out."""
    steps = [step for conversation in bound.conversations.values() for step in conversation.steps]
    steps += [step for preference in bound.preferences.values() for step in preference.steps]
    steps += [use.tool.played for step in steps for use in step.calling.uses if use.tool.played is not None]
    used = {step.model.plan.name for step in steps if step.model is not None}
    used |= {str(check.arguments["judge"]) for s in steps for check in s.checks if "judge" in check.arguments}
    used |= {judge.plan.name for step in steps for judge in _judges(step)}
    used |= {str(name) for name in _asked_by_measures(bound)}
    indexes = [source.plan.index for source in bound.sources.values() if source.plan.index is not None]
    used |= {str(index.arguments["embedder"]) for index in indexes if "embedder" in index.arguments}
    return Plan(
        edition=bound.edition,
        recipe=bound.recipe,
        docs=bound.docs,
        seed=bound.seed,
        losses=bound.losses,
        params={name: param.value for name, param in bound.params.items()},
        models=tuple(model.plan for name, model in bound.models.items() if name in used),
        sources=tuple(source.plan for source in bound.sources.values()),
        cohorts=tuple(_cohort(conversation, bound) for conversation in bound.conversations.values()),
        preferences=tuple(_preference(preference, bound) for preference in bound.preferences.values()),
        mixes=tuple(bound.mixes.values()),
        exports=tuple(bound.exports.values()),
        evaluations=tuple(evaluation.plan for evaluation in bound.evaluations.values()),
        functions=tuple(_functions(bound, steps)),
    )


def _cohort(conversation: Conversation, bound: Bound) -> CohortPlan:
    return CohortPlan(
        name=conversation.name,
        quota=conversation.quota,
        rows=conversation.table,
        each=conversation.each,
        times=conversation.times,
        axes=tuple(
            AxisPlan(name=axis.name, set=axis.set.name, members=axis.set.members)
            for axis in conversation.axes
        ),
        draws=tuple(
            DrawPlan(name=draw.name, set=draw.source, members=draw.members, spread=draw.spread, of=draw.of)
            for draw in conversation.draws
        ),
        dealt=conversation.dealt,
        steps=tuple(
            _opened(_step(step, bound), conversation) if step.role == "messages" else _step(step, bound)
            for step in conversation.steps
        ),
        keep=conversation.keep,
        transcript=conversation.transcript,
        train_on=conversation.train_on,
        train_every=conversation.train_every,
        tags=conversation.tags,
    )


def _opened(step: StepPlan, conversation: Conversation) -> StepPlan:
    """A turn of messages, which are cut where the next turn goes on."""
    names = [turn.name for turn in conversation.steps]
    after = conversation.steps[names.index(step.name) + 1 :]
    role = next((turn.role for turn in after if turn.role in ("user", "model")), None)
    assert step.call is not None
    arguments: dict[str, ArgumentValue] = dict(step.call.arguments)
    if role is not None:
        arguments["until"] = "user" if role == "model" else "model"
    if any(turn.role == "system" for turn in conversation.steps):
        arguments["system"] = True
    return step.model_copy(update={"call": step.call.model_copy(update={"arguments": arguments})})


def _preference(preference: Preference, bound: Bound) -> PreferencePlan:
    return PreferencePlan(
        name=preference.name,
        quota=preference.quota,
        source=preference.source,
        steps=tuple(_step(step, bound) for step in preference.steps),
        chosen=preference.chosen,
        rejected=preference.rejected,
        margin=preference.margin,
    )


def _step(step: Step, bound: Bound) -> StepPlan:
    return StepPlan(
        name=step.name,
        role=step.role,
        model=step.model.plan.name if step.model is not None else None,
        output=JsonOutput(schema_=json_schema(step.output)) if step.output.name == "json" else TextOutput(),
        value=step.value,
        call=step.call,
        system=step.system,
        prompt=step.prompt,
        sees=step.sees,
        sampling=step.sampling,
        checks=step.checks,
        must_fail=step.must_fail,
        retry=step.retry,
        on_length=step.on_length,
        needs=step.needs,
        when=step.when,
        judged_by=tuple(
            judging(step.name, check, bound.models[str(check.arguments["judge"])].plan.sampling)
            for check in step.checks
            if "judge" in check.arguments
        ),
        candidates=step.choosing.candidates,
        rubric=step.choosing.rubric.plan if step.choosing.rubric is not None else None,
        marked_by=tuple(_marked_by(step)),
        pick=step.choosing.pick,
        revise=step.choosing.revise,
        tools=tuple(_tool(use, step, bound) for use in step.calling.uses),
        max_tool_calls=step.calling.most,
    )


def _tool(use: ToolUse, turn: Step, bound: Bound) -> ToolPlan:
    """A tool of a turn; what a model plays is a step of its own, and no name in a recipe has a dot."""
    if use.tool.played is None:
        return use.plan
    played = _step(use.tool.played, bound).model_copy(update={"name": f"{turn.name}.{use.plan.name}"})
    return use.plan.model_copy(update={"played": played})


def _marked_by(step: Step) -> Iterator[StepPlan]:
    """What each judge of a step's rubric is asked."""
    choosing, judges = step.choosing, _judges(step)
    for judge in judges:
        assert choosing.rubric is not None
        yield marking(
            step.name,
            choosing.rubric.plan,
            judge.plan.name,
            judge.plan.sampling,
            choosing.given,
            judges=len(judges),
            of=choosing.of,
        )


def _judges(step: Step) -> tuple[Model, ...]:
    return step.choosing.rubric.judges if step.choosing.rubric is not None else ()


def _functions(bound: Bound, steps: list[Step]) -> Iterator[FunctionPlan]:
    """The Python functions that something is made or checked by."""
    called = {(check.name, check.source) for step in steps for check in step.checks}
    calls = [call for step in steps for call in (step.call, step.choosing.pick.call)]
    calls += [use.plan.call for step in steps for use in step.calling.uses]
    called |= {(call.name, call.source) for call in calls if call is not None}
    called |= {(check.name, check.source) for source in bound.sources.values() for check in source.plan.keep}
    called |= {
        (check.name, check.source)
        for conversation in bound.conversations.values()
        for check in conversation.keep
    }
    for function in bound.functions:
        if (function.name, function.source) in called:
            called.remove((function.name, function.source))
            yield function
    yield from (function for function in RUNNING.values() if (function.name, function.source) in called)


def _asked_by_measures(bound: Bound) -> Iterator[object]:
    for evaluation in bound.evaluations.values():
        for measure in evaluation.plan.measures:
            yield from (measure.arguments[key] for key in ("student", "judge") if key in measure.arguments)
            judges = measure.arguments.get("judges")
            yield from judges if isinstance(judges, list) else ()
