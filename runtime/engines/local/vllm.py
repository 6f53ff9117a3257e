"""vLLM's offline engine, in this process: the main engine.

One thread owns the engine and alternates between adding the calls that have arrived and
stepping, so a sample's next call joins the running batch without waiting for it to drain.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from heapq import heappop, heappush
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt

from synth.base.canonical import canonical_json
from synth.base.errors import CallFailed, EngineDied
from synth.runtime.engines.base import Call, EngineSpec
from synth.runtime.engines.local.chat_template import ChatTemplate
from synth.runtime.engines.local.checkpoint import first_line, load_tokenizer, require
from synth.runtime.engines.local.guard import require_guard
from synth.runtime.engines.local.options import ChatOptions
from synth.runtime.engines.local.thread import LocalEngine, PendingRequest
from synth.runtime.engines.local.tools.template import Parser, TemplateTools
from synth.runtime.engines.local.tools.vllm_parsers import VllmParser
from synth.runtime.engines.local.vllm_process import (
    CPU_ENVIRONMENT,
    ENVIRONMENT,
    Turnstile,
    cpus,
    set_defaults,
    shield_children,
    shut_down,
    spawns,
    tell_torch,
    vllm_version,
    watch,
)
from synth.runtime.engines.options import read_options

_GIB = 1 << 30
_MAX_MODEL_LEN = 8192
_REBUILDS = 2
# While others wait for a seat, answers are handed over together so often, in seconds: the event
# loop then works through a few at a time, between which the engine has the interpreter to itself.
_TOGETHER_S = 0.05


class VllmOptions(ChatOptions):
    """What `synth.toml` may say about a vLLM model.  None leaves the choice to the machine.

    `max_model_len` is in tokens: 8192, or the model's own limit if that is smaller.
    `max_num_seqs` is how many calls run together: 256 on a GPU, 64 on a CPU.
    `kv_cache_gb` fixes the key-value cache in GiB: by default what `gpu_memory_utilization`
    leaves on a GPU, and 4 on a CPU.  `enforce_eager` skips compilation: by default on a CPU only.
    `threads` are a CPU engine's, by default one for each CPU; OMP_NUM_THREADS overrules it.  With
    one thread an answer does not depend on what runs beside it.  `max_lora_rank` is for adapters.
    """

    max_model_len: PositiveInt | None = None
    max_num_seqs: PositiveInt | None = None
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.92
    dtype: str = "auto"
    tensor_parallel_size: PositiveInt = 1
    enforce_eager: bool | None = None
    load_format: str = "auto"
    kv_cache_gb: PositiveFloat | None = None
    threads: PositiveInt | None = None
    max_lora_rank: PositiveInt = 16

    def parser(self, template: ChatTemplate, tools: TemplateTools, model: str) -> Parser | None:
        """Also those of vLLM, by its names for them, unless there is one of ours."""
        found = super().parser(template, tools, model)
        if found is not None or self.tool_parser is None:
            return found
        return VllmParser(self.tool_parser, template.tokenizer, tools.mark, model)


_TURN = Turnstile()

# Closing an engine that shares this process tears down vLLM's process groups for all of them,
# so the closed ones wait here for the last.  Both are used inside `_TURN`.
_live: set[int] = set()
_closed: list[Any] = []


class VllmEngine(LocalEngine):
    """A model in vLLM.  Raises `EngineError` for an unknown model, revision or option."""

    def __init__(self, spec: EngineSpec) -> None:
        require(spec.backend, "vllm", "vllm")
        self._options = read_options(VllmOptions, spec)
        set_defaults(ENVIRONMENT)
        import torch

        self._on_cpu = not torch.cuda.is_available()
        chosen = self._options.enforce_eager
        self._eager = self._on_cpu if chosen is None else chosen
        if self._on_cpu:
            set_defaults({**CPU_ENVIRONMENT, "OMP_NUM_THREADS": str(self._options.threads or cpus())})
            if self._eager:
                # vLLM compiles what ranks a prompt's tokens all the same: 8 s of the first scoring
                # call, and a dead engine where there is no C++ compiler.
                set_defaults({"TORCH_COMPILE_DISABLE": "1"})
        if spawns():
            require_guard("vLLM's engine")
        super().__init__(
            spec,
            options=self._options,
            template=self._options.template(load_tokenizer(spec)),
            capabilities=("chat", "json", "template", "logprobs"),
            version=f"vllm {vllm_version()}",
            concurrency=self._options.max_num_seqs or (64 if self._on_cpu else 256),
        )
        self._engine: Any = None
        self._turn: AbstractContextManager[None] = nullcontext()
        self._context = 0
        self._adapter: Any = None
        self._deaths = 0
        self._answered = 0
        self._handed_over = 0.0
        # The calls that have no seat yet, the most urgent first.
        self._unseated: list[tuple[int, int]] = []

    # In the thread -----------------------------------------------------------------

    def _load(self) -> None:
        # Without a handler of its own the logger would fall back to stderr until it is configured.
        if not (logger := logging.getLogger("vllm")).handlers:
            logger.addHandler(logging.NullHandler())
        from vllm import EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext

        arguments = EngineArgs(**self.engine_arguments())
        self._adapter = self._lora()
        if self._on_cpu:
            tell_torch()
        if shares_process := not spawns():
            self._turn = _TURN
        else:
            shield_children()
        with self._turn:
            if shares_process:
                _live.add(id(self))
            engine = LLMEngine.from_engine_args(arguments, UsageContext.LLM_CLASS)
            self._engine = engine
            if self._adapter is not None:
                # An adapter that cannot be read would otherwise stop the engine at the first call.
                engine.add_lora(self._adapter)
        if not shares_process:
            threading.Thread(target=watch, args=(engine.engine_core,), daemon=True).start()
        self._context = engine.model_config.max_model_len

    def engine_arguments(self) -> dict[str, Any]:
        """What vLLM's `EngineArgs` are made of."""
        from vllm import EngineArgs
        from vllm.config import StructuredOutputsConfig

        options, spec = self._options, self._spec
        arguments: dict[str, Any] = {
            "model": spec.id,
            "revision": spec.revision,
            "tokenizer_revision": spec.revision,
            "dtype": options.dtype,
            "max_model_len": options.max_model_len or min(_MAX_MODEL_LEN, self._longest_context()),
            "max_num_seqs": self.concurrency,
            "gpu_memory_utilization": options.gpu_memory_utilization,
            "tensor_parallel_size": options.tensor_parallel_size,
            "load_format": options.load_format,
            "enforce_eager": self._eager,
            "scheduling_policy": "priority",
            # Other back ends can emit raw control characters inside JSON strings.
            "structured_outputs_config": StructuredOutputsConfig(
                backend="guidance", disable_any_whitespace=True
            ),
            "language_model_only": True,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
        }
        if hasattr(EngineArgs, "prefix_cache_retention_interval"):
            # Any other value keeps sliding-window models from sharing prefixes at all.  vLLM 0.26
            # has no such setting, and shares them.
            arguments["prefix_cache_retention_interval"] = None
        if self._on_cpu:
            # A seeded request in a partial prefill kills the CPU engine.
            arguments["enable_chunked_prefill"] = False
        if self._on_cpu or options.kv_cache_gb is not None:
            arguments["kv_cache_memory_bytes"] = int((options.kv_cache_gb or 4) * _GIB)
        if spec.adapter is not None:
            arguments |= {"enable_lora": True, "max_lora_rank": options.max_lora_rank}
        return arguments

    def _lora(self) -> Any:
        if self._spec.adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(lora_name=self._spec.adapter, lora_int_id=1, lora_path=self._spec.adapter)

    def _longest_context(self) -> int:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(self._spec.id, revision=self._spec.revision or "main")
        return int(getattr(config.get_text_config(), "max_position_embeddings", _MAX_MODEL_LEN))

    def _unload(self) -> None:
        engine, self._engine = self._engine, None
        with _TURN:
            _live.discard(id(self))
            if engine is not None:
                _closed.append(engine.engine_core)
            while _closed and not _live:
                shut_down(_closed.pop())

    def _serve(self) -> None:
        while (arrived := self._arrivals(wait=not self._in_hand)) is not None:
            try:
                with self._turn:
                    if gone := self._withdrawn() + self._late():
                        self._engine.abort_request([str(pending.number) for pending in gone])
                    for pending in arrived:
                        self._add(pending)
                    self._give_seats()
                    if self._in_hand:
                        self._step()
                    self._stepped()
            except Exception as fault:
                self._rebuild(fault)
            else:
                self._hand_over_in_time()

    def _hand_over_in_time(self) -> None:
        """Hand over what was settled, unless that can wait a moment at no cost."""
        now = time.monotonic()
        if len(self._in_hand) <= self.concurrency or now - self._handed_over >= _TOGETHER_S:
            self._hand_over()
            self._handed_over = now

    def _add(self, pending: PendingRequest) -> None:
        """Give a call to the engine, which may refuse it at once."""
        if pending.number not in self._in_hand:
            return
        length = len(pending.token_ids)
        if length >= self._context:
            problem = f"the prompt has {length} tokens and `max_model_len` is {self._context}"
            self._settle(pending, CallFailed("too_long", problem, retryable=False))
            return
        try:
            self._engine.add_request(
                str(pending.number),
                {"type": "token", "prompt_token_ids": list(pending.token_ids)},
                sampling_params(pending.call, keeps_special=self.keeps_special(pending.call)),
                lora_request=self._adapter,
                priority=pending.call.priority,
            )
            heappush(self._unseated, (pending.call.priority, pending.number))
        except _refusals() as fault:
            # The front end may already know of a request that its core never saw.
            self._engine.abort_request([str(pending.number)])
            self._settle(pending, CallFailed("bad_request", first_line(fault), retryable=False))

    def _give_seats(self) -> None:
        """Says of whom vLLM begins with that their time counts: it has a seat for the most urgent."""
        while self._unseated and len(self._seated) < self.concurrency:
            _, number = heappop(self._unseated)
            if (pending := self._in_hand.get(number)) is not None:
                self._seat((pending,))

    def _step(self) -> None:
        for output in self._engine.step():
            pending = self._in_hand.get(int(output.request_id))
            if pending is None or not output.finished:
                continue
            answer = output.outputs[0]
            if answer.finish_reason in ("stop", "length"):
                self._answered += 1
                if pending.call.scored is not None:
                    scores = _prompt_logprobs(output.prompt_logprobs, pending.call.scored)
                    self._settle(pending, pending.scores(scores))
                    continue
                cached = output.num_cached_tokens or 0
                tokens = len(answer.token_ids)
                self._settle(pending, pending.completion(answer.text, answer.finish_reason, tokens, cached))
            else:
                problem = f"vLLM ended the call with `{answer.finish_reason}`"
                self._settle(pending, CallFailed("server", problem, retryable=True))

    def _rebuild(self, fault: Exception) -> None:
        """Fail what was in hand and load the model again.  Raises `EngineDied` when that is in vain."""
        from vllm.v1.engine.exceptions import EngineDeadError

        dead = isinstance(fault, EngineDeadError)
        reason = "its core process died" if dead else first_line(fault)
        failed = CallFailed("engine", f"the vLLM engine stopped: {reason}", retryable=True)
        for pending in list(self._in_hand.values()):
            self._settle(pending, failed)
        self._hand_over()
        # An engine that has answered a full batch since was worth restarting.
        self._deaths = 1 if self._answered >= self.concurrency else self._deaths + 1
        self._answered = 0
        if self._deaths > _REBUILDS:
            raise EngineDied(
                f"{self.identity} stopped {self._deaths} times ({reason}): "
                "VLLM_LOGGING_LEVEL=INFO shows vLLM's own log"
            )
        self._unload()
        self._load_quietly()


