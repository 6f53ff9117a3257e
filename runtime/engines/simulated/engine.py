"""A simulation of a model: answers that fit what is asked, from the seed alone, at no cost.

Options: `latency` in seconds a call, `jitter` as a share of it, `failures` as the share of tries
that fail (half rate limits, half server errors), `concurrency`, and those of every model.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from random import Random
from typing import Annotated, Any

from pydantic import Field

from synth.base.errors import CallFailed
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.plan.types import Capability
from synth.runtime.engines.base import (
    Call,
    Completion,
    EngineSpec,
    Message,
    ModelIdentity,
    ToolCall,
    WaitOptions,
)
from synth.runtime.engines.options import read_options
from synth.runtime.engines.simulated.answers import Wishes, answer, wishes

Asked = tuple[tuple[CheckPlan, ...], tuple[CheckPlan, ...]]

# Steps whose wishes are remembered; a recipe has a few dozen.
_STEPS = 1024


class SimulatedOptions(WaitOptions):
    latency: Annotated[float, Field(ge=0)] = 0.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    failures: Annotated[float, Field(ge=0, lt=1)] = 0.0
    concurrency: Annotated[int, Field(ge=1)] = 256


class SimulatedEngine:
    """Always the same answer to the same call; which tries fail is seeded as well."""

    def __init__(self, spec: EngineSpec) -> None:
        self._options = read_options(SimulatedOptions, spec)
        self.identity = ModelIdentity(backend="simulated", id=spec.id or spec.name)
        self.capabilities: frozenset[Capability] = frozenset(("chat", "json", "tools"))
        self.version = "simulated 3"
        self.concurrency = self._options.concurrency
        self.adaptive = False
        self._tries: dict[str, int] = {}
        # With what they were read from, so that no other object gets its place in memory.
        self._wishes: dict[tuple[int, int, int | None], tuple[Asked, Wishes]] = {}

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, ...] | None:
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
            await asyncio.sleep(min(delay, options.timeout))
        if delay > options.timeout:
            raise CallFailed("timeout", "no answer within the time allowed", retryable=True)
        self._fail(call.key, number)
        random = Random(number)
        most = call.sampling.max_tokens
        room = None if most is None or call.schema is not None else 4 * most + 3
        due = _due(call)
        if due is not None:
            return _calling(call, due, random, round(delay * 1000))
        text = answer(self._wanted(call, room), call.schema, random)
        cut = room is not None and len(text) > room
        text = text[:room]
        tokens = max(1, len(text) // 4)
        return Completion(
            text=text,
            finish_reason="length" if cut else "stop",
            prompt_tokens=_prompt_tokens(call),
            completion_tokens=tokens,
            latency_ms=round(delay * 1000),
        )

    def _wanted(self, call: Call, room: int | None) -> Wishes:
        """What a step's checks ask for.  They are the same objects in each of its calls."""
        asked = call.checks, call.must_fail
        step = id(asked[0]), id(asked[1]), room
        known = self._wishes.get(step)
        if known is None:
            if len(self._wishes) >= _STEPS:
                self._wishes.clear()
            known = asked, wishes(*asked, room)
            self._wishes[step] = known
        return known[1]

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


def _due(call: Call) -> Mapping[str, Any] | None:
    """The first tool that was not called in this turn; None where it is time to speak."""
    called = []
    for message in reversed(call.messages):
        if message.role != "tool" and not message.calls:
            break
        called += [each.name for each in message.calls]
    if len(called) >= call.most_calls:
        return None
    return next((tool for tool in call.tools if tool["function"]["name"] not in called), None)


def _calling(call: Call, tool: Mapping[str, Any], random: Random, latency_ms: int) -> Completion:
    function = tool["function"]
    written = answer(wishes(()), function["parameters"], random)
    return Completion(
        text="",
        finish_reason="stop",
        prompt_tokens=_prompt_tokens(call),
        completion_tokens=max(1, len(written) // 4),
        latency_ms=latency_ms,
        calls=(ToolCall(function["name"], json.loads(written)),),
    )


def _prompt_tokens(call: Call) -> int:
    return sum(len(message.content) for message in call.messages) // 4 + 4
