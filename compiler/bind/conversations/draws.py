"""Binding of `draw`: what is dealt over a conversation's samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth.compiler.bind.blocks.bound import Axis, Draw, SetOf
from synth.compiler.bind.conversations.spreads import bind_spread
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import FAILED, article, constant, literal
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.tables.spread import SpreadPlan
from synth.compiler.plan.types import COUNT, NUMBER, SCALARS, TEXT, Type, record
from synth.dsl.syntax import Call, Damaged, Expression, List, Reference, Statement

# What is drawn from: the name of a set, which is empty for other things, its members and the type that
# the draw's name has.
_Dealt = tuple[str, tuple[Member, ...], Type]


def bind_draw(statement: Statement, axes: Sequence[Axis], draws: Sequence[Draw], scope: Scope) -> Draw | None:
    """The draw a statement declares; declares its name for what stands below.  `axes` and `draws` are what
    its values can depend on."""
    clause = statement.clause("from")
    if statement.name is None or clause is None:
        return None
    name, span = statement.name.text, statement.name.span
    scope.later.pop(name, None)
    personas, spread = False, None
    of: tuple[str, ...] = ()
    dealt: _Dealt | None
    if isinstance(clause.value, List):
        dealt = _listed(clause.value, scope)
    elif isinstance(clause.value, Reference) and (values := _list_of(clause.value, scope)) is not None:
        dealt = _dealt(*values, clause.value, scope)
    elif isinstance(clause.value, Reference) and (above := _above(clause.value, axes, draws, scope)):
        of = tuple(part.text for part in clause.value.parts)
        dealt = _dependent(clause.value, above, scope)
    elif isinstance(clause.value, Call):
        spread = bind_spread(clause.value, scope)
        dealt = None if spread is None else _spread_out(spread)
    else:
        set_ = _set(clause.value, name, scope)
        dealt = None if set_ is None else (set_.name, set_.members, record(set_.schema))
        personas = set_ is not None and set_.what == "personas"
    if dealt is None:
        scope.poisoned.add(name)
        return None
    source, members, type_ = dealt
    if not scope.declare(Declared(name, "draw", span, type_)):
        return None
    return Draw(name, source, personas, members, type_, span, spread, of)


def _set(expression: Expression, name: str, scope: Scope) -> SetOf | None:
    over = f"samples are made of its rows where the conversation is `over {name} in {expression}`"
    instead = {"source": over, "conversation": over}
    set_: SetOf | None = scope.thing(expression, (SetOf,), "a set", instead=instead)
    return set_


def _spread_out(spread: SpreadPlan) -> _Dealt:
    pairs = zip(spread.labels, spread.examples, strict=True)
    members = tuple(Member(label=label, weight=1, fields={"value": value}) for label, value in pairs)
    if spread.kind == "dates":
        return "", members, TEXT
    return "", members, NUMBER if spread.kind == "normal" or spread.digits or spread.low < 0 else COUNT


def _above(written: Reference, axes: Sequence[Axis], draws: Sequence[Draw], scope: Scope) -> Sequence[Member]:
    """The members of the axis or earlier draw that a path begins with; none where it begins otherwise."""
    first, *rest = written.parts
    if not rest or scope.find(first.text) is None:
        return ()
    sets: dict[str, Sequence[Member]] = {axis.name: axis.set.members for axis in axes}
    return (sets | {draw.name: draw.members for draw in draws}).get(first.text, ())


def _dependent(written: Reference, above: Sequence[Member], scope: Scope) -> _Dealt | None:
    """Members of `draw sub from category.subs`: those of all lists."""
    declared, rest = scope.resolve_path(written)
    type_: Type | None = declared.type if declared is not None else None
    for part in rest:
        type_ = None if type_ is None or type_.schema is None else type_.schema.field(part.text)
    if type_ is None or type_.name != "list":
        fields = declared.type.schema.fields if declared and declared.type and declared.type.schema else ()
        lists = [name for name, field in fields if field.name == "list"]
        kind = "nothing" if type_ is None else article(type_)
        scope.report(
            "E202",
            f"`{written}` is {kind}, and values are drawn from a list",
            written.span,
            hint=f"for example `{written.parts[0]}.{lists[0]}`" if lists else "",
        )
        return None
    values: dict[str, Any] = {}
    item = type_.arguments[0]
    for member in above:
        value: Any = member.fields
        for part in rest:
            value = None if value is None else value.get(part.text)
        if not value:
            scope.report(
                "E303",
                f"`{written}` of `{member.label}` is empty, so there is nothing to draw from",
                written.span,
                hint="give each member at least one value",
            )
            return None
        if (dealt := _dealt(value, item, written, scope)) is None:
            return None
        values |= {drawn.label: drawn.fields["value"] for drawn in dealt[1]}
    return _dealt(list(values.values()), item, written, scope)


def _list_of(written: Reference, scope: Scope) -> tuple[Any, Type] | None:
    """The value and type of a parameter or a `let` that is a list."""
    declared = scope.find(written.parts[0].text)
    if declared is None or (declared.what != "library" and len(written.parts) > 1):
        return None
    if declared.what == "library":
        declared, rest = scope.resolve_path(written)
        if declared is None or rest:
            return None
    if not declared.constant or declared.type is None or declared.type.name != "list":
        return None
    scope.use(written.parts[0].text)
    return declared.value, declared.type.arguments[0]


def _listed(values: List, scope: Scope) -> _Dealt | None:
    """Members of `draw turns from [2, 4, 6]`: each value is its own label."""
    types = [_type_said(item, scope) for item in values.items]
    type_ = next((type_ for type_ in types if type_ is not None), TEXT)
    if type_.name == "count" and NUMBER in types:
        type_ = NUMBER
    items = constant(values, Type("list", (type_,)), scope, "each value")
    return None if items is FAILED else _dealt(items, type_, values, scope)


def _type_said(expression: Expression, scope: Scope) -> Type | None:
    """The type of a literal, or of a constant by its name; None, without a report, of what else there is."""
    if isinstance(expression, Reference):
        declared = scope.find(expression.parts[0].text)
        return declared.type if declared is not None and declared.constant else None
    if isinstance(expression, (List, Call, Damaged)):
        return None
    return literal(expression)[0]


def _dealt(items: Any, type_: Type, written: List | Reference, scope: Scope) -> _Dealt | None:
    if items is FAILED:
        return None
    if type_.name not in SCALARS and type_.name != "enum":
        scope.report(
            "E202",
            f"a draw is of single values, and `{written.span.text}` holds {article(type_)} each",
            written.span,
            hint="for records, declare a `set`",
        )
        return None
    if not items:
        scope.report("E303", "there is nothing to draw from", written.span, hint="for example `[2, 4, 6]`")
        return None
    labels = [label_of(item, type_) for item in items]
    if len(set(labels)) != len(labels):
        scope.report("E104", "a value is listed twice", written.span, hint="give each value once")
        return None
    members = (
        Member(label=label, weight=1, fields={"value": item})
        for label, item in zip(labels, items, strict=True)
    )
    return "", tuple(members), type_.required


def label_of(value: Any, type_: Type) -> str:
    """What a value is called among those that it is drawn from: as a recipe writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if type_.name == "range":
        return "..".join("" if end is None else str(end) for end in value)
    unit = {"ratio": "%", "duration": "s"}.get(type_.name, "")
    return f"{value}{unit}"
