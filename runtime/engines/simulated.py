"""A rehearsal of a model: answers that fit what is asked, from the seed alone, at no cost.

Options: `latency` in seconds a call, `jitter` as a share of it, `failures` as the share of tries
that fail (half rate limits, half server errors), `concurrency`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import sha256
from random import Random
from typing import Annotated, Any

from pydantic import Field, ValidationError

from compiler.plan import Capability, CheckPlan, Frozen, canonical_json
from dsl.errors import CallFailed, EngineError
from runtime.engines.base import Call, Completion, EngineSpec, Message, ModelIdentity

_WORDS = (
    "amber anchor archive atlas autumn basin beacon borrow bridge candle canvas careful carry cedar "
    "chapter circle clever cloud copper cotton curious dance dawn delta desert distant dream early "
    "echo ember engine evening fable family feather ferry field finger forest garden gentle glass "
    "granite harbor harvest helper hidden hollow honest island ivory jacket journey kettle kindly "
    "ladder lantern letter listen lively machine maple market meadow memory mender mirror morning "
    "mountain narrow needle northern notice ocean orchard paper patient pepper pilot planet pocket "
    "quiet rainy reader ribbon river rocket saddle safely season secret shadow signal silver simple "
    "sister slowly southern spoken spring stable steady stone story summer sunny table tender thread "
    "timber travel twelve valley velvet village violet voice wander warmly water willow window winter "
    "wonder yellow"
).split()


class SimulatedOptions(Frozen):
    latency: Annotated[float, Field(ge=0)] = 0.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    failures: Annotated[float, Field(ge=0, lt=1)] = 0.0
    concurrency: Annotated[int, Field(ge=1)] = 256


class SimulatedEngine:
    """Always the same answer to the same call; which tries fail is seeded as well."""

    def __init__(self, spec: EngineSpec) -> None:
        try:
            self._options = SimulatedOptions.model_validate(dict(spec.options))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise EngineError(f"model `{spec.name}`: simulated option `{name}`: {first['msg']}") from None
        self.identity = ModelIdentity(backend="simulated", id=spec.id or spec.name)
        self.capabilities: frozenset[Capability] = frozenset(("chat", "json"))
        self.version = "simulated 1"
        self.concurrency = self._options.concurrency
        self.adaptive = False
        self._tries: dict[str, int] = {}

    def render(self, messages: Sequence[Message]) -> tuple[int, ...] | None:
        return None

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    async def generate(self, call: Call) -> Completion:
        number = int.from_bytes(sha256(call.key.encode()).digest()[:8], "big")
        options = self._options
        delay = options.latency * (1 + options.jitter * (2 * Random(number).random() - 1))
        if delay > 0:
            await asyncio.sleep(delay)
        self._fail(call.key, number)
        random = Random(number)
        if call.schema is not None:
            text = canonical_json(_instance(call.schema, random))
        else:
            text = _text(call.checks, random)
        tokens = max(1, len(text) // 4)
        cut = call.sampling.max_tokens is not None and tokens > call.sampling.max_tokens
        return Completion(
            text=text,
            finish_reason="length" if cut and call.schema is None else "stop",
            prompt_tokens=sum(len(message.content) for message in call.messages) // 4 + 4,
            completion_tokens=tokens,
            latency_ms=round(delay * 1000),
        )

    def _fail(self, key: str, number: int) -> None:
        if not self._options.failures:
            return
        attempt = self._tries.pop(key, 0)
        draw = Random(number + attempt + 1).random()
        if draw >= self._options.failures:
            return
        self._tries[key] = attempt + 1
        if draw < self._options.failures / 2:
            raise CallFailed("rate_limit", "simulated rate limit", retryable=True, retry_after=0.0)
        raise CallFailed("server", "simulated server error", retryable=True)


def _text(checks: Sequence[CheckPlan], random: Random) -> str:
    """Sentences of plain words within the bounds that the checks set."""
    wanted = {check.name: check.arguments for check in checks}
    prefix = str(wanted.get("starts_with", {}).get("prefix", ""))
    suffix = str(wanted.get("ends_with", {}).get("suffix", "."))
    low, high = _bounds(wanted.get("length", {}).get("characters"), 40, 160)
    fewest, most = _bounds(wanted.get("sentences", {}).get("count"), 1, 3)
    target = max(low, min(high, low + round((high - low) * random.random() * 0.6)))
    count = max(fewest, min(most, 1 + target // 80))
    body = target - len(prefix) - len(suffix)
    sentences = [_sentence(random, max(1, body // count)) for _ in range(count)]
    if prefix:
        sentences[0] = f"{prefix} {sentences[0]}"
    else:
        sentences[0] = sentences[0].capitalize()
    text = ". ".join([sentences[0], *(sentence.capitalize() for sentence in sentences[1:])])
    text = text[: max(1, high - len(suffix))].rstrip(" .")
    while len(text) + len(suffix) < low:
        text += f" {random.choice(_WORDS)}"[: max(2, high - len(suffix) - len(text))]
    return text + suffix


def _sentence(random: Random, length: int) -> str:
    words = [random.choice(_WORDS)]
    while sum(map(len, words)) + len(words) < length:
        words.append(random.choice(_WORDS))
    return " ".join(words)


def _bounds(given: Any, low: int, high: int) -> tuple[int, int]:
    if given is None:
        return low, high
    start = given[0] if given[0] is not None else min(low, given[1])
    return start, given[1] if given[1] is not None else max(high, start)


def _instance(schema: Mapping[str, Any], random: Random) -> Any:
    """A value that fits a schema of the kind `compiler.types.json_schema` makes."""
    if "enum" in schema:
        return random.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            return {
                name: _instance(inner, random)
                for name, inner in schema["properties"].items()
                if name in required or random.random() < 0.5
            }
        case "array":
            low = schema.get("minItems", 1)
            count = random.randint(low, min(schema.get("maxItems", low + 2), low + 4))
            return [_instance(schema["items"], random) for _ in range(count)]
        case "integer":
            return random.randint(0, 100)
        case "number":
            return round(random.random() * 100, 2)
        case "boolean":
            return random.random() < 0.5
    low, high = schema.get("minLength", 1), schema.get("maxLength", 60)
    text = _sentence(random, max(low, min(high, low + 30)))
    return text[:high]
