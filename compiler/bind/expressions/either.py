"""Binding of `either(a, b)`: the first of several that is there in a sample."""

from __future__ import annotations

from dataclasses import replace

from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.template import lookup_reference
from synth.compiler.bind.expressions.values import article
from synth.compiler.bind.expressions.ways import TooManyWays
from synth.compiler.plan.conditions import ConditionPlan
from synth.compiler.plan.steps import ArgumentValue, CallPlan, RefPlan
from synth.compiler.plan.types import TEXT, Type, fits
from synth.dsl.syntax import Call, Reference, Text

EXAMPLE = "either(twist, plain)"


def bind_either(call: Call, scope: Scope) -> tuple[CallPlan, Type] | None:
    """The call, and the type of what it gives: optional where none of them may be there."""
    arguments: dict[str, ArgumentValue] = {}
    output: Type | None = None
    for number, argument in enumerate(call.arguments, 1):
        value = argument.value
        if argument.name is not None or not isinstance(value, Reference | Text):
            scope.report(
                "E202",
                "`either` takes names and texts, the first choice first",
                argument.span,
                hint=f"for example `let task = {EXAMPLE}`",
            )
            return None
        if isinstance(value, Text):
            if value.plain is None:
                scope.report(
                    "E202",
                    "`either` takes no template",
                    value.span,
                    hint="give it a name by a `let` of its own, and put that here",
                )
                return None
            type_, path = TEXT, None
            arguments[str(number)] = value.plain
        else:
            looked_up = lookup_reference(value, scope, absent=len(value.parts) == 1)
            if looked_up is None:
                return None
            type_, constant, path = looked_up
            arguments[str(number)] = constant if path is None else RefPlan(path=path)
        if output is None:
            output = type_.required
        elif not fits(type_.required, output):
            scope.report(
                "E202",
                f"`{call.arguments[0].span.text}` is {article(output)}, and `{value.span.text}` is "
                f"{article(type_.required)}",
                value.span,
                hint="what `either` gives has one type",
            )
            return None
        if path is not None:
            scope.known_ways().types.setdefault(path, type_)
    if len(arguments) < 2 or output is None:
        scope.report(
            "E202",
            "`either` chooses among two or more",
            call.span,
            hint=f"for example `let task = {EXAMPLE}`",
        )
        return None
    plan = CallPlan(name="either", arguments=arguments)
    return plan, output if _is_certain(plan, scope) else replace(output, optional=True)


def _is_certain(plan: CallPlan, scope: Scope) -> bool:
    """Whether one of the choices is there wherever the `let` is."""
    choices = plan.arguments.values()
    paths = [choice.path for choice in choices if isinstance(choice, RefPlan)]
    if len(paths) < len(plan.arguments):
        return True
    ways = scope.known_ways()
    asked = tuple(ConditionPlan(path=path) for path in paths)
    try:
        return all(
            any(way.value(path) is not None for path in paths)
            for way in ways.fall((*scope.under, *asked))
            if way.hold(scope.under)
        )
    except TooManyWays:
        return False