def sampling_params(call: Call, *, keeps_special: bool = False) -> Any:
    """vLLM's `SamplingParams` for a call, made for it alone."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    if call.scored is not None:
        # One token is the least that vLLM generates.  The prefix cache is not read for such a
        # call, since cached positions have no logits.
        return SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_clone=True,
        )
    sampling = call.sampling
    return SamplingParams(
        temperature=1.0 if sampling.temperature is None else sampling.temperature,
        top_p=1.0 if sampling.top_p is None else sampling.top_p,
        top_k=0 if sampling.top_k is None else sampling.top_k,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        # 63 bits: -1 would mean no seed, and the engine's messages hold signed integers.
        seed=call.seed & (1 << 63) - 1,
        output_kind=RequestOutputKind.FINAL_ONLY,
        # vLLM would otherwise copy it deeply, since a caller may use one for several requests.
        skip_clone=True,
        skip_special_tokens=not keeps_special,
        # Where they are kept, nothing is put around them.
        spaces_between_special_tokens=not keeps_special,
        structured_outputs=(
            None
            if call.schema is None or call.tools
            else StructuredOutputsParams(json=canonical_json(dict(call.schema)))
        ),
    )


@cache
def _refusals() -> tuple[type[Exception], ...]:
    """What vLLM raises for a request that it will not take."""
    from vllm import exceptions

    # Until 0.27 or so its own exceptions of this kind were ValueErrors.
    named = getattr(exceptions, "VLLMClientError", ValueError)
    return (named, ValueError, TypeError, OverflowError)


def _prompt_logprobs(flat: Any, start: int) -> list[float]:
    """The log-probabilities of the prompt's own tokens from an index (at least 1) on.

    `flat` is vLLM's FlatLogprobs: of each token but the first the probability comes first.
    """
    return [flat.logprobs[place] for place in flat.start_indices[start:]]
