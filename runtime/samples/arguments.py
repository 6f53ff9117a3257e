"""Whether arguments fit a tool, in words that a model is told and others are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted

_WANTED = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_SIZES = {
    "minLength": ("characters", "at least"),
    "maxLength": ("characters", "at most"),
    "minItems": ("items", "at least"),
    "maxItems": ("items", "at most"),
}
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
_LONGEST = 60


def unfit(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """Why arguments do not fit a tool's JSON Schema, or None.  A null in place of what need not be given
    says that it is not given."""
    from jsonschema.exceptions import best_match

    properties, given = schema.get("properties", {}), given_alone(schema, arguments)
    if schema.get("additionalProperties") is False:
        for name in given:
            if name not in properties:
                takes = ", ".join(properties)
                known = f"the arguments are {takes}" if takes else "the tool takes none"
                return f"there is no argument {quoted(name)}; {known}"
    for name in schema.get("required", ()):
        if name not in given:
            return f"the argument {quoted(name)} is missing"
    error = best_match(_validator(canonical_json(schema)).iter_errors(given))
    if error is None:
        return None
    name, *inner = error.absolute_path or ("",)
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)
    what = f"the argument {quoted(str(name) + place)}" if name else "what the tool is called with"
    return f"{what} {_wrong(error)}"


def given_alone(schema: Any, value: Any) -> Any:
    """A value without the nulls that stand in place of what need not be given."""
    if isinstance(value, list) and isinstance(schema, Mapping):
        return [given_alone(schema.get("items"), each) for each in value]
    if not (isinstance(value, Mapping) and isinstance(schema, Mapping)):
        return value
    properties, required = schema.get("properties", {}), schema.get("required", ())
    return {
        name: given_alone(properties.get(name), part)
        for name, part in value.items()
        if part is not None or name in required or name not in properties
    }


def _wrong(error: Any) -> str:
    """A clause for an error of jsonschema."""
    value, wanted, rule = error.instance, error.validator_value, error.validator
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else list(wanted)
        return f"is {_said(value)}, and {' or '.join(_WANTED.get(each, each) for each in kinds)} is wanted"
    if rule == "enum":
        return f"is {_said(value)}, and one of {', '.join(canonical_json(each) for each in wanted)} is wanted"
    if rule in _BOUNDS:
        return f"is {canonical_json(value)}, and {_BOUNDS[rule]} {canonical_json(wanted)} is wanted"
    if rule in _SIZES:
        of, bound = _SIZES[rule]
        return f"has {len(value):,} {of}, and {bound} {wanted:,} are wanted"
    if rule == "required":
        return f"has no {' and no '.join(quoted(each) for each in wanted if each not in value)}"
    if rule == "additionalProperties" and wanted is False:
        return f"has {' and '.join(_beyond(error.schema, value))}, and none such is wanted"
    return f"is {_said(value)}, which does not fit"


def _beyond(schema: Mapping[str, Any], value: Mapping[str, Any]) -> Iterator[str]:
    known = schema.get("properties", {})
    return (quoted(each) for each in value if each not in known)


def _said(value: Any) -> str:
    text = canonical_json(value)
    if len(text) <= _LONGEST and not isinstance(value, list | dict):
        return f"the text {text}" if isinstance(value, str) else text
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, Mapping) else "a number"


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    import json

    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))
