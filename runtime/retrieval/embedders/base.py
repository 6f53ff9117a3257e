"""What an index asks of an embedder.

Constructing one finds out who it is and loads nothing; `start` loads weights or opens
connections, when the first vector is missed.  An embedder never retries: that is the business of
`synth.runtime.retrieval.vectors`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import PositiveInt

from synth.base.canonical import Frozen, digest
from synth.base.errors import EngineDied
from synth.base.text import spoken
from synth.runtime.engines.base import ModelIdentity
from synth.runtime.engines.hosted.session import malformed
from synth.runtime.engines.wire.fields import vectors

# Some models embed what is looked for otherwise than what is found.
Purpose = Literal["passage", "query"]
Vectors = Sequence[Sequence[float]]

_OF_VECTORS = {
    *("query_prefix", "passage_prefix", "max_length", "max_model_len", "pooling", "dimensions"),
    *("task_type", "dtype"),
}


class TextOptions(Frozen):
    """What every embedder's options say of its texts.

    The prefixes are put before the texts of models that were trained with some, such as
    `query: `.  `batch_size` texts go into a call; None leaves that to the backend.
    """

    query_prefix: str = ""
    passage_prefix: str = ""
    batch_size: PositiveInt | None = None

    def prefixed(self, texts: Sequence[str], purpose: Purpose) -> list[str]:
        prefix = self.query_prefix if purpose == "query" else self.passage_prefix
        return [prefix + text for text in texts]

    @property
    def variant(self) -> str:
        """Names the options that vectors depend on, which are not those of where they are made;
        empty where all are as they come."""
        body = self.model_dump(mode="json", exclude_defaults=True, include=_OF_VECTORS)
        return digest(body)[:8] if body else ""


class Embedder(Protocol):
    """Texts to vectors, all of one length.

    `identity` with `variant` names everything that a vector depends on but the text, so vectors
    under one name can be kept and compared.  `batch` texts are worth embedding at a time, in
    `concurrency` calls side by side.  `embed` raises `CallFailed` for a fault of these texts or of
    the moment, and `EngineError` when no call can succeed.
    """

    identity: ModelIdentity
    variant: str
    batch: int
    concurrency: int

    async def start(self) -> None: ...

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """A vector of floats for each text, in order."""
        ...

    async def close(self) -> None: ...


async def in_time(work: asyncio.Future[Vectors], timeout: float, identity: ModelIdentity) -> Vectors:
    """The vectors of some work in a thread, which nobody can call back.  Raises EngineDied when it
    takes longer than `timeout`, in seconds."""
    try:
        return await asyncio.wait_for(work, timeout)
    except TimeoutError:
        raise EngineDied(
            f"{identity} embedded nothing within {spoken(timeout)}: give it fewer texts at a time with "
            "`batch_size`, or more time with `timeout`"
        ) from None


def vectors_of(rows: Sequence[Any], count: int, dimensions: int | None) -> Vectors:
    """The vectors that a service gave for so many texts.  Raises CallFailed for what are none."""
    checked = vectors(rows, dimensions)
    if isinstance(checked, str):
        raise malformed(checked)
    if len(checked) != count:
        raise malformed(f"the response has not a vector for each of {count} texts")
    return checked


def embedder_name(embedder: Embedder) -> str:
    """The name under which an embedder's vectors are kept."""
    weights = embedder.identity.weights
    named = f"{embedder.identity}+{weights[:16]}" if weights else str(embedder.identity)
    return named + (f"#{embedder.variant}" if embedder.variant else "")
