"""Whether a value is of the type that a function says, and values of a type for simulations."""

from __future__ import annotations

from random import Random
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.value_types import ValueType

_WORDS = ("blue", "river", "seven", "quiet", "stone", "early", "paper", "north")
_SHOWN = 60


def misfit(value: Any, type_: ValueType, place: str = "") -> str | None:
    """Why a value is not of a type, as a clause, or None."""
    if value is None:
        return None if type_.optional or type_.kind == "any" else _says(value, type_, place)
    if not _is_of_kind(value, type_):
        return _says(value, type_, place)
    if type_.kind == "list" and type_.items is not None:
        for number, item in enumerate(value):
            if (why := misfit(item, type_.items, f"{place}[{number}]")) is not None:
                return why
    if type_.kind == "record":
        return _misfit_of_record(value, type_, place)
    return None


def _misfit_of_record(value: dict[str, Any], type_: ValueType, place: str) -> str | None:
    if not type_.fields:
        inside = {} if type_.items is None else dict.fromkeys(value, type_.items)
    else:
        inside = dict(type_.fields)
        unknown = next((name for name in value if name not in inside), None)
        if unknown is not None:
            return f"gives a record with a field `{unknown}` that its type does not have"
    for name, field in inside.items():
        if name not in value and not field.optional:
            return f"gives a record without `{f'{place}.{name}'.lstrip('.')}`"
        if name in value and (why := misfit(value[name], field, f"{place}.{name}")) is not None:
            return why
    return None


def _is_of_kind(value: Any, type_: ValueType) -> bool:
    match type_.kind:
        case "any":
            return True
        case "text" | "path":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "count":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number" | "ratio" | "duration":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "enum":
            return isinstance(value, str) and value in type_.words
        case "list":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def _says(value: Any, type_: ValueType, place: str) -> str:
    shown = canonical_json(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    where = f" at `{place.lstrip('.')}`" if place else ""
    what = " or ".join(type_.words) if type_.kind == "enum" else _NAMES.get(type_.kind, type_.kind)
    return f"gives {shown}{where}, and its type says {what}"


_NAMES = {
    "text": "text",
    "path": "a path",
    "count": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "record": "a record",
}


def simulated(type_: ValueType, seed: int) -> Any:
    """A value of a type that follows from a seed."""
    return _made(type_, Random(seed))


def _made(type_: ValueType, random: Random) -> Any:
    match type_.kind:
        case "text" | "path" | "any":
            return " ".join(random.choice(_WORDS) for _ in range(4))
        case "boolean":
            return random.random() < 0.5
        case "count":
            return random.randrange(100)
        case "number" | "ratio" | "duration":
            return round(random.random() * 100, 2)
        case "enum":
            return random.choice(type_.words)
        case "list":
            item = type_.items or ValueType(kind="text")
            return [_made(item, random) for _ in range(random.randint(1, 3))]
        case _:
            fields = type_.fields or (("value", type_.items or ValueType(kind="text")),)
            return {name: _made(field, random) for name, field in fields}
