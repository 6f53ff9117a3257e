"""Binding of `over`: what the samples of a conversation vary over, and how many there are of each."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from math import prod

from synth.base.canonical import Frozen
from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.blocks.bound import (
    Axis,
    Bound,
    Calling,
    Choosing,
    Conversation,
    SetOf,
    Source,
    Step,
    ToolUse,
)
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import FAILED, article, constant, field_type
from synth.compiler.plan.tables.table_plan import ListPlan, TablePlan
from synth.compiler.plan.types import COUNT, Schema, Type, record
from synth.dsl.syntax import Clause, Integer, List, Reference, Statement

_HINT = "samples vary over a set, a source, a list of a row, or another conversation"
# What is bound after conversations, and so is not known by name where they are.
_LATER = {"mix": "a mix", "export": "an export", "preference": "a preference", "evaluation": "an evaluation"}


@dataclass(slots=True)
class Axes:
    """The axes of a conversation: sets, and a table's rows with lists of theirs.  They are `whole` where
    none failed to be bound."""

    sets: list[Axis] = field(default_factory=list)
    rows: TablePlan | None = None
    rows_span: Span | None = None
    parent: Conversation | None = None
    # The types of a row and of the items of its lists, by name.
    types: tuple[tuple[str, Type], ...] = ()
    whole: bool = True

    @property
    def cells(self) -> int:
        return prod(len(axis.set.members) for axis in self.sets)

    def with_uses(self, steps: Sequence[object]) -> TablePlan | None:
        """The table, with what of its rows some steps use: samples are made anew when that changes."""
        if self.rows is None:
            return None
        quoted = uses_of({name for name, _ in self.types}, steps)
        if self.parent is not None:
            above = self.rows.name
            quoted = [path for path in quoted if path[0] != above or _is_of_a_row(path[1:], self.parent)]
        return self.rows.model_copy(update={"uses": tuple(quoted)})


def uses_of(names: Container[str], steps: Sequence[object]) -> list[tuple[str, ...]]:
    """What of some names steps look up, in one order."""
    return sorted({path for step in steps for path in _paths(step) if path[0] in names})


def _paths(part: object) -> Iterator[tuple[str, ...]]:
    """Every path that a step looks up, wherever in it that stands."""
    if isinstance(part, Frozen):
        path = getattr(part, "path", None)
        if isinstance(path, tuple) and path:
            yield path
        for name in type(part).model_fields:
            yield from _paths(getattr(part, name))
    elif isinstance(part, ToolUse):
        # What a model that plays it looks up are its arguments.
        yield from _paths(part.plan)
    elif isinstance(part, Step | Choosing | Calling):
        for field in dataclass_fields(part):
            yield from _paths(getattr(part, field.name))
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from _paths(value)
    elif isinstance(part, tuple | list):
        for item in part:
            yield from _paths(item)


def _is_of_a_row(path: Sequence[str], parent: Conversation) -> bool:
    """Whether a path into a sample leads to a row of a source: all else follows from the sample's own name
    and inputs."""
    if not path or path[0] not in dict(parent.outside):
        return False
    if parent.parent is not None and parent.table is not None and path[0] == parent.table.name:
        return _is_of_a_row(path[1:], parent.parent)
    return True


def bind_axes(statement: Statement, bound: Bound, scope: Scope) -> Axes:
    """The axes that a statement's `over` clauses name; declares their names."""
    axes = Axes()
    for clause in statement.clauses:
        if clause.word != "over" or clause.name is None:
            continue
        type_ = _bind_axis(clause, axes, statement, bound, scope)
        if type_ is None:
            scope.poisoned.add(clause.name.text)
            axes.whole = False
        elif scope.declare(Declared(clause.name.text, "axis", clause.name.span, type_)):
            if not (axes.sets and axes.sets[-1].name == clause.name.text):
                axes.types += ((clause.name.text, type_),)
        else:
            axes.whole = False
    return axes


