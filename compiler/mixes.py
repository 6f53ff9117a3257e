"""Binding of `mix`: shares of conversations and sources, and whether they can be had."""

from __future__ import annotations

from typing import Any

from compiler.bound import Bound, Conversation, Source
from compiler.plan import MixPart, MixPlan
from compiler.scope import Scope
from compiler.shape import check_shape
from compiler.values import FAILED, constant, weight
from dsl.syntax import Expression, List, Ratio, Statement


def bind_mix(statement: Statement, bound: Bound, scope: Scope) -> MixPlan | None:
    """The mix a statement declares."""
    if statement.name is None:
        return None
    name = statement.name.text
    parts: list[MixPart] = []
    written: list[Statement] = []
    fields: dict[str, Any] = {}
    for inner, kind in check_shape(statement.body or (), "mix", scope.diagnostics):
        if not isinstance(inner, Statement):
            continue
        if kind.field is not None:
            if inner.value is not None:
                value = constant(inner.value, kind.field, scope, f"`{kind.word}`")
                if value is not FAILED:
                    fields[kind.word] = value
            continue
        clause = inner.clause("from")
        if inner.quantity is None or clause is None:
            continue
        sources = _sources(clause.value, scope)
        if sources:
            written.append(inner)
            parts.append(MixPart(name=inner.kind.text, share=weight(inner.quantity), sources=tuple(sources)))
    shares = [s.quantity for s in statement.body or () if isinstance(s, Statement) and s.quantity is not None]
    percents = [share for share in shares if isinstance(share, Ratio)]
    if percents and len(percents) == len(shares) and sum(share.percent for share in percents) != 100:
        scope.report_shares(name, statement.name.span, percents)
    elif percents and len(percents) != len(shares):
        scope.report(
            "E302",
            f"some shares of `{name}` are percentages and some are not",
            statement.name.span,
            hint="give all of them percentages, or none",
        )
    elif not shares:
        scope.report(
            "E107",
            f"`{name}` mixes nothing",
            statement.name.span,
            hint="for example `natural 40% from natural`",
        )
    if not parts:
        return None
    plan = MixPlan(name=name, parts=tuple(parts), **fields)
    _check_size(plan, written, bound, scope)
    return plan


def _sources(expression: Expression, scope: Scope) -> list[str]:
    items = expression.items if isinstance(expression, List) else (expression,)
    found: list[str] = []
    for item in items:
        thing: Conversation | Source | None = scope.thing(
            item, (Conversation, Source), "a conversation or a source of them"
        )
        if isinstance(thing, Conversation):
            found.append(thing.name)
        elif thing is not None and thing.plan.type == "messages":
            found.append(thing.plan.name)
        elif thing is not None:
            scope.report(
                "E202", f"`{thing.plan.name}` gives chunks, and a mix is of conversations", item.span
            )
    return found


def _check_size(plan: MixPlan, written: list[Statement], bound: Bound, scope: Scope) -> None:
    """E303: a part whose conversations are counted must have what its share of the total asks."""
    whole = sum(part.share for part in plan.parts)
    if plan.total is None or plan.when_short != "fail" or not whole:
        return
    for part, statement in zip(plan.parts, written, strict=True):
        known = [bound.conversations[s].quota for s in part.sources if s in bound.conversations]
        if len(known) != len(part.sources):
            continue
        wanted = -(-plan.total * part.share // whole)
        if sum(known) < wanted - 1:
            scope.report(
                "E303",
                f"`{part.name}` is to give {wanted} of {plan.total} rows, and there are {sum(known)}",
                statement.span,
                hint="lower `total`, make more, or say `when_short = shrink`",
            )
