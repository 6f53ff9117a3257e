"""JSON Schemas, whoever wrote them, judged with bounded work: nothing is fetched, and no pattern hangs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from synth.base.canonical import canonical_json

# What judging one value may take: keywords looked at, characters told by a hundred, and seconds in patterns.
_MOST_WORK = 1_000_000
# To look a reference up takes as long as a hundred keywords.
_REFERENCES = ("$ref", "$dynamicRef")
_MOST_PATTERN_S = 0.5
_LONGEST_PATTERN = 1_000
_SAID = 300


class Unjudged(Exception):
    """Why a value cannot be judged by a schema: a clause."""


class _Left(threading.local):
    """What is left of the work of the value that is being judged."""

    work = 0
    seconds = 0.0
    has_patterns = False


_left = _Left()


def errors(schema: str, value: Any) -> Iterator[Any]:
    """What a value has against a schema, given as text.  Raises Unjudged where that takes too much."""
    _left.work, _left.seconds = _MOST_WORK, _MOST_PATTERN_S
    _left.has_patterns = '"patternProperties"' in schema
    return iter(_validator(schema).iter_errors(value))


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    from jsonschema.validators import SPECIFICATIONS

    return _kind()(json.loads(schema), registry=SPECIFICATIONS)


@lru_cache(maxsize=1)
def _kind() -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    known = dict(Draft202012Validator.VALIDATORS)
    known |= {"pattern": _pattern, "patternProperties": _pattern_properties, "uniqueItems": _unique_items}
    for name in ("additionalProperties", "unevaluatedProperties"):
        known[name] = _beside_patterns(name, known[name])
    return extend(Draft202012Validator, {name: _bounded(name, keyword) for name, keyword in known.items()})


def _bounded(name: str, keyword: Any) -> Any:
    cost = 100 if name in _REFERENCES else 1

    def judged(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _spend(cost)
        for error in keyword(validator, wanted, instance, schema) or ():
            # A value is told whole by each thing against it.
            _spend(len(error.message) // 100)
            error.message = error.message[:_SAID]
            yield error

    return judged


def _spend(work: int) -> None:
    _left.work -= work
    if _left.work < 0:
        raise Unjudged("that takes too much work")


def _finds(pattern: str, text: str) -> bool:
    import regex

    if len(pattern) > _LONGEST_PATTERN:
        raise Unjudged(f"a pattern has more than {_LONGEST_PATTERN:,} characters")
    begin = time.perf_counter()
    try:
        return regex.search(pattern, text, timeout=max(_left.seconds, 0.001)) is not None
    except TimeoutError:
        raise Unjudged(f"its pattern `{pattern[:80]}` takes too long") from None
    finally:
        _left.seconds -= time.perf_counter() - begin


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(instance, "string") and not _finds(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: dict[str, Any], instance: Any, _: Any) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for pattern, schema in patterns.items():
            for name, value in instance.items():
                if _finds(pattern, name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _beside_patterns(name: str, keyword: Any) -> Any:
    """A keyword of the properties that are left, which looks for them by the patterns of others."""
    from jsonschema import ValidationError

    def judged(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
        patterns = schema.get("patternProperties", {})
        if name == "unevaluatedProperties" and _left.has_patterns:
            raise Unjudged("`unevaluatedProperties` with `patternProperties` is not judged")
        if not patterns:
            yield from keyword(validator, wanted, instance, schema)
        elif validator.is_type(instance, "object"):
            known = schema.get("properties", {})
            left = [each for each in instance if each not in known]
            left = [each for each in left if not any(_finds(pattern, each) for pattern in patterns)]
            for each in left:
                if validator.is_type(wanted, "object"):
                    yield from validator.descend(instance[each], wanted, path=each)
                elif wanted is False:
                    yield ValidationError(f"{each!r} does not match any of {', '.join(map(repr, patterns))}")

    return judged


def _unique_items(validator: Any, wanted: bool, instance: Any, _: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if wanted and validator.is_type(instance, "array"):
        _spend(len(instance))
        if len({canonical_json(_as_compared(each)) for each in instance}) < len(instance):
            yield ValidationError(f"{instance!r} has non-unique elements")


def _as_compared(value: Any) -> Any:
    """Numbers are equal by their value, as JSON Schema has it."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_as_compared(each) for each in value]
    return {key: _as_compared(each) for key, each in value.items()} if isinstance(value, dict) else value
