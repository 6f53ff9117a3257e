"""Binding of `source`: readers, splitters and indexes, and the filter over what is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import Source
from synth.compiler.bind.blocks.check_blocks import bind_block
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.blocks.subject import Subject
from synth.compiler.bind.expressions.arguments import bind_arguments
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import FAILED, article, constant
from synth.compiler.bind.expressions.written_types import always_there, resolve_type
from synth.compiler.plan.model import SourcePlan
from synth.compiler.plan.signature import Parameter
from synth.compiler.plan.steps import CallPlan, CheckPlan
from synth.compiler.plan.types import CHUNK, COUNT, MESSAGES, PATH, TEXT, Schema, Type, unreadable
from synth.compiler.plan.value_types import ValueType, value_type
from synth.dsl.syntax import Call, Expression, Statement, TypeName


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a source is made with; `gives` is what a reader reads.  One that gives messages
    gives rows of a schema too."""

    name: str
    parameters: tuple[Parameter, ...]
    example: str
    gives: Type | None = None


_PATH = Parameter("path", PATH)
_COLUMNS = (
    Parameter("prompt", TEXT, optional=True),
    Parameter("response", TEXT, optional=True),
    Parameter("messages", TEXT, optional=True),
    Parameter("thought", TEXT, optional=True),
    Parameter("id", TEXT, optional=True),
    Parameter("limit", COUNT, optional=True),
)
# How conversations are found in columns; the fields of a schema are read by their own names.
_OF_MESSAGES = ("prompt", "response", "messages", "thought")
# Written as text: how an index finds what a query is about.
_SEARCH = Type("choice", words=("text", "vector", "hybrid"))

READERS: Mapping[str, Function] = {
    function.name: function
    for function in (
        Function("jsonl", (_PATH, *_COLUMNS), 'jsonl("data/chat.jsonl")', MESSAGES),
        Function("json", (_PATH, *_COLUMNS), 'json("data/chat.json")', MESSAGES),
        Function("csv", (_PATH, *_COLUMNS), 'csv("data/chat.csv", prompt = "q", response = "a")', MESSAGES),
        Function("parquet", (_PATH, *_COLUMNS), 'parquet("data/chat.parquet")', MESSAGES),
        Function("dataset", (_PATH, *_COLUMNS), 'dataset("data/saved")', MESSAGES),
        Function(
            "folder", (_PATH, Parameter("glob", TEXT, "**/*")), 'folder("docs", glob = "**/*.md")', CHUNK
        ),
        Function(
            "lancedb",
            (
                _PATH,
                Parameter("table", TEXT, optional=True),
                Parameter("text", TEXT, "text"),
                *(Parameter(name, TEXT, optional=True) for name in ("document", "heading", "id", "vector")),
            ),
            'lancedb("store", text = "body")',
            CHUNK,
        ),
    )
}

SPLITTERS: Mapping[str, Function] = {
    function.name: function
    for function in (
        Function(
            "by_heading",
            (Parameter("max_words", COUNT, 220), Parameter("overlap", COUNT, 30)),
            "by_heading(max_words = 220, overlap = 30)",
        ),
        Function(
            "by_size",
            (Parameter("max_words", COUNT, 220), Parameter("overlap", COUNT, 30)),
            "by_size(max_words = 220, overlap = 30)",
        ),
    )
}

INDEXES: Mapping[str, Function] = {
    "lancedb": Function(
        "lancedb",
        (
            Parameter("uri", PATH),
            Parameter("search", _SEARCH, "text"),
            Parameter("embedder", Type("model", words=("embed",)), optional=True),
        ),
        'lancedb("index/docs", search = "hybrid")',
    )
}


