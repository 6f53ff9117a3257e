"""Binding of an export's `columns`: typed paths into samples, each with the name of a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.blocks.bound import Conversation, Preference
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.declarations.column_places import Columns
from synth.compiler.bind.declarations.column_types import common_type, without_bounds
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import article
from synth.compiler.plan.outputs import ColumnPlace, ColumnPlan
from synth.compiler.plan.types import CHUNK_SCHEMA, TEXT, UNKNOWN, Type
from synth.compiler.plan.value_types import value_type
from synth.dsl.syntax import Call, Expression, List, Name, Reference, Statement

# What trainers look for in any row: beside the columns of another form, one of them would win.
_READ_BY_TRAINERS = frozenset(
    "messages conversations prompt completion chosen rejected label tools images input_ids labels "
    "attention_mask completion_mask chat_template_kwargs".split()
)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a column's value is, and of what type."""

    place: ColumnPlace
    type: Type
    rest: bool
    span: Span


def bind_columns(statement: Statement, known: Columns, scope: Scope) -> tuple[str | ColumnPlan, ...]:
    """The columns of `columns = [identity.world]`, or of `columns { world = identity.world }`."""
    if statement.value is not None and statement.body is not None:
        scope.report(
            "E108",
            "`columns` is a list, or a block of names, and not both",
            statement.value.span,
            hint="write all of them in the block: `name = path`",
        )
        return ()
    columns: dict[str, str | ColumnPlan] = {}
    for name, written in _written(statement, known, scope):
        places = [place for item in written if (place := _place(item, known, scope)) is not None]
        if len(places) < len(written) or not places:
            continue
        if (column := _column(name, places, known, scope)) is None:
            continue
        if name.text in columns:
            _report_twice(name, columns[name.text], column, scope)
        elif not _is_taken(name, places, statement.value is not None, known, scope):
            columns[name.text] = column
    return tuple(columns.values())


def _written(
    statement: Statement, known: Columns, scope: Scope
) -> Iterator[tuple[Name, Sequence[Expression]]]:
    """The columns' names, each with the paths that it stands for."""
    if statement.body is not None:
        for inner, _ in check_shape(statement.body, "columns", scope.diagnostics):
            if isinstance(inner, Statement) and inner.value is not None:
                paths = inner.value.items if isinstance(inner.value, List) else (inner.value,)
                if paths:
                    yield inner.kind, paths
                    continue
                scope.report(
                    "E202",
                    f"`{inner.kind}` is a column of nothing",
                    inner.value.span,
                    hint=f"for example `{inner.kind} = {known.example()}`",
                )
        return
    if not isinstance(statement.value, List):
        scope.report(
            "E202",
            "`columns` is a list of paths, or a block of names",
            statement.span,
            hint=f"for example `columns = [{known.example()}]` or `columns {{ name = {known.example()} }}`",
        )
        return
    for item in statement.value.items:
        if isinstance(item, Reference) and len(item.parts) > 1:
            yield item.parts[-1], (item,)
        elif isinstance(item, (Call, List)):
            scope.report(
                "E202",
                f"`{item.span.text}` is no path, so the column has no name",
                item.span,
                hint=f"give it one: `columns {{ name = {item.span.text} }}`",
            )
        else:
            _report_no_path(item, known, scope)


def _report_no_path(item: Expression, known: Columns, scope: Scope) -> None:
    scope.report(
        "E202",
        "a column is named with its conversation",
        item.span,
        hint=f"for example `{known.example()}`",
    )


def _place(item: Expression, known: Columns, scope: Scope) -> _Found | None:
    """What a path leads to, or `rest(path)`; None after a report."""
    rest = isinstance(item, Call) and str(item.function) == "rest"
    path = item
    if isinstance(item, Call):
        if not rest or len(item.arguments) != 1 or item.arguments[0].name is not None:
            scope.report(
                "E203" if not rest else "E202",
                f"there is no column `{item.function}(..)`" if not rest else "`rest` takes one row",
                item.span,
                hint="`rest(chats.ticket)` is the JSON of a row's other columns",
            )
            return None
        path = item.arguments[0].value
    if not isinstance(path, Reference) or len(path.parts) < 2:
        _report_no_path(path, known, scope)
        return None
    holder, *inner = path.parts
    conversation = known.places.get(holder.text)
    if conversation is None:
        _report_holder(holder, known, scope)
        return None
    type_ = _type_of(conversation, inner, known, scope)
    if type_ is None:
        return None
    if rest and _is_row(conversation, inner):
        type_ = TEXT
    elif rest:
        scope.report(
            "E202",
            f"`{path}` is {article(type_)}, and only a row has other columns",
            path.span,
            hint="`rest` takes what a conversation is over, where that is a source of rows",
        )
        return None
    place = ColumnPlace(source=holder.text, path=tuple(name.text for name in inner))
    return _Found(place, type_, rest, path.span)


