"""Schemas as the chat completions protocol takes them: rooted in an object, strict where they can be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Keywords that OpenAI's strict mode takes; a schema with any other is sent as advice.
STRICT_KEYWORDS = frozenset(
    {
        *("$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "format"),
        *("exclusiveMaximum", "exclusiveMinimum", "items", "maxItems", "maxLength", "maximum"),
        *("minItems", "minLength", "minimum", "multipleOf", "pattern", "properties", "required"),
        *("title", "type"),
    }
)


def rooted_in_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema itself, or an object with the one property `value`: the protocol wants an object."""
    if schema.get("type") == "object":
        return dict(schema)
    inner = {name: part for name, part in schema.items() if name != "$defs"}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {"value": inner},
        "required": ["value"],
        "additionalProperties": False,
    }
    return outer | ({"$defs": schema["$defs"]} if "$defs" in schema else {})


def unrooted(text: str) -> str:
    """The JSON that `rooted_in_object` wrapped; any other text as it stands."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(answer, dict) and answer.keys() == {"value"}:
        return json.dumps(answer["value"], ensure_ascii=False)
    return text


def strict(schema: Mapping[str, Any]) -> bool:
    """Whether OpenAI's strict mode takes a schema: closed objects, all of whose properties are required."""
    if not schema.keys() <= STRICT_KEYWORDS:
        return False
    properties: Mapping[str, Any] = schema.get("properties", {})
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties)
    ):
        return False
    parts = [*properties.values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    if isinstance(schema.get("items"), Mapping):
        parts.append(schema["items"])
    return all(strict(part) for part in parts)