def bind_source(statement: Statement, scope: Scope, schemas: dict[str, Schema]) -> Source | None:
    """The source a statement declares, or None where its faults leave nothing to go on with."""
    clause = statement.clause("from")
    if statement.name is None or statement.type is None or clause is None:
        return None
    type_ = resolve_type(statement.type, scope, schemas)
    if type_ is None:
        return None
    row = _row_of(type_, statement.type, scope)
    if row is None and type_ not in (MESSAGES, CHUNK):
        if type_.name != "record":
            scope.report(
                "E202",
                f"a source gives messages, chunk or the rows of a schema, not {type_}",
                statement.type.span,
            )
        return None
    reader = bind_function(clause.value, READERS, "a reader", scope)
    if reader is None:
        return None
    gives = READERS[reader.name].gives
    if gives != (MESSAGES if row is not None else type_):
        scope.report("E202", f"`{reader.name}` gives {gives}, not {type_}", statement.type.span)
        return None
    _check_reader(clause.value, reader, type_, scope)
    made: dict[str, Any] = {}
    keep = []
    for inner, kind in check_shape(statement.body or (), "source", scope.diagnostics):
        if not isinstance(inner, Statement):
            continue
        if kind.word == "keep":
            keep += _bind_keep(inner, type_, scope)
        elif inner.value is not None and kind.word == "bad_rows":
            if type_ == CHUNK:
                scope.report("E108", "`bad_rows` is for a source of rows or messages", inner.kind.span)
            elif (word := constant(inner.value, kind.field or TEXT, scope, "`bad_rows`")) is not FAILED:
                made["bad_rows"] = word
        elif inner.value is not None:
            if type_ != CHUNK:
                scope.report("E108", f"`{kind.word}` is for a source of chunks", inner.kind.span)
                continue
            table = SPLITTERS if kind.word == "split" else INDEXES
            made[kind.word] = bind_function(inner.value, table, f"a `{kind.word}`", scope)
            if kind.word == "index":
                _check_embedder(inner, made["index"], scope)
    plan = SourcePlan(
        name=statement.name.text,
        type="rows" if row is not None else "chunk" if type_ == CHUNK else "messages",
        row=row,
        reader=reader,
        keep=tuple(keep),
        **made,
    )
    return Source(plan, statement.name.span, type_)


def _row_of(type_: Type, written: TypeName, scope: Scope) -> ValueType | None:
    """What each row of a source of a schema's rows is; None, perhaps after a report, for another type."""
    if type_.name != "record" or type_.schema is None:
        return None
    always_there(written, "a source's rows are all there", scope)
    for name, field in type_.schema.fields:
        if unreadable(field) is not None:
            scope.report(
                "E202",
                f"`{name}` of `{type_.schema.name}` is {article(field)}, which no column holds",
                written.span,
                hint="they hold text, count, number, ratio, boolean, enum, path, messages, lists and records",
            )
            return None
    return value_type(type_.required)


def _bind_keep(statement: Statement, type_: Type, scope: Scope) -> list[CheckPlan]:
    """The checks of a `keep`.  In that of rows the fields are names, and hide outer ones."""
    if type_.schema is None:
        return bind_block(statement, type_ if type_ == MESSAGES else TEXT, scope)
    fields = {
        name: Declared(name, "field", statement.kind.span, field) for name, field in type_.schema.fields
    }
    inner = Scope(scope.diagnostics, "this row", outer=scope, names=fields)
    return bind_block(statement, type_, inner, Subject(type_.required))


def _check_reader(expression: Expression, reader: CallPlan, type_: Type, scope: Scope) -> None:
    """E108 for what a reader is told that says nothing of what it reads, E202 for a limit of no rows."""
    for argument in expression.arguments if isinstance(expression, Call) else ():
        name = argument.name.text if argument.name is not None else ""
        if type_.schema is not None and name in _OF_MESSAGES:
            scope.report(
                "E108",
                f"`{name}` says where messages stand, and this source reads the fields of `{type_}`",
                argument.span,
                hint=f"drop `{name}`: each field is read from the column of its name",
            )
        elif type_ == MESSAGES and name == "id":
            scope.report(
                "E108",
                "`id` names the rows of a schema, and conversations are named by what they say",
                argument.span,
                hint="drop it, or read the file as rows: `source s: Row from ...`",
            )
        elif name == "limit" and reader.arguments.get("limit") == 0:
            scope.report("E202", "a limit of 0 leaves no row to read", argument.span)


def _check_embedder(statement: Statement, index: CallPlan | None, scope: Scope) -> None:
    """E108: a model for vectors that no search looks at."""
    if index is not None and "embedder" in index.arguments and index.arguments["search"] == "text":
        scope.report(
            "E108",
            "`embedder` makes vectors, and a search by `text` looks at none",
            statement.span,
            hint='say `search = "hybrid"` or `"vector"`, or drop `embedder`',
        )


def bind_function(
    expression: Expression, table: Mapping[str, Function], what: str, scope: Scope
) -> CallPlan | None:
    """A call of one of a table's functions."""
    name = str(expression.function) if isinstance(expression, Call) else expression.span.text
    known = ", ".join(table)
    if not isinstance(expression, Call) or name not in table:
        guess = suggest(name, table)
        scope.report(
            "E203",
            f"`{name}` is no {what.split(' ', 1)[1].strip('`')}",
            expression.function.span if isinstance(expression, Call) else expression.span,
            hint=f"did you mean `{guess}`?" if guess else f"there is {known}",
        )
        return None
    function = table[name]
    arguments = bind_arguments(
        name, expression.arguments, function.parameters, expression.span, function.example, scope
    )
    return None if arguments is None else CallPlan(name=name, arguments=arguments)
