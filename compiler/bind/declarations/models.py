"""Binding of `model` declarations: capabilities claimed against what a backend has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import Model
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.expressions.kinds import REASONING
from synth.compiler.bind.expressions.meant import backend as known_elsewhere
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, constant
from synth.compiler.bind.expressions.written_types import resolve_type
from synth.compiler.outside.backends import BACKENDS
from synth.compiler.plan.models import ModelPlan, Sampling
from synth.compiler.plan.types import TEXT, Schema, Type
from synth.dsl.syntax import Argument, Call, Expression, Statement, Text, TypeName

SAMPLING_FIELDS = tuple(Sampling.model_fields)


def bind_model(statement: Statement, scope: Scope, schemas: dict[str, Schema]) -> Model | None:
    """The model a statement declares, or None where its faults leave nothing to go on with."""
    clause = statement.clause("from")
    if statement.name is None or statement.type is None or clause is None:
        if statement.name is not None:
            scope.poisoned.add(statement.name.text)
        return None
    name = statement.name.text
    type_ = resolve_type(statement.type, scope, schemas)
    call = clause.value
    if type_ is None or type_.name != "model":
        if type_ is not None:
            scope.report(
                "E202",
                f"`{name}` is a model, not {type_}",
                statement.type.span,
                hint="for example `model<chat>`",
            )
        scope.poisoned.add(name)
        return None
    backend = BACKENDS.get(str(call.function)) if isinstance(call, Call) else None
    if not isinstance(call, Call) or backend is None:
        written = str(call.function) if isinstance(call, Call) else clause.value.span.text
        guess = suggest(written, BACKENDS)
        scope.report(
            "E203",
            f"`{written}` is no backend",
            clause.value.span,
            hint=known_elsewhere(written, name, _id_of(clause.value))
            or (f"did you mean `{guess}`?" if guess else f"backends are {', '.join(BACKENDS)}"),
        )
        scope.poisoned.add(name)
        return None
    arguments = _arguments(call, name, scope)
    if arguments is None:
        scope.poisoned.add(name)
        return None
    for word in type_.words:
        if word not in backend.capabilities:
            scope.report(
                "E401",
                f"{backend.name} cannot give `{word}`",
                _word_span(statement.type, word),
                hint="drop it: a chat model sees the transcript as messages"
                if word == "template"
                else f"it can do {', '.join(backend.capabilities)}",
            )
    revision, adapter = arguments.get("revision"), arguments.get("adapter")
    if "frozen" in type_.words:
        frozen = Label(_word_span(statement.type, "frozen"), "frozen here")
        if revision is None and not backend.pinned:
            scope.report(
                "E402",
                "a frozen model needs a revision",
                call.span,
                secondary=(frozen,),
                hint=f'pin the weights: `{backend.name}("{arguments["id"]}", revision = "<commit>")`',
            )
        if adapter is not None:
            scope.report(
                "E402",
                "a frozen model has no adapter",
                call.span,
                secondary=(frozen,),
                hint="drop `adapter`, or drop `frozen`",
            )
    sampling = bind_sampling(statement, "model", scope)
    plan = ModelPlan(
        name=name,
        capabilities=type_.words,
        backend=backend.name,
        id=arguments["id"],
        revision=None if revision is FAILED else revision,
        adapter=None if adapter is FAILED else adapter,
        sampling=Sampling(**sampling),
        reasoning=_reasoning(statement, scope),
    )
    return Model(plan, type_, statement.name.span, statement.type.span, call.span)


def _reasoning(statement: Statement, scope: Scope) -> Any:
    for inner in statement.body or ():
        if isinstance(inner, Statement) and str(inner.kind) == "reasoning" and inner.value is not None:
            value = constant(inner.value, Type("enum", words=REASONING), scope, "`reasoning`")
            return None if value is FAILED else value
    return None


def bind_sampling(statement: Statement, holder: str, scope: Scope) -> dict[str, Any]:
    """The sampling fields given in a body, by name."""
    sampling: dict[str, Any] = {}
    for inner, kind in check_shape(statement.body or (), holder, scope.diagnostics):
        if not isinstance(inner, Statement) or inner.value is None or kind.word not in SAMPLING_FIELDS:
            continue
        if kind.field is None:
            continue
        value = constant(inner.value, kind.field, scope, f"`{kind.word}`")
        if value is FAILED:
            continue
        problem = _out_of_range(kind.word, value)
        if problem:
            scope.report("E202", f"`{kind.word}` is {problem}, not {value}", inner.value.span)
        else:
            sampling[kind.word] = tuple(value) if isinstance(value, list) else value
    return sampling


def _out_of_range(field: str, value: Any) -> str:
    if field == "temperature" and not 0 <= value <= 2:
        return "between 0 and 2"
    if field == "top_p" and not 0 < value <= 1:
        return "above 0 and at most 1"
    if field in ("max_tokens", "top_k") and value < 1:
        return "at least 1"
    return ""


def _id_of(place: Expression) -> str:
    """The first argument of a call as it is written."""
    first = place.arguments[0].value if isinstance(place, Call) and place.arguments else None
    return first.span.text if isinstance(first, Text) else '"model-name"'


def _arguments(call: Call, model: str, scope: Scope) -> dict[str, Any] | None:
    backend = BACKENDS[str(call.function)]
    arguments: dict[str, Any] = {}
    for argument in call.arguments:
        key = argument.name.text if argument.name is not None else "id"
        if key not in (*backend.arguments, *(("id",) if backend.needs_id else ())) or key in arguments:
            scope.report(
                "E202",
                f"{backend.name} takes no such argument",
                argument.span,
                hint=_elsewhere(argument, model) or f"for example `{backend.example}`",
            )
            return None
        # What need not be given can be a parameter that was not given.
        wanted = TEXT if key == "id" else replace(TEXT, optional=True)
        arguments[key] = constant(argument.value, wanted, scope, f"`{key}`")
        if arguments[key] == "":
            scope.report("E202", f"`{key}` is empty", argument.span, hint=f"for example `{backend.example}`")
            return None
    if backend.needs_id and "id" not in arguments:
        scope.report(
            "E202", f"{backend.name} needs the model's id", call.span, hint=f"for example `{backend.example}`"
        )
        return None
    arguments.setdefault("id", "")
    return None if arguments["id"] is FAILED else arguments


def _elsewhere(argument: Argument, model: str) -> str:
    """A hint on an argument of a name that no backend takes: where it is said; or `""`."""
    if argument.name is None or argument.name.text in ("id", "revision", "adapter"):
        return ""
    if argument.name.text in (*SAMPLING_FIELDS, "reasoning"):
        return f"it stands in braces: `{{ {argument.span.text} }}`"
    return f"how a model is reached is said below `[models.{model}]` in synth.toml: `{argument.span.text}`"


def _word_span(type_: TypeName, word: str) -> Span:
    return next((a.span for a in type_.arguments if a.name.text == word), type_.span)