def _bind_axis(clause: Clause, axes: Axes, statement: Statement, bound: Bound, scope: Scope) -> Type | None:
    """The type that an axis' name has; None after a report."""
    assert clause.name is not None
    name, span = clause.name.text, clause.name.span.to(clause.value.span)
    reference = clause.value
    if not isinstance(reference, Reference):
        scope.report(
            "E202",
            "what samples vary over is named here",
            reference.span,
            hint=f"`draw {name} from [...]` goes through a list that is written out; {_HINT}"
            if isinstance(reference, List)
            else _HINT,
        )
        return None
    if statement.name is not None and str(reference) == statement.name.text:
        scope.report(
            "E206",
            f"`{statement.name}` is over its own samples",
            reference.span,
            hint="write a second conversation over the samples of the first",
        )
        return None
    if (later := bound.kinds.get(str(reference))) in _LATER:
        scope.report(
            "E202", f"`{reference}` is {_LATER[later]}, which has no rows", reference.span, hint=_HINT
        )
        return None
    declared, rest = scope.resolve_path(reference)
    if declared is None:
        return None
    if isinstance(declared.thing, Source | Conversation) and rest:
        scope.report(
            "E202",
            f"`{reference}` is no table: each row of `{declared.name}` has a `{rest[0]}` of its own",
            reference.span,
            secondary=(Label(declared.span, f"this {declared.what}"),),
            hint=f"for example `over row in {declared.name} over {name} in row.{rest[0]}`",
        )
        return None
    if declared.what == "axis" or rest:
        return _bind_list(clause, declared, axes, scope)
    thing = declared.thing
    if isinstance(thing, SetOf):
        axes.sets.append(Axis(name, thing, span))
        return record(thing.schema)
    if not isinstance(thing, Source | Conversation):
        scope.report(
            "E202",
            f"`{reference}` is a {declared.what}, which has no rows",
            reference.span,
            secondary=(Label(declared.span, "declared here"),),
            hint=f"`draw {name} from {reference}` goes through a list; {_HINT}"
            if declared.type is not None and declared.type.name == "list"
            else _HINT,
        )
        return None
    if axes.rows is not None:
        scope.report(
            "E108",
            f"`{name}` is a second axis of rows, and a conversation has one",
            span,
            secondary=() if axes.rows_span is None else (Label(axes.rows_span, "the first"),),
            hint="put what belongs together into one table, a row for each sample",
        )
        return None
    axes.rows_span = span
    if isinstance(thing, Source):
        plain = thing.plan.type == "messages"
        axes.rows = TablePlan(name=name, kind="source", table=thing.plan.name, plain=plain)
        return thing.type
    axes.rows = TablePlan(name=name, kind="conversation", table=thing.name)
    axes.parent = thing
    return sample_type(thing)


def _bind_list(clause: Clause, declared: Declared, axes: Axes, scope: Scope) -> Type | None:
    """`over fact in page.facts`: a list that each row has, or `over fact in parent.page.facts`."""
    assert clause.name is not None
    assert isinstance(clause.value, Reference)
    reference = clause.value
    path = tuple(part.text for part in reference.parts)
    rows = axes.rows
    if rows is None or rows.name != path[0]:
        wrong = f"`{reference}` is no list of a row that this conversation is over"
        hint = "for example `over page in pages over fact in page.facts`; `draw` goes through other lists"
    else:
        wrong, hint = "", ""
    item = list_in(reference, declared, scope, "samples vary over the items of a list", (wrong, hint))
    if item is None or rows is None:
        return None
    if axes.parent is not None and not is_known_before(path[1:], axes.parent):
        scope.report(
            "E202",
            f"`{reference}` is made in a sample that `{axes.parent.name}` is made from",
            reference.span,
            secondary=(Label(axes.parent.span, "samples of this conversation are gone through"),),
            hint=f"put a conversation over it in between, or draw from it in `{axes.parent.name}`",
        )
        return None
    plan = ListPlan(name=clause.name.text, path=path[1:], plain=item.name != "record")
    axes.rows = rows.model_copy(update={"lists": (*rows.lists, plan)})
    return item


def is_known_before(path: Sequence[str], conversation: Conversation) -> bool:
    """Whether what a path leads to in a conversation's samples is known once they stand: steps of those that
    they are made of are looked up no earlier than a sample begins."""
    first, *rest = path
    table, above = conversation.table, conversation.parent
    if above is None or table is None or first != table.name or not rest:
        return True
    return not any(step.name == rest[0] for step in above.steps) and is_known_before(rest, above)


def list_in(
    reference: Reference, declared: Declared, scope: Scope, use: str, unfit: tuple[str, str] = ("", "")
) -> Type | None:
    """The type of the items of the list that a path leads to; None after a report, which says what such lists
    are for, or what else is `unfit` about it."""
    type_: Type | None = declared.type
    for part in reference.parts[1:]:
        above, type_ = type_, None if type_ is None else field_type(type_, part.text)
        if type_ is None:
            if scope.first(f"{declared.name}.{part}"):
                lists = _lists(above)
                guess = suggest(part.text, lists)
                scope.report(
                    "E102",
                    f"`{declared.name}` has no `{part}`",
                    reference.span,
                    secondary=(Label(declared.span, f"this {declared.what}"),),
                    hint=f"did you mean `{guess}`?"
                    if guess
                    else f"lists in its schema: {some_of(lists)}"
                    if lists
                    else "its schema has no list; declare one, for example `tags: list<text>?`",
                )
            return None
    if type_ is not None and type_.name == "unknown":
        return None
    if unfit[0]:
        scope.report("E202", unfit[0], reference.span, hint=unfit[1])
        return None
    if type_ is None or type_.name != "list":
        kind = "nothing" if type_ is None else article(type_)
        lists = _lists(declared.type)
        scope.report(
            "E202",
            f"`{reference}` is {kind}, and {use}",
            reference.span,
            secondary=(Label(declared.span, f"this {declared.what}"),),
            hint=f"lists in its schema: {some_of(lists)}"
            if lists
            else f"where it is one, its schema says so: `{reference.parts[-1]}: list<text>`",
        )
        return None
    return type_.arguments[0]


