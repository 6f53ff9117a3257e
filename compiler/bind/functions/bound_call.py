"""Calls of Python functions in a recipe: arguments that fit their types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.expressions.arguments import path_of
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, article, constant, infer
from synth.compiler.bind.functions.module import PythonFunction, PythonModule, PythonParameter
from synth.compiler.plan.steps import RefPlan
from synth.compiler.plan.types import CHUNK_SCHEMA, MESSAGE_SCHEMA, TEXT, Type, record
from synth.dsl.syntax import Argument, Expression, Reference


def find_function(called: Reference, scope: Scope) -> PythonFunction | None:
    """The Python function that `shop.lookup` names; None after a report."""
    declared = scope.resolve(called.parts[0])
    if declared is None:
        return None
    if not isinstance(declared.thing, PythonModule) or len(called.parts) != 2:
        is_file = isinstance(declared.thing, PythonModule)
        scope.report(
            "E202",
            f"`{called}` is no function: `{declared.name}` is a {declared.what}",
            called.span,
            secondary=(Label(declared.span, "declared here"),),
            hint=f"for example `{declared.name}.{called.parts[1]}(...)`"
            if is_file
            else 'functions are of a Python file, `use shop from "lib/shop.py"`',
        )
        return None
    return declared.thing.function(called.parts[1], scope)


def bind_call(
    function: PythonFunction,
    arguments: Sequence[Argument],
    span: Span,
    scope: Scope,
    *,
    first_given: bool = False,
) -> dict[str, Any] | None:
    """Arguments by parameter name; None after a report.  `first_given` says that the first parameter is
    what is checked, and not among them."""
    name = function.plan.name
    parameters = function.parameters[1:] if first_given else function.parameters
    values: dict[str, Any] = {}
    for argument in arguments:
        parameter = _parameter(argument, parameters, values)
        if parameter is None:
            _report_surplus(function, argument, first_given, scope)
            return None
        values[parameter.name] = argument_of(function, argument.value, parameter, scope)
    lacking = next(
        (parameter for parameter in parameters if parameter.required and parameter.name not in values), None
    )
    if lacking is not None:
        scope.report(
            "E202",
            f"`{name}` needs `{lacking.name}`",
            span,
            secondary=(Label(function.span, "declared here"),),
            hint=f"`{lacking.name}` is {article(lacking.type)}",
        )
        return None
    return None if any(value is FAILED for value in values.values()) else values


def argument_of(
    function: PythonFunction, expression: Expression, parameter: PythonParameter, scope: Scope
) -> Any:
    """What an argument is for each sample or for all, or FAILED."""
    return given_value(
        expression,
        parameter.type,
        f"`{parameter.name}` of `{function.plan.name}`",
        function.span,
        scope,
        absent=f"let the function take it: `{parameter.name}: ... | None`",
    )


def given_value(
    expression: Expression, wanted: Type, what: str, declared_at: Span, scope: Scope, *, absent: str
) -> Any:
    """What is given where a type is wanted, for each sample or for all, or FAILED.  `absent` is a hint on
    what may be absent, and is not taken then."""
    if isinstance(expression, Reference) and not (
        wanted.name == "enum" and len(expression.parts) == 1 and str(expression) in wanted.words
    ):
        declared, _ = scope.resolve_path(expression)
        if declared is None:
            return FAILED
        if declared.constant and declared.what != "schema":
            typed_value = infer(expression, scope)
        else:
            path = path_of(expression, scope)
            typed_value = None if path is None else (path[0], RefPlan(path=path[1]))
        if typed_value is None:
            return FAILED
        if takes(typed_value[0], wanted):
            return typed_value[1]
        may_lack = typed_value[0].optional and takes(replace(typed_value[0], optional=False), wanted)
        fault = "may be absent" if may_lack else f"is {article(typed_value[0])}"
        scope.report(
            "E202",
            f"{what} is {article(wanted)}, and `{expression}` {fault}",
            expression.span,
            secondary=(Label(declared_at, "declared here"),),
            hint=absent if may_lack else "",
        )
        return FAILED
    if wanted.name == "any":
        inferred = infer(expression, scope)
        return FAILED if inferred is None else inferred[1]
    return constant(expression, wanted.required, scope, what)


def takes(given: Type, wanted: Type) -> bool:
    """Whether a value of one type may be given to a parameter of another.  Records are compared by their
    fields, whatever they are called, and may have more of them."""
    if "unknown" in (given.name, wanted.name):
        return True
    if given.optional and not wanted.optional:
        return False
    if wanted.name == "any":
        return True
    if given.name == "json":
        return takes(given.arguments[0], wanted)
    if wanted.name == "record":
        schema = _schema(given)
        if schema is None and given.name not in ("record", "chunk"):
            return False
        if wanted.schema is None:
            values = [type_.required for _, type_ in schema.fields] if schema is not None else []
            return not wanted.arguments or all(takes(value, wanted.arguments[0]) for value in values)
        if schema is None:
            return False
        return all(
            type_.optional if (field := schema.field(name)) is None else takes(field, type_)
            for name, type_ in wanted.schema.fields
        )
    if wanted.name == "list":
        items = record(MESSAGE_SCHEMA) if given.name == "messages" else None
        if given.name == "list":
            items = given.arguments[0]
        return items is not None and takes(items, wanted.arguments[0])
    if wanted.name == "enum":
        return given.name == "enum" and set(given.words) <= set(wanted.words)
    return given.name in _TAKEN.get(wanted.name, (wanted.name,))


_TAKEN = {
    "text": ("text", "enum", "path"),
    "path": ("path", "text"),
    "number": ("number", "count", "ratio", "duration"),
}


def _schema(type_: Type) -> Any:
    return CHUNK_SCHEMA if type_.name == "chunk" else type_.schema


def gives_reason(function: PythonFunction, called: Reference, scope: Scope) -> bool:
    """E202 for a function that is no check: its first parameter is what is checked, and it gives None
    where that holds, else the reason."""
    if function.parameters and function.returns == replace(TEXT, optional=True):
        return True
    gives = article(function.returns) if function.returns is not None else "nothing"
    scope.report(
        "E202",
        f"`{called}` gives {gives}, and a check gives the reason why a value does not hold"
        if function.parameters
        else f"`{called}` takes nothing, and a check takes what it is to judge",
        called.span,
        secondary=(Label(function.span, "declared here"),),
        hint="give `str | None`: None where it holds, else a reason such as `promises today`",
    )
    return False


def _parameter(
    argument: Argument, parameters: Sequence[PythonParameter], values: dict[str, Any]
) -> PythonParameter | None:
    free = [parameter for parameter in parameters if parameter.name not in values]
    if argument.name is not None:
        return next((parameter for parameter in free if parameter.name == argument.name.text), None)
    return free[0] if free else None


def _report_surplus(function: PythonFunction, argument: Argument, first_given: bool, scope: Scope) -> None:
    names = [parameter.name for parameter in function.parameters]
    guess = suggest(argument.name.text, names) if argument.name is not None else None
    if guess:
        hint = f"did you mean `{guess}`?"
    elif first_given:
        hint = f"`{names[0]}` is what is checked; it takes {some_of(names[1:]) or 'nothing'} besides"
    else:
        hint = f"it takes {some_of(names) or 'nothing'}"
    scope.report(
        "E202",
        f"`{function.plan.name}` takes no such argument",
        argument.span,
        secondary=(Label(function.span, "declared here"),),
        hint=hint,
    )


def first_field(type_: Type) -> str:
    """The first field that a record has, for hints."""
    schema = type_.arguments[0].schema if type_.name == "json" else type_.schema
    return schema.fields[0][0] if schema is not None and schema.fields else ""
