"""Binding of draws from tables: `draw x from source`, `draw x from row.list`, `sample(source, count = 3)`."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from synth.base.diagnostics.diagnostic import Label
from synth.compiler.bind.blocks.bound import Source
from synth.compiler.bind.conversations.axes import Axes, is_known_before, list_in
from synth.compiler.bind.expressions.arguments import bind_arguments
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.plan.signature import SOURCE, Parameter
from synth.compiler.plan.tables.table_plan import DealtPlan
from synth.compiler.plan.types import COUNT, Type
from synth.dsl.syntax import Argument, Call, Reference, Statement

_SAMPLE = (Parameter("source", SOURCE), Parameter("count", COUNT, 1))
# What `sample` takes for passages alone.
_OF_PASSAGES = ("about", "where")


@dataclass(frozen=True, slots=True)
class Dealt:
    """What is drawn from a table, with the type that its name has."""

    plan: DealtPlan
    type: Type


def draws_from_table(statement: Statement, axes: Axes, dealt: Container[str], scope: Scope) -> bool:
    """Whether a `draw` is from a source, from something of a row that the conversation is over, or of what is
    `dealt` above it."""
    clause = statement.clause("from")
    if clause is None or not isinstance(clause.value, Reference):
        return False
    first, *rest = clause.value.parts
    declared = scope.find(first.text)
    if declared is None:
        return False
    if rest and (first.text in dict(axes.types) or first.text in dealt):
        return True
    return isinstance(declared.thing, Source)


def bind_dealt(statement: Statement, axes: Axes, scope: Scope) -> Dealt | None:
    """The draw from a table that a statement declares; declares its name for what stands below."""
    clause = statement.clause("from")
    if statement.name is None or clause is None or not isinstance(clause.value, Reference):
        return None
    name = statement.name.text
    scope.later.pop(name, None)
    dealt = _from(name, clause.value, axes, scope)
    if dealt is None:
        scope.poisoned.add(name)
        return None
    declared = Declared(name, "draw", statement.name.span, dealt.type)
    return dealt if scope.declare(declared) else None


def _from(name: str, written: Reference, axes: Axes, scope: Scope) -> Dealt | None:
    declared, rest = scope.resolve_path(written)
    if declared is None:
        return None
    thing = declared.thing
    if isinstance(thing, Source) and not rest:
        plain = thing.plan.type == "messages"
        return Dealt(DealtPlan(name=name, table=thing.plan.name, plain=plain), thing.type)
    if isinstance(thing, Source):
        scope.report(
            "E202",
            f"`{written}` is no table: each row of `{declared.name}` has a `{rest[0]}` of its own",
            written.span,
            secondary=(Label(declared.span, f"this {declared.what}"),),
            hint=f"for example `over row in {declared.name}` and `draw {name} from row.{rest[0]}`",
        )
        return None
    if rest and written.parts[0].text not in dict(axes.types):
        scope.report(
            "E202",
            f"`{written}` is a list of what is drawn, and lists are drawn from what a conversation is over",
            written.span,
            hint=f"for example `over row in ...` and `draw {name} from row.{rest[0]}`",
        )
        return None
    item = list_in(written, declared, scope, "values are drawn from a list")
    if item is None:
        return None
    parts = [part.text for part in written.parts[1:]]
    above = axes.parent if axes.rows is not None and written.parts[0].text == axes.rows.name else None
    if above is not None and not is_known_before(parts, above):
        scope.report(
            "E202",
            f"`{written}` is made in a sample that `{above.name}` is made from",
            written.span,
            secondary=(Label(above.span, "samples of this conversation are gone through"),),
            hint=f"draw it in `{above.name}`, and quote it here",
        )
        return None
    path = tuple(part.text for part in written.parts)
    return Dealt(DealtPlan(name=name, of=path, plain=item.name != "record"), item)


def samples_rows(statement: Statement, scope: Scope) -> bool:
    """Whether a `let` is `sample` of a source of rows or messages."""
    value = statement.value
    if not isinstance(value, Call) or str(value.function) != "sample":
        return False
    for argument in value.arguments:
        if argument.name is None or argument.name.text == "source":
            source = argument.value
            declared = scope.find(source.parts[0].text) if isinstance(source, Reference) else None
            thing = None if declared is None else declared.thing
            return isinstance(thing, Source) and thing.plan.type != "chunk"
    return False


def bind_sample(statement: Statement, scope: Scope) -> Dealt | None:
    """The rows that `let s = sample(source, count = 3)` picks; declares its name for what stands below."""
    name, value = statement.name, statement.value
    if name is None or not isinstance(value, Call):
        return None
    scope.later.pop(name.text, None)
    sampled = _sampled(name.text, statement, value, scope)
    if sampled is None:
        scope.poisoned.add(name.text)
        return None
    return sampled if scope.declare(Declared(name.text, "let", name.span, sampled.type)) else None


def _sampled(name: str, statement: Statement, value: Call, scope: Scope) -> Dealt | None:
    for condition in statement.conditions:
        scope.report(
            "E108",
            f"`{name}` picks rows, which stands under no condition",
            condition.span,
            hint="put the condition on what quotes it",
        )
        return None
    if (argument := _for_passages(value.arguments)) is not None:
        scope.report(
            "E202",
            f"`sample` takes `{argument.name}` of a source of chunks, and this one has rows",
            argument.span,
            hint="`keep` in the source says which rows there are",
        )
        return None
    arguments = bind_arguments(
        "sample", value.arguments, _SAMPLE, value.span, "sample(tickets, count = 3)", scope
    )
    if arguments is None:
        return None
    declared = scope.find(str(arguments["source"]))
    assert declared is not None
    source, count = declared.thing, arguments["count"]
    if not isinstance(count, int) or count < 1:
        scope.report(
            "E202", f"`{name}` picks {count} rows", value.span, hint="for example `count = 3`, or drop it"
        )
        return None
    plan = DealtPlan(name=name, table=source.plan.name, count=count, plain=source.plan.type == "messages")
    return Dealt(plan, Type("list", (source.type,)))


def _for_passages(arguments: Sequence[Argument]) -> Argument | None:
    return next((a for a in arguments if a.name is not None and a.name.text in _OF_PASSAGES), None)