def _report_holder(holder: Name, known: Columns, scope: Scope) -> None:
    if scope.is_poisoned(holder.text):
        return
    if holder.text in known.sources:
        scope.report(
            "E202",
            f"rows of `{holder}` are messages, and have no columns",
            holder.span,
            hint=f"columns are of conversations: `{known.example()}`; elsewhere they are null",
        )
        return
    guess = suggest(holder.text, known.places)
    if guess is None and len(known.places) == 1:
        guess = next(iter(known.places))
    scope.report(
        "E101",
        f"`{holder}` is not what is exported here",
        holder.span,
        hint=f"did you mean `{guess}`?" if guess else f"that is {some_of(known.places)}",
    )


def _type_of(
    conversation: Conversation | Preference, path: Sequence[Name], known: Columns, scope: Scope
) -> Type | None:
    """The type of what a path leads to inside of a conversation's samples."""
    first, *rest = path
    values = known.values(conversation)
    if first.text not in values:
        _report_unknown(conversation, first, known, scope)
        return None
    table, above = None, None
    if isinstance(conversation, Conversation):
        table, above = conversation.table, conversation.parent
    if above is not None and table is not None and first.text == table.name:
        if rest:
            return _type_of(above, rest, replace(known, attempts=False), scope)
        scope.report(
            "E202",
            f"`{conversation.name}.{first}` is a whole sample, and a column holds a value of it",
            first.span,
            hint=f"for example `{conversation.name}.{first}.nth`",
        )
        return None
    type_, member = values[first.text]
    if member and not rest:
        # A set's member is its name.
        return TEXT
    optional = type_.optional
    for number, name in enumerate(rest):
        marks = type_.beside.field(name.text) if type_.beside is not None else None
        type_ = type_.arguments[0] if type_.name == "json" else type_
        optional = optional or type_.optional
        if type_.name == "unknown":
            return UNKNOWN
        schema = CHUNK_SCHEMA if type_.name == "chunk" else type_.schema
        inner = schema.field(name.text) if schema is not None else None
        if inner is None:
            inner = TEXT if member and number == 0 and name.text == "name" else marks
        if inner is None:
            fields = [field for field, _ in schema.fields] if schema is not None else []
            guess = suggest(name.text, fields)
            before = ".".join([conversation.name, *(part.text for part in path[: number + 1])])
            kind = "" if schema is not None else f"{article(type_)}, which has no fields: it "
            scope.report(
                "E102",
                f"`{before}` {'is ' + kind if kind else ''}has no `{name}`",
                name.span,
                hint=f"did you mean `{guess}`?" if guess else (f"it has {some_of(fields)}" if fields else ""),
            )
            return None
        type_ = inner
    type_ = type_.arguments[0] if type_.name == "json" else type_
    return replace(type_, optional=optional or type_.optional)


def _is_row(conversation: Conversation | Preference, path: Sequence[Name]) -> bool:
    """Whether a path leads to a row of a source of rows, which may have other columns."""
    if isinstance(conversation, Preference):
        return False
    table, above = conversation.table, conversation.parent
    if len(path) == 1 and any(draw.table and draw.name == path[0].text for draw in conversation.dealt):
        return dict(conversation.outside)[path[0].text].name == "record"
    if table is None or not path or path[0].text != table.name:
        return False
    if above is not None:
        return _is_row(above, path[1:])
    return len(path) == 1 and dict(conversation.outside)[table.name].name == "record"


def _report_unknown(
    conversation: Conversation | Preference, name: Name, known: Columns, scope: Scope
) -> None:
    values = known.values(conversation)
    if isinstance(conversation, Preference):
        sample = next((place for place in known.places.values() if isinstance(place, Conversation)), None)
        guess = suggest(name.text, values)
        if guess is None and sample is not None and name.text in known.values(sample):
            guess = f"{sample.name}.{name}"
        scope.report(
            "E102",
            f"`{conversation.name}` has no `{name}`",
            name.span,
            hint=f"did you mean `{guess}`?" if guess else f"for example `{known.example()}`",
        )
        return
    if known.attempts and any(step.name == name.text for step in conversation.steps):
        # The sample may have been given up before the step had a value.
        first = next((value for value in values if value != "nth"), "nth")
        scope.report(
            "E202",
            f"`{name}` is no column of refused attempts: theirs are axes and draws",
            name.span,
            hint=f"for example `{conversation.name}.{first}`",
        )
    elif name.text not in conversation.poisoned:
        guess = suggest(name.text, values)
        scope.report(
            "E102",
            f"`{conversation.name}` has no `{name}`",
            name.span,
            hint=f"did you mean `{guess}`?" if guess else f"it has {some_of(values)}",
        )


