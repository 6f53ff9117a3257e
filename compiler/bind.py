"""Pass: what the names of a file stand for.  Syntax -> Bound.

Declarations are bound in the order of what they can refer to (parameters, schemas, models,
sets, conversations, exports), whatever their order in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler import models
from compiler.bound import Bound, Param, SetOf
from compiler.conversation import bind_conversation
from compiler.exports import bind_export
from compiler.kinds import Kind
from compiler.overrides import override
from compiler.plan import Member
from compiler.scope import Declared, Scope
from compiler.shape import check_shape
from compiler.types import BUILT_IN_SCHEMAS, COUNT, Schema, Type, record
from compiler.values import FAILED, constant, resolve_type
from dsl.diagnostic import Diagnostics
from dsl.source import Span
from dsl.suggest import suggest
from dsl.syntax import Integer, Ratio, Statement, Syntax

_ORDER = ("recipe", "schema", "param", "model", "set", "personas", "tiers", "conversation", "export")
NEWEST_EDITION = 1


def bind(syntax: Syntax, overrides: Mapping[str, str], diagnostics: Diagnostics) -> Bound:
    """Binds a whole recipe file.  Faults go to `diagnostics`; what is left is still bound.

    `overrides` are the texts given with `--set`.
    """
    scope = Scope(diagnostics, poisoned=set(syntax.poisoned))
    bound = Bound()
    paired = check_shape(syntax.statements, "file", diagnostics)
    statements = [(s, kind) for s, kind in paired if isinstance(s, Statement)]
    for statement, kind in statements:
        misspelt = statement.kind.text != kind.word
        if statement.name is not None and (statement.damaged or misspelt):
            scope.poisoned.add(statement.name.text)
    _check_edition(syntax, statements, bound, scope)
    for word in _ORDER:
        for statement, kind in statements:
            if kind.word == word:
                _BINDERS[word](statement, bound, scope, overrides)
    if not bound.recipe:
        scope.report(
            "E107",
            "this file declares no recipe",
            _start(syntax),
            hint="for example `recipe name { seed = 1 }`",
        )
    _check_overrides(bound, overrides, scope)
    return bound


def _check_edition(
    syntax: Syntax, statements: list[tuple[Statement, Kind]], bound: Bound, scope: Scope
) -> None:
    first = syntax.statements[0] if syntax.statements else None
    edition = next((s for s, kind in statements if kind.word == "edition"), None)
    if edition is None or edition is not first:
        scope.report(
            "E010",
            "a recipe begins with its edition",
            edition.span if edition is not None else _start(syntax),
            hint=f"write `edition {NEWEST_EDITION}` on the first line",
        )
    if edition is not None and isinstance(edition.quantity, Integer):
        bound.edition = edition.quantity.value
        if bound.edition > NEWEST_EDITION or bound.edition < 1:
            scope.report(
                "E011",
                f"edition {bound.edition} is not known to this compiler",
                edition.quantity.span,
                hint=f"the newest it knows is {NEWEST_EDITION}",
            )


def _start(syntax: Syntax) -> Span:
    if syntax.statements:
        return syntax.statements[0].span
    return Span(syntax.source, 0, min(1, len(syntax.source.text)))


def _bind_recipe(statement: Statement, bound: Bound, scope: Scope, overrides: Mapping[str, str]) -> None:
    if statement.name is not None:
        bound.recipe = statement.name.text
    bound.docs = "\n".join(statement.docs)
    for inner, kind in check_shape(statement.body or (), "recipe", scope.diagnostics):
        if kind.word == "seed" and isinstance(inner, Statement) and inner.value is not None:
            value = constant(inner.value, COUNT, scope, "the seed")
            bound.seed = 0 if value is FAILED else value


def _bind_param(statement: Statement, bound: Bound, scope: Scope, overrides: Mapping[str, str]) -> None:
    if statement.name is None or statement.type is None:
        return
    name = statement.name.text
    type_ = resolve_type(statement.type, scope, bound.schemas)
    value: Any = FAILED
    if type_ is not None:
        if name in overrides:
            value = override(name, overrides[name], type_, statement.name.span, scope)
        elif statement.value is not None:
            value = constant(statement.value, type_, scope, f"`{name}`")
        elif type_.optional:
            value = None
        else:
            scope.report(
                "E601",
                f"`{name}` has no value",
                statement.name.span,
                hint=f"give it one: `--set {name}=...`, or a default here: `param {name}: {type_} = ...`",
            )
    declared = Declared(name, "param", statement.name.span, type_, value, constant=True)
    if scope.declare(declared) and type_ is not None:
        bound.params[name] = Param(name, type_, value, statement.name.span)


def _bind_schema(statement: Statement, bound: Bound, scope: Scope, overrides: Mapping[str, str]) -> None:
    if statement.name is None:
        return
    fields: list[tuple[str, Type]] = []
    for inner, _ in check_shape(statement.body or (), "schema", scope.diagnostics):
        if not isinstance(inner, Statement) or inner.type is None:
            continue
        if _mentions(inner, statement.name.text):
            scope.report(
                "E206",
                f"`{statement.name}` holds itself",
                inner.type.span,
                hint="a schema cannot be recursive: name a list of ids instead",
            )
            continue
        type_ = resolve_type(inner.type, scope, bound.schemas)
        if type_ is not None:
            fields.append((inner.kind.text, type_))
    schema = Schema(statement.name.text, tuple(fields))
    if scope.declare(
        Declared(schema.name, "schema", statement.name.span, record(schema), constant=True, thing=schema)
    ):
        bound.schemas[schema.name] = schema


def _mentions(statement: Statement, name: str) -> bool:
    pending = [statement.type]
    while pending:
        type_ = pending.pop()
        if type_ is not None:
            if type_.name.text == name:
                return True
            pending.extend(type_.arguments)
    return False


def _bind_model(statement: Statement, bound: Bound, scope: Scope, overrides: Mapping[str, str]) -> None:
    model = models.bind_model(statement, scope, bound.schemas)
    if model is not None and scope.declare(Declared(model.plan.name, "model", model.span, None, thing=model)):
        bound.models[model.plan.name] = model


def _bind_set(statement: Statement, bound: Bound, scope: Scope, overrides: Mapping[str, str]) -> None:
    if statement.name is None:
        return
    schema = _set_schema(statement, bound, scope)
    if schema is None:
        scope.poisoned.add(statement.name.text)
        return
    members = [
        member
        for inner, _ in check_shape(statement.body or (), "set", scope.diagnostics)
        if isinstance(inner, Statement)
        for member in [_bind_member(inner, schema, scope)]
        if member is not None
    ]
    members = _weigh(statement, members, scope)
    set_ = SetOf(statement.name.text, schema, tuple(members), statement.name.span)
    if scope.declare(Declared(set_.name, statement.kind.text, set_.span, None, thing=set_)):
        bound.sets[set_.name] = set_


def _set_schema(statement: Statement, bound: Bound, scope: Scope) -> Schema | None:
    if statement.kind.text == "personas":
        return BUILT_IN_SCHEMAS["persona"]
    if statement.kind.text == "tiers":
        return BUILT_IN_SCHEMAS["tier"]
    if statement.type is None:
        return None
    type_ = resolve_type(statement.type, scope, bound.schemas)
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
    failed = statement.damaged
    for inner, _ in check_shape(statement.body or (), "member", scope.diagnostics):
        if not isinstance(inner, Statement) or inner.value is None:
            failed = True
            continue
        name = inner.kind.text
        type_ = schema.field(name)
        if type_ is None:
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
    if lacking and not failed:
        scope.report(
            "E204",
            f"`{statement.kind}` lacks `{lacking[0]}`, which every {schema.name} has",
            statement.kind.span,
            hint=f'for example `{lacking[0]} = "..."`',
        )
        failed = True
    if failed:
        return None
    fields.update((name, None) for name, _ in schema.fields if name not in fields)
    weight = statement.quantity
    # Weights are integers: percentages count in ten-thousandths of a percent.
    share = int(weight.percent * 10_000) if isinstance(weight, Ratio) else weight.value if weight else 1
    return Member(label=statement.kind.text, weight=share, fields=fields)


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


def _bind_conversation(
    statement: Statement, bound: Bound, scope: Scope, overrides: Mapping[str, str]
) -> None:
    conversation = bind_conversation(statement, bound, scope, overrides)
    if conversation is not None and scope.declare(
        Declared(conversation.name, "conversation", conversation.span, None, thing=conversation)
    ):
        bound.conversations[conversation.name] = conversation


def _bind_export(statement: Statement, bound: Bound, scope: Scope, overrides: Mapping[str, str]) -> None:
    export = bind_export(statement, bound, scope)
    if export is not None:
        bound.exports[export.name] = export


def _check_overrides(bound: Bound, overrides: Mapping[str, str], scope: Scope) -> None:
    for name, text in overrides.items():
        if name not in bound.params and not scope.is_poisoned(name) and scope.find(name) is None:
            guess = suggest(name, bound.params)
            known = ", ".join(f"`{param}`" for param in list(bound.params)[:5])
            scope.report_override(
                f"this recipe has no parameter `{name}`",
                name,
                text,
                f"did you mean `{guess}`?" if guess else f"its parameters are {known or 'none'}",
            )


_BINDERS = {
    "recipe": _bind_recipe,
    "schema": _bind_schema,
    "param": _bind_param,
    "model": _bind_model,
    "set": _bind_set,
    "personas": _bind_set,
    "tiers": _bind_set,
    "conversation": _bind_conversation,
    "export": _bind_export,
}
