"""Templates of a recipe, typed and folded to those of a plan.

Whatever is known at compile time is text there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.expressions.meant import of_marks
from synth.compiler.bind.expressions.remedies import OTHER_FILTERS, lint_text
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import FAILED, article, field_type, number
from synth.compiler.plan.steps import FilterPlan, RefPlan, Template
from synth.compiler.plan.types import COUNT, NUMBER, TEXT, Type, json_schema, prints, unproducible
from synth.compiler.stdlib.filters import FILTERS, can_print, printers, record_of
from synth.dsl.syntax import Damaged, Expression, Filter, Integer, Interpolation, Number, Reference, Text


def bind_template(text: Text, scope: Scope) -> Template:
    """The template of a text: constants folded in, neighbouring text merged.

    References that cannot be resolved or printed are reported and left out.
    """
    lint_text(text, scope)
    parts: list[str | RefPlan] = []
    for part in text.parts:
        piece = part if isinstance(part, str) else _bind(part, scope)
        if isinstance(piece, str) and parts and isinstance(parts[-1], str):
            parts[-1] += piece
        elif piece is not None and piece != "":
            parts.append(piece)
    return tuple(parts)


def _bind(part: Interpolation, scope: Scope) -> str | RefPlan | None:
    looked_up = _lookup(part.value, scope)
    if looked_up is None:
        return None
    type_, value, path = looked_up
    filters: list[FilterPlan] = []
    for filter_ in part.filters:
        if not _check_filter(filter_, type_, scope):
            return None
        filters.append(FilterPlan(name=filter_.name.text, arguments=_fields(filter_, type_)))
        type_ = TEXT
    if not prints(type_):
        _refuse(part, type_, scope)
        return None
    if path is not None:
        return RefPlan(path=path, filters=tuple(filters))
    for plan in filters:
        value = FILTERS[plan.name].function(value, *plan.arguments)
    if value is None:
        return ""
    unit = _UNITS.get(looked_up[0].name, "") if not filters else ""
    return value if isinstance(value, str) else f"{value}{unit}"


def _fields(filter_: Filter, type_: Type) -> tuple[str, ...]:
    """The names that a filter goes by: of a record's fields, for one that prints those."""
    schema = record_of(type_)
    if schema is None or not FILTERS[filter_.name.text].by_field:
        return ()
    return tuple(name for name, _ in schema.fields)


# Values that are numbers in a plan and had a unit in the recipe.
_UNITS = {"ratio": "%", "duration": "s"}


def _lookup(expression: Expression, scope: Scope) -> tuple[Type, Any, tuple[str, ...] | None] | None:
    """(type, constant value, None) or (type, None, path); None when it was reported."""
    match expression:
        case Damaged():
            return None
        case Integer(value):
            return COUNT, value, None
        case Number(value):
            return NUMBER, number(value), None
        case Text() if expression.plain is not None:
            return TEXT, expression.plain, None
        case Reference():
            return lookup_reference(expression, scope)
    scope.report(
        "E005",
        "a template prints a name, such as `{{ question }}`",
        expression.span,
        hint="declare the value above and print it by its name",
    )
    return None


def lookup_reference(
    expression: Reference, scope: Scope, *, absent: bool = False
) -> tuple[Type, Any, tuple[str, ...] | None] | None:
    """The type of what a reference names, with its value where that is known by now, else None and the
    path to it; None after a report.  What is not in every sample is named only where it may be `absent`."""
    first = expression.parts[0]
    declared, rest = scope.resolve_path(expression, absent=absent)
    if declared is None:
        return None
    if declared.type is None:
        scope.report(
            "E201",
            f"`{first}` is a {declared.what}, which a template cannot print",
            expression.span,
            secondary=(Label(declared.span, "declared here"),),
            hint=of_marks(declared.what, str(expression)),
        )
        return None
    if declared.what == "schema" and not rest:
        beyond = unproducible(declared.type)
        if beyond is not None:
            scope.report(
                "E202", f"`{first}` holds {article(beyond)}, which JSON does not have", expression.span
            )
            return None
        return Type("schema", schema=declared.thing), json_schema(declared.type), None
    if declared.what == "schema" and rest:
        scope.report_schema(first)
        return None
    type_: Type | None = declared.type
    path = [first.text]
    value: Any = declared.value
    for name in rest:
        type_ = None if type_ is None else field_type(type_, name.text)
        if type_ is None:
            _report_field(declared, tuple(path), name.text, expression, scope)
            return None
        path.append(name.text)
        if declared.constant and value is not FAILED:
            value = value[name.text]
    if declared.constant:
        return None if value is FAILED or type_ is None else (type_, value, None)
    if type_ is None:
        return None
    if type_.optional and not absent and scope.certain(tuple(path), type_):
        type_ = type_.required
    return type_, None, tuple(path)


def _report_field(
    declared: Declared, path: Sequence[str], name: str, expression: Reference, scope: Scope
) -> None:
    type_ = declared.type
    for part in path[1:]:
        type_ = None if type_ is None else field_type(type_, part)
    inner = type_.arguments[0] if type_ is not None and type_.name == "json" else type_
    fields = [field for field, _ in inner.schema.fields] if inner is not None and inner.schema else []
    guess = suggest(name, [*fields, "name"])
    if inner is not None and inner.schema is not None and not scope.first(f"{inner.schema.name}.{name}"):
        return
    scope.report(
        "E102",
        f"`{'.'.join(path)}` has no `{name}`",
        expression.span,
        secondary=(Label(declared.span, f"this {declared.what}"),),
        hint=f"did you mean `{guess}`?" if guess else (f"it has {some_of(fields)}" if fields else ""),
    )


def _check_filter(filter_: Filter, type_: Type, scope: Scope) -> bool:
    known = FILTERS.get(filter_.name.text)
    if known is None:
        guess = OTHER_FILTERS.get(filter_.name.text) or suggest(filter_.name.text, FILTERS)
        listed = f"{', '.join(list(FILTERS)[:-1])} and {list(FILTERS)[-1]}"
        scope.report(
            "E203",
            f"there is no filter `{filter_.name}`",
            filter_.name.span,
            hint=f"did you mean `{guess}`?"
            if guess
            else f"filters are {listed}: they print what is no text, and change no text",
        )
        return False
    if filter_.arguments:
        scope.report(
            "E202",
            f"`{known.name}` takes no arguments",
            filter_.arguments[0].span,
            hint=f"write `| {known.name}`",
        )
        return False
    if not can_print(known, type_):
        scope.report(
            "E202", f"`{known.name}` prints {', '.join(known.accepts)}, not {article(type_)}", filter_.span
        )
        return False
    return True


def _refuse(part: Interpolation, type_: Type, scope: Scope) -> None:
    written = part.value.span.text
    ways = [f"`| {name}`" for name in printers(type_)]
    schema = type_.schema
    if type_.name == "record" and schema is not None:
        first = schema.fields[0][0] if schema.fields else "name"
        hint = f"print one of its fields, `{{{{ {written}.{first} }}}}`, or all of them as JSON: `| fields`"
    elif ways:
        hint = f"say how to print it: `{{{{ {written} {ways[0].strip('`')} }}}}`"
        hint += (
            f", {', '.join(ways[1:-1])} or {ways[-1]}" if ways[2:] else f" or {ways[-1]}" if ways[1:] else ""
        )
    else:
        hint = ""
    kind = f"a {schema.name}" if type_.name == "record" and schema is not None else article(type_)
    scope.report("E201", f"`{written}` is {kind}; a template takes text", part.value.span, hint=hint)
