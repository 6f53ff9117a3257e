"""Definitions of tools as services and datasets write them, and the one form they come to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from synth.base.canonical import is_too_large

# What other forms call the parameters.
_PARAMETERS = ("parameters", "input_schema", "inputSchema")


def definitions_of(value: Any) -> list[dict[str, Any]]:
    """Definitions as `{"type": "function", "function": {...}}`, from a list of them or one, of bare
    functions, or the JSON text of any of these.  A function has a `name`, and `description` and `parameters`
    where they are given.  Raises ValueError with a clause that says what is wrong."""
    if isinstance(value, str):
        value = parsed(value)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise ValueError("they are no list")
    definitions = [_definition(tool, number) for number, tool in enumerate(value, 1)]
    names = [definition["function"]["name"] for definition in definitions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two have the name `{twice}`")
    return definitions


def _definition(value: Any, number: int) -> dict[str, Any]:
    if isinstance(value, str):
        value = parsed(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"number {number} is no object")
    function = value.get("function")
    if function is None and value.get("type") in (None, "function", "custom"):
        function = {key: item for key, item in value.items() if key != "type"}
    if not isinstance(function, Mapping):
        raise ValueError(f"number {number} has no function")
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"number {number} has no name")
    definition: dict[str, Any] = {"name": name}
    for key, item in function.items():
        key = "parameters" if key in _PARAMETERS else key
        if key == "parameters" and isinstance(item, str):
            item = parsed(item)
        if key == "parameters" and item is not None and not isinstance(item, Mapping):
            raise ValueError(f"the parameters of `{name}` are no object")
        if item is not None:
            definition[key] = item
    if _holds_too_large(definition):
        raise ValueError(f"`{name}` has a number that is too large")
    return {"type": "function", "function": definition}


def _holds_too_large(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    return any(map(_holds_too_large, value)) if isinstance(value, list) else is_too_large(value)


def parsed(text: str) -> Any:
    """A JSON text whose numbers are finite.  Raises ValueError."""
    try:
        return json.loads(text, parse_constant=_infinite, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ValueError("the text is not JSON") from None


def _infinite(word: str) -> Any:
    raise ValueError(word)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number
