"""Whose voice a text has, by embeddings: the persona whose other texts are nearest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from dsl.errors import ConfigError


def nearest_voices(said: Mapping[str, str], personas: Mapping[str, str]) -> dict[str, str | None]:
    """For each row the persona whose centroid its text is nearest to, its own text left out.

    `said` and `personas` are by row.  A persona with a single text has no centroid without it,
    so that text is never heard as its own.
    """
    import numpy as np

    rows = list(said)
    if len(set(personas.values())) < 2:
        raise ConfigError("`tone` compares voices, and the rows have fewer than two personas")
    vectors = np.asarray(asyncio.run(_embedded([said[row] for row in rows])), dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = sorted(set(personas.values()))
    sums = {
        name: sum(vector for row, vector in zip(rows, vectors, strict=True) if personas[row] == name)
        for name in names
    }
    heard: dict[str, str | None] = {}
    for row, vector in zip(rows, vectors, strict=True):
        best: tuple[float, str] | None = None
        for name in names:
            centroid = sums[name] - vector if personas[row] == name else sums[name]
            length = float(np.linalg.norm(centroid))
            if length > 1e-12:
                likeness = float(vector @ centroid) / length
                best = max(best or (likeness, name), (likeness, name), key=lambda each: each[0])
        heard[row] = best[1] if best else None
    return heard


async def _embedded(texts: Sequence[str]) -> list[Sequence[float]]:
    from runtime.retrieval import default_embedder

    embedder = default_embedder()
    await embedder.start()
    try:
        return [
            vector
            for start in range(0, len(texts), embedder.batch)
            for vector in await embedder.embed(texts[start : start + embedder.batch], "passage")
        ]
    finally:
        await embedder.close()
