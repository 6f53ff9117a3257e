"""Parameters, and `--set name=value`: text from a command line, typed against the parameter it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.blocks.bound import Bound, Param
from synth.compiler.bind.expressions.meant import meant_by
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import FAILED, article, constant, number, outside
from synth.compiler.bind.expressions.written_types import resolve_type
from synth.compiler.plan.types import Type
from synth.dsl.syntax import Statement

_EXAMPLES = {
    "count": "10",
    "number": "0.7",
    "ratio": "40%",
    "range": "2..8",
    "duration": "30s",
    "boolean": "true",
}
_END = re.compile(r"-?\d[\d_]*(\.\d+)?", re.ASCII)
_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}


def override(name: str, text: str, type_: Type, span: Span, scope: Scope) -> Any:
    """The value of a parameter given as text, as JSON, or FAILED after reporting E602."""
    try:
        value = _parse(text.strip(), type_)
        if outside(value, type_):
            raise ValueError(text)
        return value
    except (ValueError, InvalidOperation):
        bound = type_.low if type_.low is not None else type_.high
        example = (
            type_.words[0]
            if type_.words
            else str(bound)
            if bound is not None and type_.name in ("count", "number")
            else _EXAMPLES.get(type_.name, "...")
        )
        scope.report_override(
            f"`{name}` is {article(type_)}; `{text}` is not",
            name,
            text,
            f"for example `--set {name}={meant_by(text.strip(), type_) or example}`",
            (Label(span, f"declared in {span.source.name}"),),
        )
        return FAILED


def _parse(text: str, type_: Type) -> Any:
    match type_.name:
        case "text" | "path":
            return text
        case "count":
            if not re.fullmatch(r"\d[\d_]*", text, re.ASCII):
                raise ValueError(text)
            return int(text)
        case "number":
            value = Decimal(text.replace("_", ""))
            if not value.is_finite():
                raise ValueError(text)
            return number(value)
        case "ratio":
            if not re.fullmatch(r"\d[\d_]*(\.\d+)?%", text, re.ASCII):
                raise ValueError(text)
            return number(Decimal(text[:-1].replace("_", "")))
        case "range":
            low_text, dots, high_text = text.partition("..")
            ends = [_end(end) if end else None for end in (low_text, high_text)]
            low_end, high_end = ends
            empty = low_end is not None and high_end is not None and low_end > high_end
            if not dots or ends == [None, None] or empty:
                raise ValueError(text)
            return ends
        case "duration":
            duration = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)(ms|s|m|h)", text, re.ASCII)
            if duration is None:
                raise ValueError(text)
            return number(Decimal(duration[1].replace("_", "")) * _UNITS[duration[2]])
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "enum" if text in type_.words:
            return text
    raise ValueError(text)


def _end(text: str) -> int | float:
    """An end of a range."""
    if not _END.fullmatch(text):
        raise ValueError(text)
    return number(Decimal(text.replace("_", "")))


def check_overrides(bound: Bound, overrides: Mapping[str, str], scope: Scope) -> None:
    """E602 for each override of what is no parameter."""
    for name, text in overrides.items():
        kind = bound.kinds.get(name)
        if name in bound.params or scope.is_poisoned(name) or kind == "param":
            continue
        guess = suggest(name, bound.params)
        known = some_of(bound.params)
        scope.report_override(
            f"`{name}` is a {kind}, and no parameter" if kind else f"this recipe has no parameter `{name}`",
            name,
            text,
            f"did you mean `{guess}`?" if guess else f"its parameters are {known or 'none'}",
        )


def bind_param(
    statement: Statement, bound: Bound, scope: Scope, overrides: Mapping[str, str], *, lenient: bool
) -> None:
    """Declares the parameter of a statement, with the value given for it or its default."""
    if statement.name is None or statement.type is None:
        return
    name = statement.name.text
    type_ = resolve_type(statement.type, scope, bound.schemas)
    value: Any = FAILED
    if type_ is not None:
        if name in overrides:
            value = override(name, overrides[name], type_, statement.name.span, scope)
        elif statement.value is not None:
            value = constant(statement.value, type_, scope, f"`{name}`")
        elif type_.optional:
            value = None
        elif lenient and type_.name in ("text", "path"):
            value = f"<{name}>"
            bound.notes.append(f"`{name}` must be given for a run: --set {name}=...")
        elif statement.quantity is None and not statement.damaged:
            scope.report(
                "E601",
                f"`{name}` has no value",
                statement.name.span,
                hint=f"give it one: `--set {name}=...`, or a default here: `param {name}: {type_} = ...`",
            )
    declared = Declared(name, "param", statement.name.span, type_, value, constant=True)
    if scope.declare(declared) and type_ is not None:
        bound.params[name] = Param(name, type_, value, statement.name.span)
