"""Short hands for tests that put a call to an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from synth.base.errors import CallFailed
from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import Call, Completion, Engine, EngineSpec, Message

SECRET = "sk-secret-0123456789abcdef"


def spec(backend: str, **options: Any) -> EngineSpec:
    return EngineSpec(name="author", backend=backend, id="model-x", options=options)


def call(
    prompt: str = "Who are you?",
    *,
    system: str | None = None,
    schema: Mapping[str, Any] | None = None,
    sampling: Sampling | None = None,
    seed: int = 7,
) -> Call:
    messages = (Message("system", system),) if system is not None else ()
    return Call(
        key="key",
        messages=(*messages, Message("user", prompt)),
        token_ids=None,
        schema=schema,
        sampling=sampling or Sampling(),
        seed=seed,
    )


def ask(make: Callable[[], Engine], asked: Call) -> Completion:
    """One call to a fresh engine, started and closed around it."""

    async def once() -> Completion:
        engine = make()
        await engine.start()
        try:
            return await engine.generate(asked)
        finally:
            await engine.close()

    return asyncio.run(once())


def failure(make: Callable[[], Engine], asked: Call) -> CallFailed:
    """The failure of a call that must fail."""
    try:
        completion = ask(make, asked)
    except CallFailed as failed:
        return failed
    raise AssertionError(f"the call did not fail: {completion}")


def shown(error: BaseException) -> str:
    """Everything that a traceback or a careless log line would print of an error."""
    return "\n".join(f"{link!s}\n{link!r}" for link in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
