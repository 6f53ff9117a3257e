"""Deterministic answers: a sentence, or an instance of a JSON schema, from a hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

MANNERS = ("a patient", "a blunt", "a cheerful", "a formal", "an absent-minded", "a meticulous", "a wry")
TRADES = ("archivist", "harbour pilot", "clock repairer", "beekeeper", "night nurse", "map maker", "glazier")
HABITS = (
    "keeps notes on every question",
    "answers in plain words",
    "counts twice before speaking",
    "never forgets a name",
    "explains with small examples",
)


def sentence(seed: str) -> str:
    """One sentence of 40 to 200 characters that begins with `You are`; differs with the seed."""
    digest = sha256(seed.encode("utf-8", "surrogatepass")).digest()
    return (
        f"You are {MANNERS[digest[0] % len(MANNERS)]} {TRADES[digest[1] % len(TRADES)]} named "
        f"{digest[4:10].hex()} who {HABITS[digest[2] % len(HABITS)]} and "
        f"{HABITS[(digest[2] + 1 + digest[3] % 4) % len(HABITS)]}."
    )


def instance(schema: Mapping[str, Any], seed: str) -> Any:
    """An instance of a JSON schema: objects with all their properties, lists of even length
    where the bounds allow it, whose enums take turns."""
    return _Instances(schema).make(schema, seed, 0)


class _Instances:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.definitions: Mapping[str, Any] = root.get("$defs", {})

    def make(self, schema: Mapping[str, Any], seed: str, turn: int) -> Any:
        if "$ref" in schema:
            return self.make(self.definitions[schema["$ref"].rpartition("/")[2]], seed, turn)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][turn % len(schema["enum"])]
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self.make(schema[union][0], seed, turn)
        kind = schema.get("type", "string")
        if isinstance(kind, list):
            kind = kind[0]
        if kind == "object":
            properties: Mapping[str, Any] = schema.get("properties", {})
            return {name: self.make(part, f"{seed}.{name}", turn) for name, part in properties.items()}
        if kind == "array":
            return list(self._items(schema, seed))
        if kind == "string":
            return self._text(schema, seed)
        if kind in ("integer", "number"):
            return self._number(schema, seed)
        return kind == "boolean" or None

    def _items(self, schema: Mapping[str, Any], seed: str) -> Iterator[Any]:
        least, most = schema.get("minItems", 2), schema.get("maxItems", 1 << 30)
        count = min(least + least % 2, most)
        for place in range(count):
            yield self.make(schema.get("items", {}), f"{seed}[{place}]", place)

    def _text(self, schema: Mapping[str, Any], seed: str) -> str:
        text = sentence(seed)
        while len(text) < schema.get("minLength", 0):
            text += f" {sentence(seed + text)}"
        return text[: schema.get("maxLength", len(text))]

    def _number(self, schema: Mapping[str, Any], seed: str) -> int:
        least = int(schema.get("minimum", 0))
        span = max(1, int(schema.get("maximum", least + 100)) - least + 1)
        return least + sha256(seed.encode()).digest()[0] % span


def answer(key: str, schema: Mapping[str, Any] | None) -> str:
    """The answer to a request with this key: JSON when a schema was asked for."""
    if schema is None:
        return sentence(key)
    return json.dumps(instance(schema, key), ensure_ascii=False)


def spoil(text: str, fault: str | None) -> str:
    """An answer's text as a faulty model would give it."""
    if fault == "empty":
        return ""
    if fault == "malformed":
        return text[: len(text) // 2]
    if fault == "fenced":
        return f"```json\n{text}\n```"
    return text


def tokens(texts: Sequence[str]) -> int:
    """A count of tokens in the manner of the trade: four characters to each."""
    return sum(len(text) // 4 + 1 for text in texts)
