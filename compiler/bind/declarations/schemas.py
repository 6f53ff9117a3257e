"""Binding of `schema`: record types, in an order in which each names only those before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.written_types import resolve_type
from synth.compiler.plan.types import UNKNOWN, Schema, Type
from synth.dsl.syntax import Statement, TypeName


def order_schemas(statements: Sequence[Statement], scope: Scope) -> list[Statement]:
    """The schemas of a file, each after those that it names.  E206 for one that holds itself."""
    by_name = {s.name.text: s for s in statements if s.name is not None}
    ordered: list[Statement] = []
    done: set[int] = set()
    open_: list[str] = []

    def visit(statement: Statement) -> None:
        if id(statement) in done or statement.name is None:
            return
        done.add(id(statement))
        open_.append(statement.name.text)
        for written in _types(statement):
            name = written.name.text
            if name in open_:
                through = [name, *reversed(open_[open_.index(name) + 1 :])]
                circle = " by way of ".join(f"`{schema}`" for schema in through)
                scope.report(
                    "E206",
                    f"{circle} holds itself",
                    written.span,
                    hint="a schema cannot be recursive: hold a list of names instead",
                )
                scope.poisoned.add(name)
            elif name in by_name:
                visit(by_name[name])
        open_.pop()
        ordered.append(statement)

    for statement in statements:
        visit(statement)
    return ordered


def bind_schema(statement: Statement, scope: Scope, schemas: dict[str, Schema]) -> Schema | None:
    """The record type a statement declares.  A field whose type is at fault fits everywhere."""
    if statement.name is None:
        return None
    fields: list[tuple[str, Type]] = []
    for inner, _ in check_shape(statement.body or (), "schema", scope.diagnostics):
        if isinstance(inner, Statement) and inner.type is not None:
            fields.append((inner.kind.text, resolve_type(inner.type, scope, schemas) or UNKNOWN))
    return Schema(statement.name.text, tuple(fields))


def _types(statement: Statement) -> Iterator[TypeName]:
    """Every type written in a schema, inner ones too."""
    pending = [s.type for s in statement.body or () if isinstance(s, Statement) and s.type is not None]
    while pending:
        written = pending.pop(0)
        yield written
        pending.extend(written.arguments)
