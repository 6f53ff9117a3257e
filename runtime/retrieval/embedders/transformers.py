"""transformers and torch, in this process: encoders whose token vectors are pooled into one."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt

from synth.base.errors import EngineError
from synth.runtime.engines.base import EngineSpec, ModelIdentity
from synth.runtime.engines.local.checkpoint import cannot_load, load_tokenizer, named_weights, require
from synth.runtime.engines.local.options import LocalOptions
from synth.runtime.engines.local.thread import _LOADING as LOADING
from synth.runtime.engines.options import read_options
from synth.runtime.retrieval.embedders.base import Purpose, TextOptions, Vectors, in_time
from synth.runtime.retrieval.embedders.windows import merge_windows, token_windows

_MODE = "pooling_mode_"


class EncoderOptions(TextOptions, LocalOptions):
    """What `synth.toml` may say about an encoder.

    `max_length` is in tokens, with the marks at both ends; by default the model's own limit.  A
    longer text is read in windows of that length.  `pooling` overrules what the checkpoint says.
    `device` is torch's name for it; `threads` are CPU threads.
    """

    max_length: PositiveInt | None = None
    pooling: Literal["mean", "cls"] | None = None
    device: str | None = None
    threads: PositiveInt | None = None


class TransformersEmbedder:
    """An encoder from a directory or the model hub.

    Raises `EngineError` for a missing package, an unknown model or option, and an adapter.
    """

    concurrency = 1
    extra = "transformers"

    def __init__(self, spec: EngineSpec) -> None:
        require(spec.backend, self.extra, "torch", "transformers")
        if spec.adapter is not None:
            raise EngineError(f"the {spec.backend} embedder loads no adapters: leave `adapter` out")
        self._spec = spec
        self._options = read_options(EncoderOptions, spec)
        self.identity = ModelIdentity(
            backend=spec.backend, id=spec.id, revision=spec.revision, weights=named_weights(spec)
        )
        self.variant = self._options.variant
        self.batch = self._options.batch_size or 32
        # One thread owns the model, so that calls from several tasks do not share it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._model: Any = None
        self._tokenizer: Any = None
        self._pooling = "mean"
        self._length = 0
        self._device = "cpu"

    async def start(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        prefixed = self._options.prefixed(texts, purpose)
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._embed, prefixed)
        return await in_time(work, self._options.timeout, self.identity)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
        self._model = None

    def _source(self) -> EngineSpec:
        """Where tokenizer and weights are."""
        return self._spec

    # In the thread -----------------------------------------------------------------

    def _load(self) -> None:
        import torch
        from transformers import AutoModel
        from transformers.utils import logging

        options, source = self._options, self._source()
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer = load_tokenizer(source)
        logging.disable_progress_bar()
        try:
            # One at a time, as the engines are loaded: loading changes the process's own settings.
            with LOADING, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = AutoModel.from_pretrained(
                    source.id, revision=source.revision or "main", dtype=torch.float32
                )
            self._model = model.to(self._device).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as fault:
            raise cannot_load(self._spec, fault) from fault
        finally:
            logging.enable_progress_bar()
        self._pooling = options.pooling or _pooling(source)
        limits = (
            options.max_length,
            # What it was trained on, which may be less than what it can read.
            _says(source, "sentence_bert_config.json").get("max_seq_length"),
            self._tokenizer.model_max_length,
            getattr(self._model.config, "max_position_embeddings", None),
        )
        self._length = min(limit for limit in limits if limit is not None)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        windows, owners = [], []
        for owner, text in enumerate(texts):
            parts = token_windows(self._tokenizer, text, self._length)
            windows += parts
            owners += [owner] * len(parts)
        vectors: list[Any] = [None] * len(windows)
        # Alike lengths side by side, so that little is padding.
        order = sorted(range(len(windows)), key=lambda at: len(windows[at]))
        for start in range(0, len(order), self.batch):
            chunk = order[start : start + self.batch]
            for at, vector in zip(chunk, self._pooled([windows[at] for at in chunk]), strict=True):
                vectors[at] = vector
        return merge_windows(vectors, [len(window) for window in windows], owners)

    def _pooled(self, windows: Sequence[Sequence[int]]) -> Any:
        import torch

        padded = self._tokenizer.pad({"input_ids": list(windows)}, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            states = self._model(**padded).last_hidden_state
        if self._pooling == "cls":
            return states[:, 0].float().cpu().numpy()
        mask = padded["attention_mask"].unsqueeze(-1)
        return ((states * mask).sum(1) / mask.sum(1)).float().cpu().numpy()


def _pooling(source: EngineSpec) -> str:
    """How the checkpoint pools; encoders that do not say so take the mean."""
    settings = _says(source, "1_Pooling/config.json")
    modes = {
        name.removeprefix(_MODE) for name, on in settings.items() if name.startswith(_MODE) and on is True
    }
    if "pooling_mode" in settings:
        modes.add(str(settings["pooling_mode"]))
    if modes <= {"mean", "mean_tokens"}:
        return "mean"
    if modes <= {"cls", "cls_token"}:
        return "cls"
    raise EngineError(
        f"`{source.id}` pools its tokens by {', '.join(sorted(modes))}, which the transformers embedder "
        "does not know: use vllm for it"
    )


def _says(source: EngineSpec, file: str) -> Mapping[str, Any]:
    """One of the small files that encoders come with; empty where there is none."""
    from transformers.utils import cached_file

    place = cached_file(
        source.id,
        file,
        revision=source.revision or "main",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    content: Mapping[str, Any] = json.loads(Path(place).read_text("utf-8")) if place else {}
    return content
