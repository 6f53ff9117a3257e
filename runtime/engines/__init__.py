"""Engines, one file each, imported when a run needs them."""

from __future__ import annotations

from importlib import import_module

from dsl.errors import EngineError
from runtime.engines.base import Engine, EngineSpec

_ENGINES = {
    "vllm": ("runtime.engines.vllm", "VllmEngine"),
    "transformers": ("runtime.engines.transformers", "TransformersEngine"),
    "pocket": ("runtime.engines.pocket", "PocketEngine"),
    "openai": ("runtime.engines.openai", "OpenAIEngine"),
    "gemini": ("runtime.engines.gemini", "GeminiEngine"),
    "simulated": ("runtime.engines.simulated", "SimulatedEngine"),
}


def open_engine(spec: EngineSpec) -> Engine:
    """The engine for a spec.  Raises EngineError (ExtraMissing, KeyMissing) in one sentence."""
    if spec.backend not in _ENGINES:
        raise EngineError(f"model `{spec.name}`: there is no backend `{spec.backend}`")
    module, name = _ENGINES[spec.backend]
    engine: Engine = getattr(import_module(module), name)(spec)
    return engine