def _is_taken(name: Name, places: list[_Found], listed: bool, known: Columns, scope: Scope) -> bool:
    """E104: a row has such a column already, or trainers would take it for another."""
    path = places[0].place
    if listed and len(path.path) == 1:
        hint = (
            f"give it another name here, `columns {{ other = {path.source}.{name} }}`, or in `{path.source}`"
        )
    else:
        held = path.path[-2] if len(path.path) > 1 else path.source
        written = f"rest({path})" if places[0].rest else str(path)
        hint = f"give it another name: `columns {{ {held}_{name} = {written} }}`"
    if name.text in known.taken:
        scope.report("E104", f"a row has a column `{name}` already", name.span, hint=hint)
    elif name.text in _READ_BY_TRAINERS:
        scope.report("E104", f"trainers take a column `{name}` for what they train on", name.span, hint=hint)
    else:
        return False
    return True


def _report_twice(name: Name, first: str | ColumnPlan, second: str | ColumnPlan, scope: Scope) -> None:
    if first == second:
        scope.report("E104", f"`{name}` is listed twice", name.span, hint="keep one of them")
        return
    ones, others = (
        (column.places[0] if isinstance(column, ColumnPlan) else None) for column in (first, second)
    )
    paths = [".".join((place.source, *place.path)) for place in (ones, others) if place is not None]
    in_one = len(paths) == 2 and ones is not None and others is not None and ones.source != others.source
    scope.report(
        "E104",
        f"two columns are called `{name}`",
        name.span,
        hint=f"as one column: `columns {{ {name} = [{', '.join(paths)}] }}`"
        if in_one
        else f"give one of them another name: `columns {{ other_{name} = ... }}`",
    )


def _column(name: Name, places: list[_Found], known: Columns, scope: Scope) -> str | ColumnPlan | None:
    """The column of a name: its places are of one type and of different conversations."""
    first = places[0]
    type_ = without_bounds(first.type)
    if known.together and len(places) > 1:
        scope.report(
            "E202",
            f"`{name}` has two places in each row of pairs",
            places[1].span,
            secondary=(Label(first.span, "one"),),
            hint="give each a column of its own",
        )
        return None
    for number, other in enumerate(places[1:], 1):
        before = next((one for one in places[:number] if one.place.source == other.place.source), None)
        if before is not None:
            scope.report(
                "E104",
                f"`{name}` has two places in `{other.place.source}`",
                other.span,
                secondary=(Label(before.span, "one"),),
                hint="a column has one place in each conversation",
            )
            return None
        if other.rest != first.rest:
            scope.report(
                "E202",
                f"`{name}` is the other columns of a row in one place, and a value in the other",
                other.span,
                hint="give them names of their own",
            )
            return None
        both = common_type(type_, without_bounds(other.type))
        if both is None:
            scope.report(
                "E202",
                f"`{name}` is {article(without_bounds(first.type))} in `{first.place.source}` and "
                f"{article(without_bounds(other.type))} in `{other.place.source}`",
                other.span,
                secondary=(Label(first.span, f"{article(without_bounds(first.type))} here"),),
                hint="a column has one type: give them names of their own",
            )
            return None
        type_ = both
    textual = type_.name in ("text", "path", "enum", "unknown") and not type_.optional
    place = known.places[first.place.source]
    if isinstance(place, Conversation) and not known.mixed and not known.together:
        dealt = next((d for d in place.draws if d.name == name.text), None)
        # A cell has the name of a part, or of a row's item, not the value.
        textual = textual and name.text not in dict(place.outside)
        textual = textual and not (dealt is not None and dealt.spread is not None and dealt.spread.in_parts)
        if textual and first.place.path == (name.text,):
            return name.text
    return ColumnPlan(
        name=name.text,
        type=value_type(type_),
        places=tuple(one.place for one in places),
        rest=first.rest,
    )
