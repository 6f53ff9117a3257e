"""The rows of a source that `differs_from` compares a value with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from synth.base.diagnostics.diagnostic import Label
from synth.compiler.bind.blocks.bound import Source
from synth.compiler.bind.blocks.subject import report_no_field
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import article
from synth.compiler.plan.signature import Parameter
from synth.compiler.plan.types import CHUNK_SCHEMA, COUNT, NUMBER, Type, is_transcript, record
from synth.dsl.syntax import Argument, Reference

_COMPARED = ("text", "enum", "path", "unknown")


def rows_compared(
    written: Sequence[Argument], place: str, scope: Scope
) -> tuple[str, ...] | Literal[False] | None:
    """The source and the path of a field of its rows that the first argument names, in a block called
    `place`.  None where it is something else, False after a report."""
    first = written[0] if written else None
    if first is None or first.name is not None or not isinstance(first.value, Reference):
        return None
    reference = first.value
    declared = scope.find(reference.parts[0].text)
    if declared is None or not isinstance(declared.thing, Source):
        return None
    scope.use(declared.name)
    source: Source = declared.thing
    label = (Label(declared.span, "declared here"),)
    if place == "keep":
        scope.report(
            "E202",
            f"`{reference}` is of all rows of a source, with which only answers are compared",
            first.span,
            secondary=label,
            hint="ask for it in the `check { }` of a turn or step, where an answer like one is refused",
        )
        return False
    if source.plan.type == "messages":
        scope.report(
            "E202",
            f"`{declared.name}` has conversations, and `differs_from` compares with a field of rows",
            first.span,
            secondary=label,
            hint="read the file as rows: `source held: Held from ...`",
        )
        return False
    type_ = record(CHUNK_SCHEMA) if source.plan.type == "chunk" else source.type
    for part in reference.parts[1:]:
        owner = type_.schema
        inner = owner.field(part.text) if owner is not None else None
        if inner is None:
            report_no_field(type_, part, scope)
            return False
        type_ = _item(inner)
    if len(reference.parts) == 1 or type_.name not in _COMPARED:
        fields = [name for name, _ in type_.schema.fields] if type_.schema is not None else []
        example = f"{reference}.{fields[0]}" if fields else ""
        scope.report(
            "E202",
            f"`differs_from` compares with text, and `{reference}` is {article(type_)}",
            first.span,
            secondary=label,
            hint=f"name a field, such as `{example}`" if example else "",
        )
        return False
    return tuple(part.text for part in reference.parts)


def compared_by(written: Sequence[Argument]) -> tuple[Parameter, ...]:
    """How values are compared with rows: by likeness, or by runs of words that they share."""
    if any(argument.name is not None and argument.name.text == "ngram" for argument in written):
        return (Parameter("ngram", COUNT),)
    return (Parameter("similarity", NUMBER, 0.8),)


def _item(type_: Type) -> Type:
    """What each item of a list is, of a list of lists too."""
    return _item(type_.arguments[0]) if type_.name == "list" and not is_transcript(type_) else type_
