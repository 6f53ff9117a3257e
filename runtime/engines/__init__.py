"""Engines, one file each, imported when a run needs them."""

from __future__ import annotations

from importlib import import_module

from synth.base.canonical import Frozen
from synth.compiler.outside.backends import BACKENDS
from synth.runtime.engines.base import Engine, EngineSpec
from synth.runtime.engines.options import BadOption, read_options, unknown

_ENGINES = {
    "vllm": ("synth.runtime.engines.local.vllm", "VllmEngine"),
    "transformers": ("synth.runtime.engines.local.transformers", "TransformersEngine"),
    "pocket": ("synth.runtime.engines.local.pocket", "PocketEngine"),
    "openai": ("synth.runtime.engines.hosted.openai", "OpenAIEngine"),
    "gemini": ("synth.runtime.engines.hosted.gemini", "GeminiEngine"),
    "simulated": ("synth.runtime.engines.simulated.engine", "SimulatedEngine"),
}


_OPTIONS = {
    "vllm": ("synth.runtime.engines.local.vllm", "VllmOptions"),
    "transformers": ("synth.runtime.engines.local.transformers", "TransformersOptions"),
    "pocket": ("synth.runtime.engines.local.transformers", "TransformersOptions"),
    "openai": ("synth.runtime.engines.hosted.openai", "OpenAIOptions"),
    "gemini": ("synth.runtime.engines.hosted.gemini", "GeminiOptions"),
    "simulated": ("synth.runtime.engines.simulated.engine", "SimulatedOptions"),
}


def options_of(backend: str) -> type[Frozen]:
    """What a backend's options are, by name, as `synth.toml` may give them."""
    module, name = _OPTIONS[backend]
    kind: type[Frozen] = getattr(import_module(module), name)
    return kind


def check_place(spec: EngineSpec) -> None:
    """Raises BadOption for a backend that there is not, and for one that is not told which model."""
    known = BACKENDS.get(spec.backend)
    if known is None:
        raise BadOption(
            f"model `{spec.name}`: there is no backend `{spec.backend}`; {unknown(spec.backend, BACKENDS)}",
            "backend",
        )
    if known.needs_id and not spec.id:
        raise BadOption(f"model `{spec.name}`: say which model {spec.backend} is to run, as its `id`", "id")


def check_options(spec: EngineSpec) -> None:
    """Raises BadOption for an option that a backend does not know or cannot use; neither the
    backend's packages nor its key need be there."""
    read_options(options_of(spec.backend), spec)


def open_engine(spec: EngineSpec) -> Engine:
    """The engine for a spec.  Raises EngineError (ExtraMissing, KeyMissing) in one sentence."""
    check_place(spec)
    module, name = _ENGINES[spec.backend]
    engine: Engine = getattr(import_module(module), name)(spec)
    return engine
