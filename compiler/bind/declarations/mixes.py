"""Binding of `mix`: shares of conversations and sources, and whether they can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import Bound, Conversation, Source
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, constant, weight
from synth.compiler.plan.allot import largest_remainder
from synth.compiler.plan.outputs import MixPart, MixPlan
from synth.dsl.syntax import Expression, Integer, List, Name, Ratio, Reference, Statement


def bind_mix(statement: Statement, bound: Bound, scope: Scope) -> MixPlan | None:
    """The mix a statement declares."""
    if statement.name is None:
        return None
    name = statement.name.text
    parts: list[MixPart] = []
    written: list[Statement] = []
    fields: dict[str, Any] = {}
    placed: dict[str, Span] = {}
    names: dict[str, Statement] = {}
    sized: dict[str, Statement] = {}
    order: Statement | None = None
    for inner, kind in check_shape(statement.body or (), "mix", scope.diagnostics):
        if not isinstance(inner, Statement):
            continue
        if kind.field is not None:
            if kind.word == "order":
                order = inner
            elif inner.value is not None:
                sized[kind.word] = inner
                value = constant(inner.value, kind.field, scope, f"`{kind.word}`")
                if value is not FAILED:
                    fields[kind.word] = value
            continue
        clause = inner.clause("from")
        if clause is None:
            continue
        names[inner.kind.text] = inner
        sources = _sources(clause.value, placed, scope)
        if sources:
            written.append(inner)
            parts.append(MixPart(name=inner.kind.text, share=weight(inner.quantity), sources=tuple(sources)))
    shares = [s.quantity for s in statement.body or () if isinstance(s, Statement) and s.quantity is not None]
    _check_shares(statement.name, shares, names, scope)
    if order is not None:
        fields["order"] = _order(order, names, scope)
    if not parts:
        return None
    if not shares:
        _check_whole(name, sized, scope)
        fields = {"whole": True, "order": fields.get("order", ())}
    plan = MixPlan(name=name, parts=tuple(parts), **fields)
    if len(parts) == len(shares):
        _check_size(plan, written, bound, scope)
    return plan


def _check_shares(
    name: Name, shares: Sequence[Integer | Ratio], parts: Mapping[str, Statement], scope: Scope
) -> None:
    """E302: shares are of one kind and add up, or no part has one; E107: there are parts."""
    lacking = next((part for part in parts.values() if part.quantity is None), None)
    percents = [share for share in shares if isinstance(share, Ratio)]
    if shares and lacking is not None:
        scope.report(
            "E302",
            f"`{lacking.kind}` has no share, and other parts of `{name}` do",
            lacking.kind.span,
            hint="give every part a share; without any, all rows of all parts are taken",
        )
    elif percents and len(percents) == len(shares) and sum(share.percent for share in percents) != 100:
        scope.report_shares(name.text, name.span, percents)
    elif percents and len(percents) != len(shares):
        scope.report(
            "E302",
            f"some shares of `{name}` are percentages and some are not",
            name.span,
            hint="give all of them percentages, or none",
        )
    elif shares and not any(weight(share) for share in shares):
        scope.report(
            "E302",
            f"the shares of `{name}` are all zero",
            name.span,
            hint="give at least one part a share above zero",
        )
    elif not shares and not parts:
        scope.report(
            "E107",
            f"`{name}` mixes nothing",
            name.span,
            hint="for example `natural 40% from natural`",
        )


def _order(statement: Statement, names: dict[str, Statement], scope: Scope) -> tuple[str, ...]:
    """The parts in the order that `order` gives them; nothing after a report."""
    value = statement.value
    hint = f"for example `order = [{', '.join(names)}]`"
    if not isinstance(value, List):
        scope.report("E202", "`order` lists the parts of the mix", statement.span, hint=hint)
        return ()
    order: list[str] = []
    for item in value.items:
        if not isinstance(item, Reference) or str(item) not in names:
            guess = suggest(str(item), names) if isinstance(item, Reference) else None
            scope.report(
                "E101",
                f"`{item.span.text}` is no part of this mix",
                item.span,
                hint=f"did you mean `{guess}`?" if guess else hint,
            )
            return ()
        if str(item) in order:
            scope.report("E104", f"`{item}` is listed twice", item.span, hint="keep one of them")
            return ()
        order.append(str(item))
    if lacking := [name for name in names if name not in order]:
        scope.report(
            "E107",
            f"`order` does not say where `{lacking[0]}` comes",
            value.span,
            secondary=(Label(names[lacking[0]].kind.span, "this part"),),
            hint="list every part, or drop `order`: the parts are then interleaved",
        )
        return ()
    return tuple(order)


def _check_whole(name: str, fields: dict[str, Statement], scope: Scope) -> None:
    """E108: what says how many rows there are of a mix that takes all."""
    for word, statement in fields.items():
        scope.report(
            "E108",
            f"`{name}` has no shares, so it takes all rows, and `{word}` says nothing",
            statement.kind.span,
            hint="give every part a share, or drop it",
        )


def _sources(expression: Expression, placed: dict[str, Span], scope: Scope) -> list[str]:
    """The places of a part.  `placed` are those of the whole mix so far: a row is in it once."""
    items = expression.items if isinstance(expression, List) else (expression,)
    places: list[str] = []
    for item in items:
        thing: Conversation | Source | None = scope.thing(
            item, (Conversation, Source), "a conversation or a source of them"
        )
        if thing is None:
            continue
        if isinstance(thing, Source) and thing.plan.type != "messages":
            kind = "chunks" if thing.plan.type == "chunk" else "rows"
            scope.report(
                "E202", f"`{thing.plan.name}` gives {kind}, and a mix is of conversations", item.span
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
        places.append(name)
    return places


def _check_size(plan: MixPlan, written: list[Statement], bound: Bound, scope: Scope) -> None:
    """E303: a part whose conversations are counted must have what its share of the total asks."""
    shares = [part.share for part in plan.parts]
    if plan.total is None or plan.when_short == "shrink" or not sum(shares):
        return
    counts = largest_remainder(shares, plan.total)
    for part, statement, wanted in zip(plan.parts, written, counts, strict=True):
        places = [bound.conversations[name] for name in part.sources if name in bound.conversations]
        # How many rows there are to be over is known once they are read.
        known = [place.quota for place in places if not place.each]
        if len(known) != len(part.sources):
            continue
        if sum(known) < wanted and (plan.when_short == "fail" or not sum(known)):
            scope.report(
                "E303",
                f"`{part.name}` is to give {wanted} of {plan.total} rows, and there are {sum(known)}",
                statement.span,
                hint="lower `total`, make more, or say `when_short = shrink`",
            )
