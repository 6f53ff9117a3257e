"""Constant values, evaluated where they stand, against the type wanted there.

A value in a plan is JSON: text, number or boolean as themselves; a ratio as its percentage; a
range as `[low, high]` with null for an open end; a duration in seconds; an enum as its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from math import ceil, floor
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.expressions.meant import counted, of_marks, written_as
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.plan.types import (
    BOOLEAN,
    CHUNK_SCHEMA,
    COUNT,
    COUNTS,
    DURATION,
    NUMBER,
    RANGE,
    RATIO,
    TEXT,
    UNKNOWN,
    Type,
    fits,
)
from synth.dsl.syntax import (
    Boolean,
    Call,
    Damaged,
    Duration,
    Expression,
    Integer,
    List,
    Number,
    Range,
    Ratio,
    Reference,
    Text,
)

# Marks have so many parts of 1 at most: four digits.
_ROUNDED = 10_000
# Returned where a fault was reported (or lies in a poisoned name), since None is a value.
FAILED: Any = object()


def constant(expression: Expression, wanted: Type, scope: Scope, what: str) -> Any:
    """The value of an expression known at compile time, as JSON, or FAILED.

    `what` names the place in messages: `temperature`, `the seed`.
    """
    if isinstance(expression, Damaged):
        return FAILED
    if isinstance(expression, Reference):
        return _referenced(expression, wanted, scope, what)
    if isinstance(expression, List):
        if wanted.name != "list":
            return _refuse(expression, wanted, scope, what, "a list")
        items = [constant(item, wanted.arguments[0], scope, what) for item in expression.items]
        if any(item is FAILED for item in items):
            return FAILED
        beyond = outside(items, wanted)
        return _refuse(expression, wanted, scope, what, beyond) if beyond else items
    if isinstance(expression, Call):
        return _refuse(expression, wanted, scope, what, "a call")
    type_, value = literal(expression)
    if type_ is None:
        scope.report(
            "E202",
            f"{what} is a fixed value and takes no `{{{{ }}}}`",
            expression.span,
            hint="only prompts and composed turns are templates",
        )
        return FAILED
    if isinstance(expression, Range) and is_empty(expression):
        scope.report(
            "E202",
            f"no number lies in `{expression.span.text}`",
            expression.span,
            hint="the smaller end comes first",
        )
        return FAILED
    if not fits(type_, wanted):
        return _refuse(expression, wanted, scope, what, f"a {type_.name}" if type_ != TEXT else "text")
    beyond = outside(value, wanted)
    return _refuse(expression, wanted, scope, what, beyond) if beyond else value


def infer(expression: Expression, scope: Scope) -> tuple[Type, Any] | None:
    """The type and value of an expression that says its own type; None after a report."""
    if isinstance(expression, Damaged):
        return None
    if isinstance(expression, Reference):
        declared, rest = scope.resolve_path(expression)
        if declared is None:
            return None
        if not declared.constant or declared.type is None or rest or declared.what == "schema":
            scope.report(
                "E202",
                f"`{expression}` is a {declared.what}, not a value",
                expression.span,
                hint=of_marks(declared.what, str(expression)),
            )
            return None
        return None if declared.value is FAILED else (declared.type, declared.value)
    if isinstance(expression, List):
        return _infer_list(expression, scope)
    if isinstance(expression, Call):
        scope.report("E202", "a call is no value here", expression.span)
        return None
    type_, value = literal(expression)
    if type_ is None:
        scope.report("E202", "a fixed value takes no `{{ }}`", expression.span)
        return None
    return type_, value


def _infer_list(expression: List, scope: Scope) -> tuple[Type, Any] | None:
    items = [infer(item, scope) for item in expression.items]
    inferred = [item for item in items if item is not None]
    if len(inferred) != len(items):
        return None
    if not inferred:
        scope.report("E202", "an empty list says no type", expression.span, hint='for example `["word"]`')
        return None
    first = inferred[0][0]
    for item, (type_, _) in zip(expression.items, inferred, strict=True):
        if type_ != first:
            scope.report("E202", f"this list holds {article(first)} first, then {article(type_)}", item.span)
            return None
    return Type("list", (first,)), [value for _, value in inferred]


def field_type(type_: Type, name: str) -> Type | None:
    """The type of a record's field, or of what stands beside a value; every member of a set has a `name`."""
    return _own_field(type_, name) or (type_.beside.field(name) if type_.beside is not None else None)


def _own_field(type_: Type, name: str) -> Type | None:
    if type_.name == "json":
        type_ = type_.arguments[0]
    if type_.name == "unknown":
        return UNKNOWN
    if type_.name == "chunk":
        return CHUNK_SCHEMA.field(name)
    if type_.name != "record" or type_.schema is None:
        return None
    return type_.schema.field(name) or (TEXT if name == "name" else None)


def literal(
    expression: Integer | Number | Ratio | Duration | Range | Boolean | Text,
) -> tuple[Type | None, Any]:
    """The type and value of a literal; neither, of a text with something to fill in."""
    match expression:
        case Integer(value):
            return COUNT, value
        case Number(value):
            return NUMBER, number(value)
        case Ratio(percent):
            return RATIO, number(percent)
        case Duration(seconds):
            return DURATION, number(seconds)
        case Range(low, high):
            return RANGE, [end_of_range(low), end_of_range(high)]
        case Boolean(value):
            return BOOLEAN, value
        case Text():
            return (TEXT, expression.plain) if expression.plain is not None else (None, None)


