"""Embedders, one file each, imported when an index needs one."""

from __future__ import annotations

from importlib import import_module

from synth.base.errors import EngineError
from synth.runtime.engines.base import EngineSpec
from synth.runtime.retrieval.embedders.base import Embedder, Purpose

__all__ = ["Embedder", "Purpose", "default_embedder", "open_embedder"]

_HERE = "synth.runtime.retrieval.embedders"
_EMBEDDERS = {
    "vllm": (f"{_HERE}.vllm", "VllmEmbedder"),
    "transformers": (f"{_HERE}.transformers", "TransformersEmbedder"),
    "pocket": (f"{_HERE}.packaged", "PackagedEmbedder"),
    "openai": (f"{_HERE}.openai", "OpenAIEmbedder"),
    "gemini": (f"{_HERE}.gemini", "GeminiEmbedder"),
    "simulated": (f"{_HERE}.simulated", "SimulatedEmbedder"),
}


def open_embedder(spec: EngineSpec) -> Embedder:
    """The embedder for a model that runs where `spec` says.

    Raises EngineError (ExtraMissing, KeyMissing) in one sentence.
    """
    if spec.backend not in _EMBEDDERS:
        raise EngineError(f"model `{spec.name}`: the backend `{spec.backend}` makes no embeddings")
    module, name = _EMBEDDERS[spec.backend]
    embedder: Embedder = getattr(import_module(module), name)(spec)
    return embedder


def default_embedder() -> Embedder:
    """The one for an index that names none: a small model whose weights come in a package.

    Raises EngineError when it is not installed.
    """
    return open_embedder(EngineSpec("embedder", "pocket", ""))
