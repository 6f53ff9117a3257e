"""What a check in a block is of: the value judged, a part of it, or a field of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synth.base.diagnostics.diagnostic import Fix
from synth.base.diagnostics.source import Span
from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import Rubric
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import article
from synth.compiler.plan.types import Type, is_transcript
from synth.compiler.stdlib.filters import record_of
from synth.dsl.syntax import Name, Reference


@dataclass(frozen=True, slots=True)
class Subject:
    """What the first argument of a check may name to say what is checked.

    With a `name`, the value judged and what lies below it: `length(card.quotes, 10..)`.  Without one, the
    fields of a record, one of which has to be named: `length(body, 20..)`.  The record may be a whole
    `sample`, and its fields all that it has.  The value judged may have marks by a `rubric`.
    """

    type: Type
    name: str | None = None
    sample: bool = False
    rubric: Rubric | None = None

    def names(self, place: Span) -> dict[str, Declared]:
        """What it is called in arguments: its name, or those of its fields."""
        named = [(self.name, self.type)] if self.name is not None else []
        if self.name is None and self.type.schema is not None:
            named = list(self.type.schema.fields)
        return {name: Declared(name, "value", place, type_) for name, type_ in named}

    def below(
        self, reference: Reference, scope: Scope
    ) -> tuple[tuple[str, ...], Type] | Literal[False] | None:
        """The path below the value and the type of what lies there, of a list's items where it is one.
        None where the reference begins with another name, False after a report."""
        path = reference.parts
        if self.name is not None:
            if path[0].text != self.name:
                return None
            path = path[1:]
        elif _field(self.type, path[0].text) is None:
            return None
        type_ = _items(self.type) if self.name is not None and not path else self.type
        whole = type_
        for part in path:
            inner = _field(type_, part.text)
            if inner is None and whole.beside is not None:
                inner = whole.beside.field(part.text)
            if inner is None:
                report_no_field(type_, part, scope)
                return False
            type_, whole = _items(inner), inner
        return tuple(part.text for part in path), type_


def _field(type_: Type, name: str) -> Type | None:
    """The type of a field that a record declares."""
    record = type_.arguments[0] if type_.name == "json" else type_
    if record.name == "unknown":
        return record
    return record.schema.field(name) if record.schema is not None else None


def _items(type_: Type) -> Type:
    """The type of what a check of a value looks at: the items of a list that is no conversation."""
    inner = type_.arguments[0] if type_.name == "json" else type_
    return _items(inner.arguments[0]) if inner.name == "list" and not is_transcript(type_) else type_


def report_no_field(type_: Type, part: Name, scope: Scope) -> None:
    """E102 for what a value of a type does not have."""
    schema = record_of(type_)
    if schema is None:
        scope.report("E102", f"{article(type_)} has no `{part}`", part.span)
        return
    if scope.first(f"{schema.name}.{part}"):
        guess = suggest(part.text, [name for name, _ in schema.fields])
        scope.report(
            "E102",
            f"`{schema.name}` has no `{part}`",
            part.span,
            hint=f"did you mean `{guess}`?" if guess else "",
            fix=Fix(part.span, guess) if guess else None,
        )