def weight(quantity: Integer | Ratio | None) -> int:
    """A written share as a relative weight: 1 where none is given, percentages in their ten-thousandths."""
    if quantity is None:
        return 1
    return int(quantity.percent * 10_000) if isinstance(quantity, Ratio) else quantity.value


def is_empty(range_: Range) -> bool:
    return range_.low is not None and range_.high is not None and range_.low > range_.high


def end_of_range(value: int | Decimal | None) -> int | float | None:
    return number(value) if isinstance(value, Decimal) else value


def number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _referenced(expression: Reference, wanted: Type, scope: Scope, what: str) -> Any:
    first = expression.parts[0]
    # Bare words are enum values before they are names.
    if wanted.name == "enum" and len(expression.parts) == 1 and first.text in wanted.words:
        return first.text
    if wanted.name == "enum" and scope.find(first.text) is None and not scope.is_poisoned(first.text):
        guess = suggest(first.text, wanted.words)
        words = some_of(wanted.words, "or")
        scope.report(
            "E202",
            f"{what} is {words}, not `{expression}`",
            expression.span,
            hint=f"did you mean `{guess}`?" if guess else "",
        )
        return FAILED
    if wanted.name == "count" and scope.find(first.text) is None and (count := counted(str(expression))):
        scope.report(
            "E202",
            f"{what} takes a count, and `{expression}` is a name",
            expression.span,
            hint=f"write `{count}`",
        )
        return FAILED
    if wanted.name == "unknown" and scope.find(first.text) is None:
        # It may be a word of the enum that was meant.
        return FAILED
    declared, rest = scope.resolve_path(expression)
    if declared is None:
        return FAILED
    if not declared.constant or rest:
        return _refuse(expression, wanted, scope, what, f"a {declared.what}")
    if declared.value is FAILED:
        return FAILED
    if declared.type is not None and not fits(declared.type, wanted):
        scope.report(
            "E202",
            f"{what} takes {article(wanted)}, and `{expression}` is {article(declared.type)}",
            expression.span,
            secondary=(Label(declared.span, "declared here"),),
        )
        return FAILED
    beyond = outside(declared.value, wanted)
    return _refuse(expression, wanted, scope, what, beyond) if beyond else declared.value


def _refuse(expression: Expression, wanted: Type, scope: Scope, what: str, actual: str) -> Any:
    written = expression.span.text
    excerpt = written if len(written) <= 40 and "\n" not in written else written.split("\n")[0][:36] + "..."
    message = f"{what} takes {article(wanted)}, and `{excerpt}` is {actual}"
    scope.report("E202", message, expression.span, hint=written_as(expression, wanted))
    return FAILED


def outside(value: Any, type_: Type) -> str:
    """What a value of the right type is, where it lies outside the type's bounds, or `""`."""
    if value is not None and type_ == COUNTS:
        odd = next((end for end in value if end is not None and not is_whole(end)), None)
        return "" if odd is None else f"a range that has `{odd}` for an end"
    if value is None or (type_.low is None and type_.high is None):
        return ""
    size = len(value) if type_.name in ("text", "list") else value
    if (type_.low is None or size >= type_.low) and (type_.high is None or size <= type_.high):
        return ""
    if type_.name == "text":
        return f"text of {size} characters"
    if type_.name == "list":
        return f"a list of {size}"
    return (
        f"less than {type_.low}" if type_.low is not None and size < type_.low else f"more than {type_.high}"
    )


def misses(ends: Sequence[Any], type_: Type) -> bool:
    """Whether no number of a type that is bounded on both sides lies in a range."""
    (low, high), (least, most) = ends, (type_.low, type_.high)
    if least is None or most is None:
        return False
    if (low is not None and low > most) or (high is not None and high < least):
        return True
    # Means of three judges are rounded, and may lie beside their multiple.
    if type_.steps is None or _ROUNDED % type_.steps or low is None or high is None:
        return False
    return floor(Decimal(str(high)) * type_.steps) < ceil(Decimal(str(low)) * type_.steps)


def beyond_reach(ends: Sequence[Any], type_: Type) -> str:
    """A hint on a range that no number of a type lies in, though it is within its bounds; or `""`."""
    bounds = replace(type_, steps=None)
    if type_.steps is None or misses(ends, bounds):
        return ""
    if type_.steps == 1:
        return "marks of one judge are whole numbers"
    return f"marks of {type_.steps} judges are whole numbers and parts of {type_.steps}"


def is_whole(value: float | Decimal) -> bool:
    return isinstance(value, int) and value >= 0


def article(type_: Type) -> str:
    """`a count`, `text`, `messages`, `an enum<a, b>`."""
    if type_.name == "messages" or (type_.name == "text" and type_.low is None and type_.high is None):
        return str(type_)
    return f"{'an' if str(type_)[0].lower() in 'aeiou' else 'a'} {type_}"
