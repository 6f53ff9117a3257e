"""Parts of all that asks a model: who is asked, by which texts, and of what type the answer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from synth.base.diagnostics.source import Span
from synth.compiler.bind.blocks.bound import Model
from synth.compiler.bind.expressions.meant import declared_as
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.template import bind_template
from synth.compiler.bind.expressions.values import FAILED, article, constant
from synth.compiler.bind.expressions.written_types import always_there, resolve_type
from synth.compiler.plan.steps import CheckPlan, Template
from synth.compiler.plan.types import TEXT, UNKNOWN, Schema, Type, unproducible
from synth.dsl.syntax import Statement, Text, TypeName

# The fields of a block, each with the place of its name.
Fields = Mapping[str, tuple[Statement, Span]]


def written_type(written: TypeName | None, schemas: dict[str, Schema], scope: Scope) -> Type:
    """The type of what a model writes: text where none is given."""
    if written is None:
        return TEXT
    always_there(written, "what is written is there", scope)
    type_ = resolve_type(written, scope, schemas)
    if type_ is None:
        return UNKNOWN
    beyond = unproducible(type_)
    if beyond is not None and type_.name in ("text", "json"):
        scope.report(
            "E202",
            f"no model writes {article(beyond)}",
            written.span,
            hint="JSON holds text, numbers, enums, lists and records of them",
        )
        return UNKNOWN
    if type_.name not in ("text", "json"):
        scope.report(
            "E202",
            f"a model writes text or json, not {type_}",
            written.span,
            hint="for example `json<Command>`",
        )
        return TEXT
    return type_


def bounds_as_check(output: Type) -> list[CheckPlan]:
    """What `step summary: text(1..400)` says of the length.  JSON's bounds are in its schema."""
    if output.name != "text" or (output.low is None and output.high is None):
        return []
    return [CheckPlan(name="length", arguments={"characters": [output.low, output.high]})]


def asked_model(statement: Statement, scope: Scope) -> Model | None:
    clause = statement.clause("by")
    model: Model | None = None
    if clause is not None:
        model = scope.thing(clause.value, (Model,), "a model", hint=declared_as(clause.value))
    return model


def clause_span(statement: Statement, word: str) -> Span | None:
    clause = statement.clause(word)
    return clause.value.span if clause is not None else None


def field_template(fields: Fields, key: str, scope: Scope) -> Template | None:
    entry = fields.get(key)
    if entry is None or entry[0].value is None:
        return None
    value = entry[0].value
    if isinstance(value, Text):
        return bind_template(value, scope)
    written = constant(value, TEXT, scope, f"`{entry[0].kind}`")
    return None if written is FAILED else (written,)


def field_constant(fields: Fields, key: str, wanted: Type, scope: Scope) -> Any:
    if key not in fields or fields[key][0].value is None:
        return None
    value = constant(fields[key][0].value, wanted, scope, f"`{key}`")  # type: ignore[arg-type]
    return None if value is FAILED else value


def length_kept(fields: Fields, output: Type, scope: Scope) -> Literal["refuse", "keep"]:
    """E108: what becomes of text that was cut; JSON that was cut is none."""
    if field_constant(fields, "on_length", Type("enum", words=("refuse", "keep")), scope) != "keep":
        return "refuse"
    if output.name == "json":
        scope.report(
            "E108",
            "JSON that was cut off is none, so it cannot be kept",
            fields["on_length"][1],
            hint="drop `on_length`, and give `max_tokens` room",
        )
    return "keep"
