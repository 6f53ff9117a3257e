"""Binding of `source`: readers, splitters and indexes, and the filter over what is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import Source
from synth.compiler.bind.blocks.check_blocks import bind_block
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.expressions.arguments import bind_arguments
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, constant, resolve_type
from synth.compiler.plan.model import CallPlan, SourcePlan
from synth.compiler.plan.signature import Parameter
from synth.compiler.plan.types import CHUNK, COUNT, MESSAGES, PATH, TEXT, Schema, Type
from synth.dsl.syntax import Call, Expression, Statement


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a source is made with; `gives` is what a reader reads."""

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
)
# Written as text: how an index finds what a query is about.
_SEARCH = Type("choice", words=("text", "vector", "hybrid"))

READERS: Mapping[str, Function] = {
    each.name: each
    for each in (
        Function("jsonl", (_PATH, *_COLUMNS), 'jsonl("data/chat.jsonl")', MESSAGES),
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
    each.name: each
    for each in (
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
    if type_ not in (MESSAGES, CHUNK):
        scope.report("E202", f"a source gives messages or chunk, not {type_}", statement.type.span)
        return None
    reader = bind_function(clause.value, READERS, "a reader", scope)
    if reader is None:
        return None
    gives = READERS[reader.name].gives
    if gives != type_:
        scope.report("E202", f"`{reader.name}` gives {gives}, not {type_}", statement.type.span)
        return None
    made: dict[str, Any] = {}
    keep = []
    for inner, kind in check_shape(statement.body or (), "source", scope.diagnostics):
        if not isinstance(inner, Statement):
            continue
        if kind.word == "keep":
            keep += bind_block(inner, type_ if type_ == MESSAGES else TEXT, scope)
        elif inner.value is not None and kind.word == "bad_rows":
            if type_ != MESSAGES:
                scope.report("E108", "`bad_rows` is for a source of messages", inner.kind.span)
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
        type="chunk" if type_ == CHUNK else "messages",
        reader=reader,
        keep=tuple(keep),
        **made,
    )
    return Source(plan, statement.name.span)


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
