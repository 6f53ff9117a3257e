"""Whose voice a text has, by embeddings: the persona whose other texts are nearest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from dsl.errors import ConfigError, EngineError


def nearest_voices(said: Mapping[str, str], personas: Mapping[str, str]) -> dict[str, str | None]:
    """For each row the persona whose centroid its text is nearest to, its own text left out; nothing
    where the rows have fewer than two personas.

    `said` and `personas` are by row.  A persona with a single text has no centroid without it,
    so that text is never heard as its own.  Raises ConfigError where no embedder is installed.
    """
    names = sorted(set(personas.values()))
    if len(names) < 2:
        return {}
    embedded = asyncio.run(_embedded(list(said.values())))
    # Only now, since the embedder says what is to be installed.
    import numpy as np

    vectors = np.asarray(embedded, dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ours = np.asarray([names.index(personas[row]) for row in said])
    sums = np.stack([vectors[ours == number].sum(axis=0) for number in range(len(names))])
    heard: dict[str, str | None] = {}
    for row, vector, own in zip(said, vectors, ours, strict=True):
        others = sums.copy()
        others[own] -= vector
        lengths = np.linalg.norm(others, axis=1)
        likeness = np.where(lengths > 1e-9, others @ vector / np.maximum(lengths, 1e-9), -np.inf)
        heard[row] = names[int(likeness.argmax())]
    return heard


async def _embedded(texts: Sequence[str]) -> list[Sequence[float]]:
    from runtime.retrieval import default_embedder

    try:
        embedder = default_embedder()
    except EngineError as error:
        raise ConfigError(
            f"`tone` compares voices by embeddings, unless a `judge` hears them: {error}"
        ) from None
    await embedder.start()
    try:
        return [
            vector
            for start in range(0, len(texts), embedder.batch)
            for vector in await embedder.embed(texts[start : start + embedder.batch], "passage")
        ]
    finally:
        await embedder.close()
