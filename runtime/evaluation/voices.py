"""Whose voice a text has, by embeddings: the persona whose other texts are nearest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from synth.base.errors import ConfigError, EngineError
from synth.runtime.run import loop


def nearest_voices(said: Mapping[str, str], personas: Mapping[str, str]) -> dict[str, str]:
    """For each row the persona whose centroid its text is nearest to, its own text left out.

    `said` and `personas` are by row.  A row whose persona has no other is left out, and all are
    where no two personas have two.  Raises ConfigError where no embedder is installed.
    """
    counts = Counter(personas[row] for row in said)
    names = sorted(name for name, count in counts.items() if count > 1)
    rows = [row for row in said if personas[row] in names]
    if len(names) < 2:
        return {}
    embedded = loop.run(_embedded([said[row] for row in rows]))
    # Only now, since the embedder says what is to be installed.
    import numpy as np

    vectors = np.asarray(embedded, dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ours = np.asarray([names.index(personas[row]) for row in rows])
    sums = np.stack([vectors[ours == number].sum(axis=0) for number in range(len(names))])
    heard = {}
    for row, vector, own in zip(rows, vectors, ours, strict=True):
        others = sums.copy()
        others[own] -= vector
        heard[row] = names[int((others @ vector / np.linalg.norm(others, axis=1)).argmax())]
    return heard


async def _embedded(texts: Sequence[str]) -> list[Sequence[float]]:
    from synth.runtime.retrieval.embedders import default_embedder

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
