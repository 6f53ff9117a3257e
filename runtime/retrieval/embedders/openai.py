"""Embeddings by the `openai` client: OpenAI itself, or any server that speaks its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import PositiveInt

from synth.runtime.engines.base import EngineSpec
from synth.runtime.engines.hosted import session as hosted
from synth.runtime.engines.hosted.openai import OpenAIEngine
from synth.runtime.engines.options import read_options
from synth.runtime.engines.wire.fields import at
from synth.runtime.retrieval.embedders.base import Purpose, TextOptions, Vectors, vectors_of


class OpenAIEmbeddingOptions(TextOptions):
    """`dimensions` asks for shorter vectors than the model's own, where it can shorten them."""

    dimensions: PositiveInt | None = None


class OpenAIEmbedder(OpenAIEngine):
    """Takes the options of the chat engine besides its own.  Raises as that one when constructed."""

    def __init__(self, spec: EngineSpec) -> None:
        own = {
            name: value for name, value in spec.options.items() if name in OpenAIEmbeddingOptions.model_fields
        }
        rest = {name: value for name, value in spec.options.items() if name not in own}
        self._own = read_options(OpenAIEmbeddingOptions, replace(spec, options=own))
        super().__init__(replace(spec, options={"concurrency": 8, **rest}))
        self.variant = self._own.variant
        self.batch = self._own.batch_size or 64

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        request: dict[str, Any] = {
            "model": self.identity.id,
            "input": self._own.prefixed(texts, purpose),
            "encoding_format": "float",
        }
        if self._own.dimensions is not None:
            request["dimensions"] = self._own.dimensions
        data = await self.post("/embeddings", request)
        return hosted.read(
            lambda: vectors_of(_rows(hosted.json_of(data, self._secrets)), len(texts), self._own.dimensions)
        )


def _rows(body: Any) -> list[Any]:
    """The vectors in a response's body, in the order of the texts."""
    rows = at(body, "data")
    vectors: dict[int, Any] = {}
    for place, row in enumerate(rows if isinstance(rows, list) else ()):
        index = at(row, "index")
        vectors[index if type(index) is int else place] = at(row, "embedding")
    return [vectors.get(place) for place in range(len(vectors))]
