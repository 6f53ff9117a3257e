"""Binding of `set`, `personas` and `tiers`: members of one schema, with weights or shares."""

from __future__ import annotations

from typing import Any

from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import SetOf
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, constant, weight
from synth.compiler.bind.expressions.written_types import always_there, resolve_type
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.types import BUILT_IN_SCHEMAS, Schema
from synth.dsl.syntax import Ratio, Statement


def bind_set(statement: Statement, scope: Scope, schemas: dict[str, Schema]) -> SetOf | None:
    """The set a statement declares, or None where its schema is not known."""
    if statement.name is None:
        return None
    schema = _set_schema(statement, scope, schemas)
    if schema is None:
        return None
    members = [
        member
        for inner, _ in check_shape(statement.body or (), "set", scope.diagnostics)
        if isinstance(inner, Statement)
        for member in [_bind_member(inner, schema, scope)]
        if member is not None
    ]
    whole = len(members) == len(statement.body or ()) and not statement.damaged
    members = _weigh(statement, members, scope)
    places = {
        (member.kind.text, inner.kind.text): inner.value.span
        for member in statement.body or ()
        if isinstance(member, Statement)
        for inner in member.body or ()
        if isinstance(inner, Statement) and inner.value is not None
    }
    return SetOf(
        statement.name.text, statement.kind.text, schema, tuple(members), statement.name.span, places, whole
    )


def _set_schema(statement: Statement, scope: Scope, schemas: dict[str, Schema]) -> Schema | None:
    if statement.kind.text == "personas":
        return BUILT_IN_SCHEMAS["persona"]
    if statement.kind.text == "tiers":
        return BUILT_IN_SCHEMAS["tier"]
    if statement.type is None:
        return None
    always_there(statement.type, "a member is of its set's schema", scope)
    type_ = resolve_type(statement.type, scope, schemas)
    if type_ is not None and type_.schema is None:
        scope.report(
            "E202",
            f"a set is of a schema, and `{type_}` is none",
            statement.type.span,
            hint="declare `schema item { words: text }` and write `set name: item`",
        )
    return type_.schema if type_ is not None else None


def _bind_member(statement: Statement, schema: Schema, scope: Scope) -> Member | None:
    fields: dict[str, Any] = {}
    failed = statement.damaged or statement.body is None or statement.value is not None
    for inner, _ in check_shape(statement.body or (), "member", scope.diagnostics):
        if not isinstance(inner, Statement) or inner.value is None:
            failed = True
            continue
        name = inner.kind.text
        type_ = schema.field(name)
        if type_ is None:
            failed = True
            if not scope.first(f"{schema.name}.{name}"):
                continue
            guess = suggest(name, [field for field, _ in schema.fields])
            scope.report(
                "E102",
                f"a {schema.name} has no `{name}`",
                inner.kind.span,
                hint=f"did you mean `{guess}`?" if guess else "",
            )
            failed = True
            continue
        value = constant(inner.value, type_.required, scope, f"`{name}`")
        failed = failed or value is FAILED
        fields[name] = value
    lacking = [name for name, type_ in schema.fields if name not in fields and not type_.optional]
    if lacking and not failed and scope.first(f"{schema.name} lacks {lacking[0]}"):
        scope.report(
            "E204",
            f"`{statement.kind}` lacks `{lacking[0]}`, which every {schema.name} has",
            statement.kind.span,
            hint=f'for example `{lacking[0]} = "..."`',
        )
    failed = failed or bool(lacking)
    if failed:
        return None
    fields.update((name, None) for name, _ in schema.fields if name not in fields)
    return Member(label=statement.kind.text, weight=weight(statement.quantity), fields=fields)


def _weigh(statement: Statement, members: list[Member], scope: Scope) -> list[Member]:
    """Checks that shares are of one kind and that percentages sum to 100."""
    inner = [s for s in statement.body or () if isinstance(s, Statement)]
    shares = [s.quantity for s in inner]
    name = statement.name.text if statement.name is not None else ""
    percents = [share for share in shares if isinstance(share, Ratio)]
    if statement.name is None or len(members) != len(inner):
        return members
    if not members:
        scope.report(
            "E303", f"`{name}` has no members", statement.name.span, hint="a set needs at least one member"
        )
    elif percents and len(percents) != len(shares):
        odd = next(s for s in inner if not isinstance(s.quantity, Ratio))
        scope.report(
            "E302",
            f"`{odd.kind}` has no percentage, and other members of `{name}` do",
            odd.kind.span,
            hint="give every member a percentage, or none",
        )
    elif percents and sum(share.percent for share in percents) != 100:
        scope.report_shares(name, statement.name.span, percents)
    elif sum(member.weight for member in members) == 0:
        scope.report(
            "E302",
            f"the weights of `{name}` are all zero",
            statement.name.span,
            hint="give at least one member a weight above zero",
        )
    return members
