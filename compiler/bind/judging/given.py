"""What a rubric's judges are shown besides what they mark: `marks = quality(evidence)`, `quality(text)`."""

from __future__ import annotations

from collections.abc import Sequence

from synth.base.diagnostics.diagnostic import Label
from synth.compiler.bind.blocks.bound import Choosing, Rubric
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.template import bind_template, lookup_reference
from synth.compiler.bind.expressions.values import article
from synth.compiler.plan.judging.marking import passages
from synth.compiler.plan.steps import CallPlan, FilterPlan, RefPlan, Template
from synth.compiler.plan.types import Type, prints
from synth.compiler.stdlib.filters import FILTERS, can_print, record_of
from synth.dsl.syntax import Argument, Call, Expression, Reference, Text


def bind_given(arguments: Sequence[Argument], scope: Scope) -> dict[str, Template | RefPlan]:
    """What judges are shown, by the name that they read above it."""
    given: dict[str, Template | RefPlan] = {}
    for argument in arguments:
        value = argument.value
        if argument.name is None and not isinstance(value, Reference):
            scope.report(
                "E202",
                "judges are shown names from above, or texts with a name",
                argument.span,
                hint='for example `quality(evidence)`, or `quality(key = "...")`',
            )
            continue
        name = argument.name.text if argument.name is not None else str(value)
        part = _shown(value, scope)
        if part is None:
            continue
        if name in given:
            scope.report("E104", f"judges are shown `{name}` twice", argument.span, hint="keep one of them")
        given[name] = part
    return given


def bind_marks_of(call: Call, rubric: Rubric, scope: Scope) -> tuple[CallPlan, Choosing, Type] | None:
    """`let m = quality(text, evidence)`: the marks of a text by itself."""
    first = call.arguments[0] if call.arguments else None
    if first is None or first.name is not None:
        scope.report(
            "E202",
            f"`{call.function}` marks a text, which is not given",
            call.span,
            secondary=(Label(rubric.span, "declared here"),),
            hint=f"for example `let m = {call.function}(answer)`",
        )
        return None
    of = _shown(first.value, scope)
    if of is None:
        return None
    template = of if isinstance(of, tuple) else (of,)
    arguments = {"text": of} if isinstance(of, RefPlan) else {}
    choosing = Choosing(rubric=rubric, given=bind_given(call.arguments[1:], scope), of=template)
    return CallPlan(name="marks", arguments=dict(arguments)), choosing, rubric.marks


def _shown(value: Expression, scope: Scope) -> Template | RefPlan | None:
    """How a value is put into a judge's prompt; None after a report."""
    if isinstance(value, Text):
        return bind_template(value, scope)
    if not isinstance(value, Reference):
        scope.report(
            "E202", "judges read texts and names", value.span, hint="for example `quality(answer, evidence)`"
        )
        return None
    looked_up = lookup_reference(value, scope)
    if looked_up is None:
        return None
    type_, known, path = looked_up
    if path is None:
        if prints(type_):
            return (str(known),)
        _refuse(value, type_, scope)
        return None
    reference = RefPlan(path=path)
    if prints(type_):
        return reference
    if not type_.optional and can_print(FILTERS["numbered"], type_):
        return passages(reference)
    if not type_.optional and can_print(FILTERS["chat"], type_):
        return reference.model_copy(update={"filters": (FilterPlan(name="chat"),)})
    schema = record_of(type_)
    if not type_.optional and schema is not None:
        names = tuple(name for name, _ in schema.fields)
        return reference.model_copy(update={"filters": (FilterPlan(name="fields", arguments=names),)})
    if can_print(FILTERS["json"], type_):
        return reference.model_copy(update={"filters": (FilterPlan(name="json"),)})
    _refuse(value, type_, scope)
    return None


def _refuse(value: Reference, type_: Type, scope: Scope) -> None:
    scope.report(
        "E201",
        f"`{value}` is {article(type_)}, which cannot be shown to a judge",
        value.span,
        hint="quote a part of it"
        if not type_.optional
        else "it may be absent: put what is to be shown into a `let` of its own",
    )
