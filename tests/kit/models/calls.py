"""Calls to a local engine, rendered as the runtime renders them."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Coroutine, Mapping, Sequence
from functools import cache
from typing import Any

from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import Call, Completion, Engine, Message


@cache
def prepare_vllm() -> None:
    """Do once in this process what vLLM does again for each engine that starts.

    After an engine was made and before it starts, since vLLM reads the environment that it sets.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vllm.v1.worker.cpu_worker  # noqa: F401
        from vllm.model_executor.models import registry
        from vllm.platforms import current_platform

    # What the class of a model can do it asks a new process, which imports all of vLLM, so that a GPU is
    # not touched.
    if hasattr(registry, "_run_in_subprocess"):
        registry._run_in_subprocess = lambda look: look()
    # Whatever stands for Triton's kernels on a CPU is looked for in all that was ever imported.
    platform = type(current_platform)
    if "register_triton_kernel_overrides" in vars(platform):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            platform.register_triton_kernel_overrides()
        platform.register_triton_kernel_overrides = classmethod(lambda _: None)
    # It collects garbage five times.
    gc.collect()
    gc.freeze()


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
