"""Binding of `preference`: pairs of a chosen and a rejected answer to the same prompt."""

from __future__ import annotations

from collections.abc import Iterator

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.compiler.bind.blocks.bound import Bound, Conversation, Preference, Step
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.conversations.axes import sample_type
from synth.compiler.bind.conversations.step import bind_step
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.judging.sides import bind_margin, bind_side, marked_sides, same_prompt
from synth.compiler.plan.steps import CallPlan, RefPlan
from synth.compiler.stdlib.checks import CHECKS
from synth.dsl.syntax import Expression, Integer, Statement


def bind_preference(statement: Statement, bound: Bound, outer: Scope) -> Preference | None:
    """The preference a statement declares."""
    clause = statement.clause("from")
    if statement.name is None or clause is None:
        return None
    conversation: Conversation | None = outer.thing(clause.value, (Conversation,), "a conversation")
    if conversation is None:
        outer.poisoned.add(statement.name.text)
        return None
    scope = Scope(outer.diagnostics, outer=outer, poisoned=set(conversation.poisoned))
    # Inside, the conversation's name is one of its samples: `{{ direct.ask }}`.
    type_ = sample_type(conversation)
    scope.names[conversation.name] = Declared(
        conversation.name, "sample", conversation.span, type_, thing=conversation
    )
    steps: list[Step] = []
    fields: dict[str, tuple[Expression, Span]] = {}
    for inner, kind in check_shape(statement.body or (), "preference", scope.diagnostics):
        if not isinstance(inner, Statement):
            continue
        if kind.word == "turn":
            step = bind_step(inner, "turn", steps, bound, scope)
            if step is not None and step.role in ("system", "messages"):
                scope.report(
                    "E202",
                    f"`{step.name}` opens a conversation, and a pair has that of its sample before it",
                    step.role_span,
                    hint="put it into the conversation, above its turns",
                )
            elif step is not None:
                steps.append(step)
                _refuse_many(step, scope)
                _refuse_tools(step, scope)
        elif inner.value is not None:
            fields[kind.word] = (inner.value, inner.kind.span)
    sides: dict[str, CallPlan] = {}
    for side in ("chosen", "rejected"):
        if side not in fields:
            scope.report(
                "E107",
                f"`{statement.name}` says no `{side}` answer",
                statement.name.span,
                hint=f"for example `{side} = {conversation.name}.answer`",
            )
        else:
            plan = bind_side(fields[side][0], side, conversation, steps, scope)
            if plan is not None:
                sides[side] = plan
    if len(sides) < 2:
        return None
    same_prompt(sides, fields, conversation, scope)
    margin = bind_margin(fields.get("margin"), sides, conversation, scope)
    _always_there(sides, fields, conversation, steps, scope)
    quota = statement.quantity.value if isinstance(statement.quantity, Integer) else None
    if statement.quantity is not None and quota is None:
        scope.report(
            "E202",
            f"`{statement.name}` is declared as a share, and how many pairs there are is a count",
            statement.quantity.span,
            hint=f"for example `preference {statement.name} 150 from {conversation.name}`",
        )
    declared = conversation.declared if conversation.table is None else 0
    if quota is not None and declared and declared != conversation.quota:
        written, quota = quota, quota * conversation.quota // declared
        bound.notes.append(f"`{statement.name}`: {written} pairs become {quota} with `{conversation.name}`")
    if quota is not None and not conversation.each and quota > conversation.quota:
        scope.report(
            "E301",
            f"`{statement.name}` is declared as {quota} pairs, and `{conversation.name}` makes "
            f"{conversation.quota} samples",
            statement.quantity.span if statement.quantity else statement.span,
            hint=f"ask for {conversation.quota} at most",
        )
    return Preference(
        name=statement.name.text,
        quota=quota,
        source=conversation.name,
        steps=tuple(steps),
        chosen=sides["chosen"],
        rejected=sides["rejected"],
        margin=margin,
        marked=tuple(marked_sides(sides, conversation)),
        span=statement.name.span,
        quoted=frozenset(_quoted(steps, conversation)),
    )


def _always_there(
    sides: dict[str, CallPlan],
    fields: dict[str, tuple[Expression, Span]],
    conversation: Conversation,
    steps: list[Step],
    scope: Scope,
) -> None:
    """E111: what the turns of a preference are made from is in every sample that they are made for."""
    if not steps:
        return
    known = {step.name: step for step in conversation.steps}
    for side, plan in sides.items():
        step = known.get(str(plan.arguments["name"])) if plan.name != "step" else None
        if step is not None and step.when:
            _report_absent(step, fields[side][0].span, scope)
    for step in steps:
        for name in dict.fromkeys(_quoted([step], conversation)):
            if name in known and known[name].when:
                _report_absent(known[name], step.span, scope)


def _report_absent(step: Step, place: Span, scope: Scope) -> None:
    scope.report(
        "E111",
        f"`{step.name}` is not in every sample, and turns of a preference are written for each",
        place,
        secondary=(Label(step.span, f"only `{step.written}`"),),
        hint="quote turns that are in every sample, or make the pairs from a conversation of its own",
    )


def _quoted(steps: list[Step], conversation: Conversation) -> Iterator[str]:
    """The steps of the conversation that a preference's turns print: `{{ direct.ask }}`."""
    for step in steps:
        for template in (step.value, step.system, step.prompt):
            for part in template or ():
                if isinstance(part, RefPlan) and part.path[0] == conversation.name and len(part.path) > 1:
                    yield part.path[1]


def _refuse_tools(step: Step, scope: Scope) -> None:
    """A pair's answers are texts that reply to the same messages."""
    if step.calling.span is not None:
        scope.report(
            "E108",
            f"`{step.name}` is one of a pair's two answers, which call no tools",
            step.calling.span,
            hint="put them into the turn of the conversation; its attempts make pairs too",
        )


def _refuse_many(step: Step, scope: Scope) -> None:
    """Checks over many samples are for the samples of a conversation, whose order they need."""
    for check in (*step.checks, *step.must_fail):
        if not check.source and CHECKS[check.name].many:
            scope.report(
                "E202",
                f"`{check.name}` compares the samples of a conversation, and `{step.name}` is a pair's",
                step.span,
                hint="check the turn of the conversation that both answers reply to",
            )
