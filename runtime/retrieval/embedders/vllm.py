"""vLLM's pooling models, in this process."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt

from synth.base.errors import EngineError
from synth.runtime.engines.base import EngineSpec, ModelIdentity
from synth.runtime.engines.local import vllm as engines
from synth.runtime.engines.local import vllm_process as process
from synth.runtime.engines.local.checkpoint import (
    cannot_load,
    first_line,
    load_tokenizer,
    named_weights,
    require,
)
from synth.runtime.engines.local.options import LocalOptions
from synth.runtime.engines.local.thread import _LOADING as LOADING
from synth.runtime.engines.options import read_options
from synth.runtime.retrieval.embedders.base import Purpose, TextOptions, Vectors, in_time
from synth.runtime.retrieval.embedders.windows import merge_windows, token_windows

_GIB = 1 << 30


class VllmEmbeddingOptions(TextOptions, LocalOptions):
    """What `synth.toml` may say about a pooling model in vLLM.

    `gpu_memory_utilization` is this model's share of a GPU: what it and the others' shares add up
    to has to stay below 1.  `kv_cache_gb` is 1 on a CPU.  The rest is as for a chat model.
    """

    max_model_len: PositiveInt | None = None
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.2
    dtype: str = "auto"
    enforce_eager: bool | None = None
    kv_cache_gb: PositiveFloat | None = None
    threads: PositiveInt | None = None


class VllmEmbedder:
    """Raises `EngineError` for a missing package, an unknown model or option, and an adapter."""

    concurrency = 1

    def __init__(self, spec: EngineSpec) -> None:
        require(spec.backend, "vllm", "vllm")
        if spec.adapter is not None:
            raise EngineError("the vllm embedder loads no adapters: leave `adapter` out")
        self._spec = spec
        self._options = read_options(VllmEmbeddingOptions, spec)
        self.identity = ModelIdentity(
            backend=spec.backend, id=spec.id, revision=spec.revision, weights=named_weights(spec)
        )
        self.variant = self._options.variant
        self.batch = self._options.batch_size or 256
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._turn: Any = nullcontext()
        self._model: Any = None
        self._tokenizer: Any = None

    async def start(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        prefixed = self._options.prefixed(texts, purpose)
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._embed, prefixed)
        return await in_time(work, self._options.timeout, self.identity)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._unload)
        await asyncio.to_thread(self._thread.shutdown)

    # In the thread -----------------------------------------------------------------

    def _load(self) -> None:
        # One at a time, as the engines are loaded: loading changes the process's own settings.
        with LOADING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._load_model()
            except EngineError:
                raise
            except Exception as fault:
                self._unload()
                raise cannot_load(self._spec, fault) from fault

    def _load_model(self) -> None:
        process.set_defaults(process.ENVIRONMENT)
        if not (logger := logging.getLogger("vllm")).handlers:
            logger.addHandler(logging.NullHandler())
        import torch

        options, on_cpu = self._options, not torch.cuda.is_available()
        if on_cpu:
            threads = str(options.threads or process.cpus())
            process.set_defaults({**process.CPU_ENVIRONMENT, "OMP_NUM_THREADS": threads})
        self._tokenizer = load_tokenizer(self._spec)
        arguments: dict[str, Any] = {
            "runner": "pooling",
            "revision": self._spec.revision,
            "tokenizer_revision": self._spec.revision,
            "max_model_len": options.max_model_len,
            "gpu_memory_utilization": options.gpu_memory_utilization,
            "dtype": options.dtype,
            "enforce_eager": on_cpu if options.enforce_eager is None else options.enforce_eager,
            "use_tqdm_on_load": False,
        }
        if on_cpu:
            arguments["enable_chunked_prefill"] = False
        if on_cpu or options.kv_cache_gb is not None:
            arguments["kv_cache_memory_bytes"] = int((options.kv_cache_gb or 1) * _GIB)
        if shares_process := os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "1") == "0":
            self._turn = engines._TURN
        else:
            process.shield_children()
        from vllm import LLM

        with self._turn:
            if shares_process:
                engines._live.add(id(self))
            self._model = LLM(self._spec.id, **arguments)

    def _unload(self) -> None:
        model, self._model = self._model, None
        with engines._TURN:
            engines._live.discard(id(self))
            if model is not None:
                engines._closed.append(model.llm_engine.engine_core)
            while engines._closed and not engines._live:
                engines._closed.pop().shutdown()

    def _embed(self, texts: Sequence[str]) -> Vectors:
        length = self._model.llm_engine.model_config.max_model_len
        windows, owners = [], []
        for owner, text in enumerate(texts):
            parts = token_windows(self._tokenizer, text, length)
            windows += parts
            owners += [owner] * len(parts)
        prompts = [{"prompt_token_ids": window} for window in windows]
        try:
            with self._turn:
                outputs = self._model.embed(prompts, use_tqdm=False)
        except Exception as fault:
            raise EngineError(f"{self.identity} stopped embedding: {first_line(fault)}") from fault
        vectors = [output.outputs.embedding for output in outputs]
        return merge_windows(vectors, [len(window) for window in windows], owners)
