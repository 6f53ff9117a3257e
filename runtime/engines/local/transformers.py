"""transformers and torch, in this process: where vLLM cannot run, and for small models.

One thread takes whatever waits, up to `batch_size` calls, and decodes it together.  Each call
has its own random generator, so its neighbours change its answer only through the rounding of
batched matrix products; with `batch_size = 1` not even so.  Answers to be scored go through the
model one by one, so a score depends on nothing beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import PositiveInt

from synth.base.errors import CallFailed, EngineError
from synth.compiler.plan.types import Capability
from synth.runtime.engines.base import EngineSpec
from synth.runtime.engines.local.checkpoint import first_line, load_tokenizer, require
from synth.runtime.engines.local.decoding import Row, json_matcher
from synth.runtime.engines.local.options import ChatOptions
from synth.runtime.engines.local.thread import LocalEngine, PendingRequest
from synth.runtime.engines.options import read_options

# Positions whose logits are held at once, in float32: 256 MiB with a vocabulary of 262144.
_POSITIONS = 256


class TransformersOptions(ChatOptions):
    """What `synth.toml` may say about a transformers model.  None leaves the choice to the machine.

    `batch_size` calls are decoded together.  `max_model_len` is in tokens, by default the
    model's own limit.  `device` is torch's name for it, by default a GPU if there is one.
    `dtype` is torch's name for the weights' type: by default the checkpoint's own on a GPU and
    float32 on a CPU.  `threads` are CPU threads.
    """

    batch_size: PositiveInt = 16
    max_model_len: PositiveInt | None = None
    device: str | None = None
    dtype: str | None = None
    threads: PositiveInt | None = None
    tool_parser: Literal["hermes", "qwen3_json", "llama3_json", "llama4_json"] | None = None


class TransformersEngine(LocalEngine):
    """A model in transformers.

    An unset temperature is 1, as in vLLM; the generation defaults of a checkpoint are not used.
    Raises `EngineError` for an unknown model, revision or option, and for an adapter.
    """

    # What an unset max_tokens means; None is the rest of the context.
    default_limit: int | None = None

    def __init__(self, spec: EngineSpec) -> None:
        require(spec.backend, "transformers", "torch", "transformers")
        if spec.adapter is not None:
            raise EngineError(f"the {spec.backend} backend loads no adapters: use vllm for `{spec.adapter}`")
        self._options = read_options(TransformersOptions, spec)
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        self._tokenizer = self._load_tokenizer(spec)
        capabilities: list[Capability] = ["chat", "template", "logprobs"]
        if find_spec("llguidance") is not None:
            capabilities.append("json")
        super().__init__(
            spec,
            options=self._options,
            template=self._options.template(self._tokenizer),
            capabilities=capabilities,
            version=f"transformers {version('transformers')}, torch {version('torch')}",
            concurrency=self._options.batch_size,
        )
        self._model: Any = None
        self._context = 0
        self._ends: frozenset[int] = frozenset()
        self._grammar_tokenizer: Any = None

    def _load_tokenizer(self, spec: EngineSpec) -> Any:
        return load_tokenizer(spec)

    # In the thread -----------------------------------------------------------------

    def _source(self) -> tuple[str, str]:
        """Where the weights are: a directory or a name on the model hub, and its revision."""
        return self._spec.id, self._spec.revision or "main"

    def _load(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        options = self._options
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        source, revision = self._source()
        dtype = options.dtype or ("float32" if device == "cpu" else "auto")
        logging.disable_progress_bar()
        try:
            model = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=dtype)
            self._model = model.to(device).eval()
        finally:
            logging.enable_progress_bar()
        config = model.config.get_text_config()
        self._context = min(config.max_position_embeddings, options.max_model_len or 1 << 62)
        ends = model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        own = self._tokenizer.eos_token_id
        self._ends = frozenset(ends if own is None else [*ends, own])
        if "json" in self.capabilities:
            from llguidance import hf

            self._grammar_tokenizer = hf.from_tokenizer(
                self._tokenizer, max(config.vocab_size, len(self._tokenizer)), sorted(self._ends) or None
            )

    def _unload(self) -> None:
        import torch

        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _serve(self) -> None:
        ready: dict[int, Row | PendingRequest] = {}
        while (arrived := self._arrivals(wait=not self._in_hand)) is not None:
            for pending in arrived:
                try:
                    ready[pending.number] = self._prepare(pending)
                except CallFailed as fault:
                    self._settle(pending, fault)
            self._hand_over()
            self._withdrawn()
            # Calls also go away while a batch is decoded.
            ready = {number: work for number, work in ready.items() if number in self._in_hand}
            first = sorted(ready, key=lambda number: (self._in_hand[number].call.priority, number))
            batch = [ready.pop(number) for number in first[: self._options.batch_size]]
            self._seat(self._in_hand[number] for number in first[: self._options.batch_size])
            scored = [work for work in batch if isinstance(work, PendingRequest)]
            rows = [work for work in batch if isinstance(work, Row)]
            with self._failing(scored):
                self._score(scored)
            with self._failing([row.pending for row in rows]):
                self._decode(rows)

    @contextmanager
    def _failing(self, pending_requests: list[PendingRequest]) -> Iterator[None]:
        """Fail what is left of some calls in hand when the model cannot go on with them."""
        try:
            yield
        except Exception as fault:
            failed = CallFailed("engine", f"decoding stopped: {first_line(fault)}", retryable=True)
            for pending in pending_requests:
                if pending.number in self._in_hand:
                    self._settle(pending, failed)
            self._hand_over()

    def _prepare(self, pending: PendingRequest) -> Row | PendingRequest:
        """A call made ready, as a row to decode or as it is to score.

        Raises `CallFailed` for one that can never be answered.
        """
        room = self._context - len(pending.token_ids)
        if room < 1:
            problem = f"the prompt has {len(pending.token_ids)} tokens and the context {self._context}"
            raise CallFailed("too_long", problem, retryable=False)
        if pending.call.scored is not None:
            return pending
        schema = pending.schema
        if schema is not None and self._grammar_tokenizer is None:
            raise CallFailed("bad_request", "JSON needs the package `llguidance`", retryable=False)
        return Row(
            pending,
            tokenizer=self._tokenizer,
            limit=min(room, pending.call.sampling.max_tokens or self.default_limit or room),
            ends=self._ends,
            matcher=None if schema is None else json_matcher(self._grammar_tokenizer, schema),
            device=self._model.device,
            keeps_special=self.keeps_special(pending.call),
        )

    def _score(self, pending_requests: list[PendingRequest]) -> None:
        """Answer scoring calls one after the other."""
        for pending in pending_requests:
            if self._closing:
                return
            if pending.number in self._in_hand:
                self._settle(pending, pending.scores(self._logprobs(pending)))
            self._stepped()
            self._late()
            self._hand_over()
            self._withdrawn()

    def _logprobs(self, pending: PendingRequest) -> list[float]:
        """The log-probability of each scored token, computed in float32.

        Logits of a whole conversation can take gigabytes, so it goes through the model in
        pieces, and what comes before the scored tokens gives but one position's.
        """
        import torch
        from transformers import DynamicCache

        assert pending.call.scored is not None
        ids = torch.tensor([pending.token_ids], device=self._model.device)
        # The logits at a position are the next token's.
        first, last = pending.call.scored - 1, ids.shape[1] - 1
        cache = DynamicCache(config=self._model.config)
        found: list[float] = []
        with torch.inference_mode():
            if first > 0:
                self._model(input_ids=ids[:, :first], past_key_values=cache, use_cache=True, logits_to_keep=1)
            for start in range(first, last, _POSITIONS):
                end = min(start + _POSITIONS, last)
                piece = self._model(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True)
                logits = piece.logits[0].float()
                chosen = logits.gather(-1, ids[0, start + 1 : end + 1, None])[:, 0]
                found += (chosen - logits.logsumexp(-1)).tolist()
        return found

    def _decode(self, rows: list[Row]) -> None:
        """Decode a batch to its end, answering each call when its own row ends."""
        import torch
        from transformers import DynamicCache

        device = self._model.device
        prompts = [row.pending.token_ids for row in rows]
        width = max(map(len, prompts), default=0)
        # Left padding: the last column is every row's newest token.
        ids = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
        cache = DynamicCache(config=self._model.config)
        while rows and not self._closing:
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            with torch.inference_mode():
                logits = (
                    self._model(
                        input_ids=ids,
                        attention_mask=mask,
                        position_ids=positions,
                        past_key_values=cache,
                        use_cache=True,
                        logits_to_keep=1,
                    )
                    .logits[:, -1]
                    .float()
                )
                tokens = [self._advance(row, logits[place]) for place, row in enumerate(rows)]
            self._stepped()
            self._late()
            self._hand_over()
            self._withdrawn()
            going_on = [place for place, row in enumerate(rows) if row.pending.number in self._in_hand]
            if len(going_on) < len(rows):
                rows = [rows[place] for place in going_on]
                keep = torch.tensor(going_on, dtype=torch.long, device=device)
                cache.batch_select_indices(keep)
                mask = mask[keep]
            ids = torch.tensor([[tokens[place]] for place in going_on], device=device)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=-1)

    def _advance(self, row: Row, logits: Any) -> int:
        """One token for a row; a row that ends with it is answered."""
        try:
            token = row.advance(logits)
        except CallFailed as fault:
            self._settle(row.pending, fault)
            return 0
        if row.finish_reason is not None:
            self._settle(row.pending, row.completion())
        return token
