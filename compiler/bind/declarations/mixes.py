"""Binding of `mix`: shares of conversations and sources, and whether they can be had."""

from __future__ import annotations

from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.compiler.bind.blocks.bound import Bound, Conversation, Source
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, constant, weight
from synth.compiler.plan.outputs import MixPart, MixPlan
from synth.compiler.plan.strata import largest_remainder
from synth.dsl.syntax import Expression, List, Ratio, Statement


def bind_mix(statement: Statement, bound: Bound, scope: Scope) -> MixPlan | None:
    """The mix a statement declares."""
    if statement.name is None:
        return None
    name = statement.name.text
    parts: list[MixPart] = []
    written: list[Statement] = []
    fields: dict[str, Any] = {}
    placed: dict[str, Span] = {}
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
        sources = _sources(clause.value, placed, scope)
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
    elif shares and not any(weight(share) for share in shares):
        scope.report(
            "E302",
            f"the shares of `{name}` are all zero",
            statement.name.span,
            hint="give at least one part a share above zero",
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
    if len(parts) == len(shares):
        _check_size(plan, written, bound, scope)
    return plan


def _sources(expression: Expression, placed: dict[str, Span], scope: Scope) -> list[str]:
    """The places of a part.  `placed` are those of the whole mix so far: a row is in it once."""
    items = expression.items if isinstance(expression, List) else (expression,)
    found: list[str] = []
    for item in items:
        thing: Conversation | Source | None = scope.thing(
            item, (Conversation, Source), "a conversation or a source of them"
        )
        if thing is None:
            continue
        if isinstance(thing, Source) and thing.plan.type != "messages":
            scope.report(
                "E202", f"`{thing.plan.name}` gives chunks, and a mix is of conversations", item.span
            )
            continue
        name = thing.name if isinstance(thing, Conversation) else thing.plan.name
        if name in placed:
            scope.report(
                "E104",
                f"`{name}` is in the mix twice",
                item.span,
                secondary=(Label(placed[name], "here already"),),
                hint="name it in one part, with the share that it is to have",
            )
            continue
        placed[name] = item.span
        found.append(name)
    return found


def _check_size(plan: MixPlan, written: list[Statement], bound: Bound, scope: Scope) -> None:
    """E303: a part whose conversations are counted must have what its share of the total asks."""
    shares = [part.share for part in plan.parts]
    if plan.total is None or plan.when_short == "shrink" or not sum(shares):
        return
    counts = largest_remainder(shares, plan.total)
    for part, statement, wanted in zip(plan.parts, written, counts, strict=True):
        known = [bound.conversations[s].quota for s in part.sources if s in bound.conversations]
        if len(known) != len(part.sources):
            continue
        if sum(known) < wanted and (plan.when_short == "fail" or not sum(known)):
            scope.report(
                "E303",
                f"`{part.name}` is to give {wanted} of {plan.total} rows, and there are {sum(known)}",
                statement.span,
                hint="lower `total`, make more, or say `when_short = shrink`",
            )
