"""Embeddings of Gemini models, through google-genai."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import PositiveInt

from synth.runtime.engines.base import EngineSpec
from synth.runtime.engines.hosted import session as hosted
from synth.runtime.engines.hosted.gemini import GeminiEngine
from synth.runtime.engines.options import read_options
from synth.runtime.engines.wire.fields import at
from synth.runtime.retrieval.embedders.base import Purpose, TextOptions, Vectors, vectors_of

_TASKS = {"passage": "RETRIEVAL_DOCUMENT", "query": "RETRIEVAL_QUERY"}


class GeminiEmbeddingOptions(TextOptions):
    """`dimensions` asks for shorter vectors than the model's own.  `task_type` false leaves out what
    the vectors are for: newer models are told so by prefixes."""

    dimensions: PositiveInt | None = None
    task_type: bool = True


class GeminiEmbedder(GeminiEngine):
    """Takes the options of the chat engine besides its own.  Raises as that one when constructed."""

    def __init__(self, spec: EngineSpec) -> None:
        own = {
            name: value for name, value in spec.options.items() if name in GeminiEmbeddingOptions.model_fields
        }
        rest = {name: value for name, value in spec.options.items() if name not in own}
        self._own = read_options(GeminiEmbeddingOptions, replace(spec, options=own))
        super().__init__(replace(spec, options={"concurrency": 8, **rest}))
        self.variant = self._own.variant
        # The service takes a hundred at a time.
        self.batch = min(self._own.batch_size or 64, 100)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        from google.genai.types import Content, EmbedContentConfig, Part

        if self._client is None:
            raise RuntimeError("the embedder is not started")
        data = await self.replied(
            self._client.aio.models.embed_content(
                model=self.identity.id,
                # Bare texts would be the parts of one content to some models, and give one vector.
                contents=[
                    Content(role="user", parts=[Part(text=text)])
                    for text in self._own.prefixed(texts, purpose)
                ],
                config=EmbedContentConfig(
                    task_type=_TASKS[purpose] if self._own.task_type else None,
                    output_dimensionality=self._own.dimensions,
                ),
            )
        )
        return hosted.read(
            lambda: vectors_of(_rows(hosted.json_of(data, self._secrets)), len(texts), self._own.dimensions)
        )


def _rows(body: Any) -> list[Any]:
    """The vectors in a response's body, in the order of the texts."""
    rows = at(body, "embeddings")
    return [at(row, "values") for row in rows] if isinstance(rows, list) else []