def _lists(type_: Type | None) -> list[str]:
    """The fields of a row that are lists."""
    if type_ is None or type_.schema is None:
        return []
    return [name for name, of in type_.schema.fields if of.name == "list"]


def sample_type(conversation: Conversation) -> Type:
    """What a sample of a conversation is to what is made of it: its steps, draws, axes and `nth`."""
    fields: list[tuple[str, Type]] = [("nth", COUNT), *conversation.outside]
    fields += [(axis.name, record(axis.set.schema)) for axis in conversation.axes]
    fields += [(draw.name, draw.record) for draw in conversation.draws]
    fields += [(step.name, step.output) for step in conversation.steps]
    return record(Schema(conversation.name, tuple(fields)))


def bind_times(statement: Statement, scope: Scope) -> int | None:
    """How many samples there are of each combination: 1 where that is not said."""
    clause = statement.clause("times")
    if clause is None:
        if statement.clause("over") is None:
            scope.report(
                "E107",
                f"`{statement.name}` needs `times`",
                (statement.name or statement.kind).span,
                hint=f"for example `conversation {statement.name} times {_meant_times(statement)} {{ }}`, or "
                f"say what it is over: `over row in ...`",
            )
            return None
        return 1
    value = constant(clause.value, COUNT, scope, "`times`")
    return None if value is FAILED else int(value)


def _meant_times(statement: Statement) -> int:
    """The count that stands where only `times` would make it."""
    return statement.quantity.value if isinstance(statement.quantity, Integer) else 100


def bind_count(statement: Statement, axes: Axes, times: int, scope: Scope) -> int | None:
    """How many samples of rows are asked for; None where every row is."""
    declared = statement.quantity
    if declared is None or statement.name is None:
        return None
    if not isinstance(declared, Integer):
        scope.report(
            "E202",
            f"`{statement.name}` is declared as a share, and how many rows it takes is a count",
            declared.span,
            hint=f"for example `conversation {statement.name} 500 over row in ...`; without a count it "
            f"takes all",
        )
        return 0
    per_row = axes.cells * times
    if axes.whole and per_row and declared.value % per_row:
        written = [clause for clause in statement.clauses if clause.word == "times"]
        near = max(per_row, round(declared.value / per_row) * per_row)
        scope.report(
            "E301",
            f"`{statement.name}` is declared as {declared.value} conversations, and each row makes {per_row}",
            declared.span,
            label="declared",
            secondary=(
                *(Label(axis.span, f"{len(axis.set.members)} {axis.name}s") for axis in axes.sets),
                *(Label(clause.span, f"{times} of each") for clause in written),
            ),
            hint=f"declare a multiple of {per_row}, such as {near}; without a count every row is asked for",
        )
    return declared.value


def refuse_no_times(statement: Statement, times: int, scope: Scope) -> None:
    """E202: rows that are gone through and make nothing."""
    clause = statement.clause("times")
    if clause is not None and not times:
        scope.report(
            "E202",
            f"`times {clause.value.span.text}` makes no sample of any row",
            clause.value.span,
            hint="drop it for one of each; `--limit` keeps a run small",
        )


def order_conversations(statements: Sequence[Statement], scope: Scope) -> list[Statement]:
    """The conversations of a file, each after the one whose samples it is over.  E206 for a circle."""
    by_name = {s.name.text: s for s in statements if s.name is not None}
    ordered: list[Statement] = []
    open_: list[str] = []

    def visit(statement: Statement) -> None:
        if any(statement is known for known in ordered) or statement.name is None:
            return
        open_.append(statement.name.text)
        for clause in statement.clauses:
            over = str(clause.value) if clause.word == "over" and isinstance(clause.value, Reference) else ""
            if over in open_ and over != statement.name.text:
                circle = " by way of ".join(
                    f"`{name}`" for name in (over, *reversed(open_[open_.index(over) + 1 :]))
                )
                scope.report(
                    "E206",
                    f"{circle} is over its own samples",
                    clause.value.span,
                    hint="one of them begins with a source or a set",
                )
                scope.poisoned.add(over)
            elif over in by_name and over != statement.name.text:
                visit(by_name[over])
        open_.pop()
        ordered.append(statement)

    for statement in statements:
        visit(statement)
    return ordered
