"""Calls in recipes: arguments bound to the parameters of a function's signature.

Checks, readers, splitters, indexes, `retrieve` and measures are all called the same way; each
table of functions gives its signatures, and this is the one place where arguments meet them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import suggest
from synth.compiler.bind.expressions.meant import of_marks
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import FAILED, article, constant, field_type, infer
from synth.compiler.plan.signature import HOW_MANY, PASSAGES, TEXT_OR_FILE, Parameter
from synth.compiler.plan.steps import RefPlan
from synth.compiler.plan.types import COUNT, COUNTS, PATH, ROLE, TEXT, Type, fits
from synth.compiler.stdlib.running import InFile, of_text
from synth.dsl.syntax import Argument, Expression, Integer, List, Reference


def bind_arguments(
    name: str,
    arguments: Sequence[Argument],
    parameters: Sequence[Parameter],
    span: Span,
    example: str,
    scope: Scope,
) -> dict[str, Any] | None:
    """Values by parameter name, defaults filled in; None after a report."""
    values: dict[str, Any] = {}
    failed = False
    hint = f"for example `{example}`"
    for argument in arguments:
        parameter = _parameter(argument, parameters, values)
        if parameter is None:
            names = [other.name for other in parameters if not other.variadic]
            guess = suggest(argument.name.text, names) if argument.name is not None else None
            scope.report(
                "E202",
                f"`{name}` takes no such argument",
                argument.span,
                hint=f"did you mean `{guess}`?" if guess else hint,
            )
            return None
        value = _value(argument.value, parameter, scope, f"`{name}`")
        failed = failed or value is FAILED
        if parameter.variadic and value is not FAILED:
            values.setdefault(parameter.name, []).extend(value if isinstance(value, list) else [value])
        elif not parameter.variadic:
            # A faulty one takes its place too, so that the next is not taken for it.
            values[parameter.name] = value
    if failed:
        return None
    for parameter in parameters:
        if parameter.name in values:
            continue
        if parameter.default is not None:
            values[parameter.name] = parameter.default
        elif not parameter.optional:
            scope.report("E202", f"`{name}` needs `{parameter.name}`", span, hint=hint)
            return None
    return values


def _parameter(
    argument: Argument, parameters: Sequence[Parameter], values: dict[str, Any]
) -> Parameter | None:
    if argument.name is not None:
        name = argument.name.text
        return next((p for p in parameters if p.name == name and name not in values), None)
    return next((p for p in parameters if p.variadic or p.name not in values), None)


def _value(expression: Expression, parameter: Parameter, scope: Scope, what: str) -> Any:
    wanted = parameter.type
    if wanted.name == "word" and isinstance(expression, Reference) and len(expression.parts) == 1:
        return expression.parts[0].text
    if wanted.name == "text_or_role":
        role = isinstance(expression, Reference) and str(expression) in ROLE.words
        return str(expression) if role else constant(expression, TEXT, scope, what)
    if wanted.name == "choice":
        chosen = constant(expression, TEXT, scope, what)
        if chosen is not FAILED and chosen not in wanted.words:
            guess = suggest(str(chosen), wanted.words)
            scope.report(
                "E202",
                f"`{parameter.name}` is {' or '.join(wanted.words)}, not `{chosen}`",
                expression.span,
                hint=f"did you mean `{guess}`?" if guess else "",
            )
            return FAILED
        return chosen
    if wanted.name in ("source", "model"):
        return _declared(expression, wanted, scope, what)
    if wanted.name == "column_or":
        if isinstance(expression, Reference) and scope.find(expression.parts[0].text) is None:
            return {"column": str(expression)}
        return _value(expression, replace(parameter, type=wanted.arguments[0]), scope, what)
    if wanted == TEXT_OR_FILE:
        value = _value(expression, replace(parameter, type=PATH), scope, what)
        return InFile(value) if value is not FAILED and _names_file(expression, value, scope) else value
    if wanted == HOW_MANY:
        meant = COUNT if _is_count(expression, scope) else COUNTS
        value = _value(expression, replace(parameter, type=meant), scope, what)
        return [value, value] if isinstance(value, int) else value
    if parameter.variadic and isinstance(expression, Reference | List):
        inferred = infer(expression, scope)
        if inferred is None:
            return FAILED
        type_, value = inferred
        if fits(type_, wanted) or (type_.name == "list" and fits(type_.arguments[0], wanted)):
            return value
        scope.report("E202", f"{what} takes {article(wanted)}, not {article(type_)}", expression.span)
        return FAILED
    if wanted == PASSAGES and not isinstance(expression, Reference):
        return constant(expression, TEXT, scope, what)
    if parameter.varies and isinstance(expression, Reference):
        varying = _varying(expression, parameter, scope, what)
        if varying is not None:
            return varying
    return constant(expression, wanted, scope, what)


def _names_file(expression: Expression, value: Any, scope: Scope) -> bool:
    """Whether what is to be a text or a file is a file: by its type, or a constant by how it ends."""
    if isinstance(value, RefPlan) and isinstance(expression, Reference):
        typed_path = path_of(expression, scope)
        return typed_path is not None and typed_path[0].name == "path"
    return isinstance(value, str) and not of_text(value)


def _is_count(expression: Expression, scope: Scope) -> bool:
    if not isinstance(expression, Reference):
        return isinstance(expression, Integer)
    declared = scope.find(expression.parts[0].text)
    type_ = declared.type if declared is not None else None
    for part in expression.parts[1:]:
        type_ = field_type(type_, part.text) if type_ is not None else None
    return type_ is not None and type_.name == "count"


def _declared(expression: Expression, wanted: Type, scope: Scope, what: str) -> Any:
    """The name of a source or model, once it is known to be one."""
    if not isinstance(expression, Reference):
        scope.report("E202", f"{what} takes the name of a {wanted.name}", expression.span)
        return FAILED
    declared = scope.resolve(expression.parts[0])
    if declared is None:
        return FAILED
    if declared.what != wanted.name:
        scope.report(
            "E202",
            f"`{expression}` is a {declared.what}, not a {wanted.name}",
            expression.span,
            secondary=(Label(declared.span, "declared here"),),
        )
        return FAILED
    return declared.name


def _varying(expression: Reference, parameter: Parameter, scope: Scope, what: str) -> Any:
    """A reference whose value each sample has for itself; None when it is a constant."""
    wanted = replace(parameter.type, optional=True) if parameter.may_lack else parameter.type
    declared: Declared | None = scope.resolve(expression.parts[0])
    if declared is None:
        return FAILED
    if declared.what == "schema":
        scope.report_schema(expression.parts[0])
        return FAILED
    if declared.constant or declared.type is None:
        return None
    typed_path = path_of(expression, scope)
    if typed_path is None:
        return FAILED
    type_, path = typed_path
    if not fits(type_, wanted) and not (wanted.name == "text" and type_.name == "json"):
        scope.report(
            "E202",
            f"{what} takes {article(parameter.type)}, and `{expression}` is {article(type_)}",
            expression.span,
        )
        return FAILED
    return RefPlan(path=path)


def path_of(expression: Reference, scope: Scope) -> tuple[Type, tuple[str, ...]] | None:
    """The type and path of what each sample has for itself; None after a report."""
    declared = scope.resolve(expression.parts[0])
    if declared is None:
        return None
    if declared.what == "schema":
        scope.report_schema(expression.parts[0])
        return None
    if declared.type is None:
        scope.report(
            "E202",
            f"`{expression}` is a {declared.what}, not a value",
            expression.span,
            secondary=(Label(declared.span, "declared here"),),
            hint=of_marks(declared.what, str(expression)),
        )
        return None
    type_ = declared.type
    for part in expression.parts[1:]:
        inner = field_type(type_, part.text)
        if inner is None:
            owner = type_.schema.name if type_.schema is not None else declared.name
            if scope.first(f"{owner}.{part}"):
                scope.report("E102", f"`{declared.name}` has no `{part}`", expression.span)
            return None
        type_ = inner
    path = tuple(part.text for part in expression.parts)
    if type_.optional and scope.certain(path, type_):
        type_ = type_.required
    return type_, path
