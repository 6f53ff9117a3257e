"""JSON as the standard has it, and nothing beside it."""

from __future__ import annotations

import json
from math import isinf
from typing import Any

# Python reads no longer integer by default.
_MOST_DIGITS = 4300


def json_valid(text: str) -> str | None:
    try:
        parse_json(text)
    except ValueError as error:
        return str(error)
    return None


def parse_json(text: str) -> Any:
    """The value of a text that is JSON: no fences, nothing after it, no key twice, no NaN, no number
    that would become infinite.  Raises ValueError with a clause that says what is wrong."""
    text = text.strip()
    if text.startswith("```"):
        raise ValueError("is fenced in ``` instead of being JSON alone")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_no_twice,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise ValueError(f"has text after its JSON, at character {error.pos + 1}") from None
        raise ValueError(f"is not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("is nested too deeply to be read") from None
    if "\\u" in text and (half := _half_of_character(value)):
        raise ValueError(f"holds U+{ord(half):04X}, which is half of a character")
    return value


def _half_of_character(value: Any) -> str | None:
    """A surrogate of a value that has no partner: JSON can escape it, and no text can hold it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return error.object[error.start]
    return None


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"has the key `{key}` twice")
        found[key] = value
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"holds {word}, which JSON does not have")


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"holds a number of {len(digits)} digits")
    return int(digits)


def _finite(written: str) -> float:
    value = float(written)
    if isinf(value):
        raise ValueError("holds a number too large to be kept")
    return value
