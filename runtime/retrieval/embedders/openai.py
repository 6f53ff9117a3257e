"""Embeddings by the `openai` client: OpenAI itself, or any server that speaks its protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import PositiveInt

from runtime.engines import hosted
from runtime.engines.base import EngineSpec
from runtime.engines.local import read_options
from runtime.engines.openai import OpenAIEngine
from runtime.retrieval.embedders.base import Purpose, TextOptions, Vectors


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
        return _vectors(await self.post("/embeddings", request), len(texts))


def _vectors(data: bytes, count: int) -> Vectors:
    """The vectors of a response's body, in the order of the texts."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise hosted.malformed("the response is not JSON") from None
    rows = hosted.at(body, "data")
    vectors: dict[int, Any] = {}
    for place, row in enumerate(rows if isinstance(rows, list) else ()):
        index = hosted.at(row, "index")
        vectors[index if isinstance(index, int) else place] = hosted.at(row, "embedding")
    found = [vectors.get(place) for place in range(count)]
    if len(vectors) != count or not all(isinstance(vector, list) and vector for vector in found):
        raise hosted.malformed(f"the response has not a vector for each of {count} texts")
    return [list(vector) for vector in found if vector]
