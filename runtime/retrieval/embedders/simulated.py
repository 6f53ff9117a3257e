"""Vectors without a model, for simulations: words and parts of words, hashed.

Texts that share words are near each other, so a simulation retrieves much what a full-text search
would.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from synth.compiler.stdlib.checks.fold import fold
from synth.runtime.engines.base import EngineSpec, ModelIdentity
from synth.runtime.retrieval.embedders.base import Purpose, Vectors

_DIMENSION = 256


class SimulatedEmbedder:
    """Takes any spec; its options are those of the simulated engine and mean nothing here."""

    identity = ModelIdentity(backend="simulated", id="words")
    variant = ""
    batch = 256
    concurrency = 1

    def __init__(self, spec: EngineSpec) -> None:
        del spec

    async def start(self) -> None:
        """There is nothing to load."""

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        return [_vector(text) for text in texts]

    async def close(self) -> None:
        """There is nothing to close."""


def _vector(text: str) -> list[float]:
    vector = [0.0] * _DIMENSION
    for word in fold(text).split():
        for part in (word, *(word[at : at + 4] for at in range(len(word) - 4))):
            number = int.from_bytes(blake2b(part.encode("utf-8", "replace"), digest_size=4).digest(), "big")
            vector[number % _DIMENSION] += 1.0 if number & 1 << 31 else -1.0
    # A text without words has a direction, too: without one it would be unlike itself.
    return vector if any(vector) else [1.0] * _DIMENSION
