"""Calls to a local engine, rendered as the runtime renders them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import Call, Completion, Engine, Message


def look_here() -> None:
    """Let vLLM look in this process at what the class of a model can do: it asks a new process, which
    imports all of vLLM for each kind of model, so that a GPU is not touched."""
    from vllm.model_executor.models import registry

    if hasattr(registry, "_run_in_subprocess"):
        registry._run_in_subprocess = lambda look: look()


def messages(*turns: str) -> tuple[Message, ...]:
    """User and model turns by turns, starting with the user."""
    return tuple(Message("model" if place % 2 else "user", text) for place, text in enumerate(turns))


def call(
    engine: Engine,
    *turns: str,
    seed: int = 1,
    priority: int = 0,
    schema: Mapping[str, Any] | None = None,
    **sampling: Any,
) -> Call:
    asked = messages(*turns)
    return Call(
        key="",
        messages=asked,
        token_ids=engine.render(asked),
        schema=schema,
        sampling=Sampling(**sampling),
        seed=seed,
        priority=priority,
    )


def zeros(count: int) -> dict[str, Any]:
    """A schema whose one answer is a string of zeros; the tiny model needs a token for each."""
    return {"type": "string", "pattern": f"^0{{{count}}}$"}


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop of its own; a hang becomes a failure."""

    async def bounded() -> Any:
        async with asyncio.timeout(120):
            return await work

    return asyncio.run(bounded())


def ask(engine: Engine, *calls: Call) -> list[Completion]:
    """The answers to calls made together."""

    async def together() -> list[Completion]:
        return list(await asyncio.gather(*map(engine.generate, calls)))

    answers: list[Completion] = run(together())
    return answers


def outcomes(engine: Engine, *calls: Call) -> list[Completion | BaseException]:
    """The answers to calls made together, with the exceptions of those that failed."""

    async def together() -> list[Completion | BaseException]:
        return list(await asyncio.gather(*map(engine.generate, calls), return_exceptions=True))

    answers: list[Completion | BaseException] = run(together())
    return answers


def texts(answers: Sequence[Completion]) -> list[str]:
    return [answer.text for answer in answers]
