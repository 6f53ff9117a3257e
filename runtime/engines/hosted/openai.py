"""Chat completions as the `openai` client is set up for: OpenAI itself, or any server that speaks
its protocol.

The requests go where the client would go and say what it would say (`openai_client`), through a
session of our own.  Through the client, and on its fastest transport, a call costs four times the
processor.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, JsonValue

from synth.base.errors import AccessDenied, CallFailed, ExtraMissing
from synth.base.version import VERSION, package_version
from synth.compiler.plan.types import Capability
from synth.runtime.engines.base import Call, Completion, EngineSpec, Message, ModelIdentity, without_system
from synth.runtime.engines.hosted import openai_client
from synth.runtime.engines.hosted import session as hosted
from synth.runtime.engines.hosted.openai_schema import rooted_in_object, strict, unrooted
from synth.runtime.engines.hosted.openai_tools import CALLING, KEYS, calls_in, conversation, unparsed, written
from synth.runtime.engines.options import read_options
from synth.runtime.engines.thinking import joined, parts_of, reasoning_of, split
from synth.runtime.engines.tool_calls import Called, cut
from synth.runtime.engines.wire.bodies import Redirected, Reply, TooLarge, Unpackable
from synth.runtime.engines.wire.fields import Reading, at, wait_of
from synth.runtime.engines.wire.secrets import Secrets, of_headers

if TYPE_CHECKING:
    from synth.runtime.engines.wire.session import Door

# Without a key a server at a given address is taken to need none; the client sends one anyway.
NO_KEY = "unused"


# What a server can refuse of a request, as it names it, and the option that does without.
_REMEDIES = (
    ("max_completion_tokens", 'max_tokens_field = "max_tokens"'),
    ("response_format", 'json_mode = "object"` or `json_mode = "prompt"'),
    ("reasoning_effort", 'omit = ["reasoning"]'),
    *((name, f'omit = ["{name}"]') for name in ("seed", "temperature", "top_p", "top_k", "stop")),
    ("system (?:role|message|prompt)", 'omit = ["system"]'),
)
_UNSUPPORTED = re.compile(
    r"not (?:supported|permitted|allowed|recogni[sz]ed|implemented)|(?:does not|doesn't) support|unsupported"
    r"|unrecogni[sz]ed|unknown|unexpected|extra (?:inputs|fields)|extra_forbidden|must be one of",
    re.IGNORECASE,
)


# Where servers say what a call took, the likeliest first.
_PROMPT = (("prompt_tokens",), ("input_tokens",))
_COMPLETION = (("completion_tokens",), ("output_tokens",))
_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),
    ("cached_tokens",),
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),
)


class OpenAIOptions(hosted.HostedOptions):
    """`max_tokens_field` names the limit on the wire: older servers know only `max_tokens`.

    `json_mode` says how JSON is asked for: by `schema`, as any `object`, or by the
    `prompt` alone, for servers that know no more.  `chat_template_kwargs` are for servers that
    render a chat template.  `finish_reason` is `optional` with a server that says null of every
    answer: one that used up max_tokens is then taken for cut, any other for whole.
    """

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    json_mode: Literal["schema", "object", "prompt"] = "schema"
    chat_template_kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    finish_reason: Literal["required", "optional"] = "required"


def _require_packages() -> None:
    if find_spec("openai") is None:
        raise ExtraMissing("openai", "openai", "openai")
    try:
        import aiohttp  # noqa: F401 - what the requests go through
    except ModuleNotFoundError as error:
        raise ExtraMissing("openai", "openai", error.name or "aiohttp") from None


class OpenAIEngine:
    """One model behind the chat completions protocol.

    Raises `ExtraMissing`, `KeyMissing` or `EngineError` (bad options) when constructed.
    """

    capabilities: frozenset[Capability] = frozenset({"chat", "json", "tools"})
    adaptive = True

    def __init__(self, spec: EngineSpec) -> None:
        if spec.asked:
            _require_packages()
        self.options = read_options(OpenAIOptions, spec)
        self.identity = ModelIdentity(
            backend="openai", id=spec.id, request=self.options.request("chat_template_kwargs")
        )
        self._name = spec.name
        self.version = f"synth {VERSION}, aiohttp {package_version('aiohttp')}"
        self.concurrency = self.options.concurrency
        self._key = self._find_key() if spec.asked else NO_KEY
        self._door: Door | None = None
        self._url = openai_client.address(self.options.base_url)
        self._headers = openai_client.headers(self._key)
        sent = {} if self._key == NO_KEY else {self._key: "key"}
        self._secrets = Secrets({**of_headers(openai_client.own(self._headers)), **sent})
        # By the identity of a schema, which stays the same object as long as its plan.
        self._formats: dict[int, tuple[Mapping[str, Any], dict[str, Any] | None]] = {}

    def _find_key(self) -> str:
        named = self.options.api_key_env
        addressed = self.options.base_url or os.environ.get("OPENAI_BASE_URL")
        if addressed and named is None and not os.environ.get("OPENAI_API_KEY", "").strip():
            return NO_KEY
        return hosted.find_key("openai", (named or "OPENAI_API_KEY",))

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, ...] | None:
        return None

    async def start(self) -> None:
        from synth.runtime.engines.wire.session import Door

        self._door = Door(self._url, self.concurrency, self.options.timeout, self._headers)

    async def close(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            await door.close()

    async def generate(self, call: Call) -> Completion:
        issued = time.perf_counter()
        data = await self.post("/chat/completions", self._request(call))
        latency_ms = round((time.perf_counter() - issued) * 1000)
        return hosted.read(lambda: self._completion(data, call, latency_ms))

    async def post(self, path: str, request: Mapping[str, Any]) -> bytes:
        """The body that answers a request.  Raises CallFailed or EngineError for any other answer."""
        import aiohttp

        if self._door is None:
            raise RuntimeError("the engine is not started")
        try:
            reply = await self._door.post(self._url + path, json.dumps(request).encode())
        except Redirected as error:
            remedy = "set base_url (or OPENAI_BASE_URL) to it"
            failure: CallFailed = hosted.redirected(
                error, f"openai model `{self.identity.id}`", remedy, self._secrets
            )
        except (aiohttp.ClientError, OSError, TooLarge, Unpackable) as error:
            failure = hosted.lost_on_the_way(error)
        else:
            if reply.status == 200:
                return reply.data
            failure = hosted.read(lambda: self._refusal(reply))
        raise failure

    def _request(self, call: Call) -> dict[str, Any]:
        sampling, options = call.sampling, self.options
        omitted = options.omit
        messages = without_system(call.messages) if "system" in omitted else call.messages
        request: dict[str, Any] = {"model": self.identity.id, "messages": conversation(messages)}
        if call.tools:
            request["tools"] = list(call.tools)
        wanted = {
            # The protocol's seeds are signed 64-bit integers.
            "seed": call.seed & (2**63 - 1),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "max_tokens": sampling.max_tokens,
            "stop": list(sampling.stop) or None,
            "response_format": self._response_format(call.schema),
            "reasoning": options.reasoning,
            "chat_template_kwargs": options.chat_template_kwargs or None,
        }
        fields = {"max_tokens": options.max_tokens_field, "reasoning": "reasoning_effort"}
        for name, value in wanted.items():
            if value is not None and name not in omitted:
                request[fields.get(name, name)] = value
        extra = options.extra(call.tools) if call.tools else options.extra_body
        return {**request, **extra} if extra else request

    def _response_format(self, schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if schema is None or self.options.json_mode == "prompt":
            return None
        known = self._formats.get(id(schema))
        if known is None:
            known = self._formats[id(schema)] = schema, self._json_format(schema)
        return known[1]

    def _json_format(self, schema: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.options.json_mode == "object":
            return {"type": "json_object"} if schema.get("type") == "object" else None
        rooted = rooted_in_object(schema)
        return {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": rooted, "strict": strict(rooted)},
        }

    def _refusal(self, reply: Reply) -> CallFailed:
        """What a status other than 200 means."""
        if reply.status < 400:
            return hosted.malformed(f"the service answers with status {reply.status}, which is no answer")
        return self._refused(reply.status, _error(reply.data), wait_of(reply.headers))

    def _refused(self, status: int, error: Mapping[str, Any], wait: float | None) -> CallFailed:
        """What an error means: for this call, or for every call of the run."""
        model = self.identity.id
        message = hosted.one_line(_words(error) or f"status {status}", self._secrets)
        if status in (401, 403, 404):
            variable = self.options.api_key_env or "OPENAI_API_KEY"
            remedy = (
                "check the model's id and base_url"
                if status == 404
                else f"check {variable} and what that key may use"
            )
            return hosted.denied(status, message, f"openai model `{model}`", remedy)
        code = str(error.get("code") or error.get("type"))
        if status == 402 or code in hosted.SPENT:
            verdict = (
                f"the account behind openai model `{model}` has no credit left: add credit, then run again"
            )
            return AccessDenied(message, verdict, final=True)
        if status in (400, 422):
            message += self._remedy(message, error.get("param"))
        if code in hosted.REFUSED:
            return CallFailed("refused", message, retryable=False)
        if code == "context_length_exceeded":
            return CallFailed("too_long", message, retryable=False)
        return hosted.failed_status(status, message, wait)

    def _remedy(self, message: str, param: Any) -> str:
        """What synth.toml can say so that a request is not refused for one of its parts."""
        if not _UNSUPPORTED.search(message):
            return ""
        said = message.lower()
        for name, option in _REMEDIES:
            if param == name or re.search(rf"\b{name}\b", said):
                return f"; synth.toml can do without it: `{option}` under [models.{self._name}]"
        return ""

    def _completion(self, data: bytes, call: Call, latency_ms: int) -> Completion:
        """The answer in a response's body, or `CallFailed` for what is not one."""
        read = Reading(self._secrets)
        body = hosted.json_of(data, self._secrets)
        choice = at(body, "choices", 0)
        usage = _usage(read, body)
        error = at(choice, "error") or at(body, "error")
        if error:
            raise self._inner_error(error, usage)
        message = at(choice, "message")
        if not isinstance(message, dict):
            raise _unusable(usage)
        text, inner = message.get("content"), None
        if isinstance(text, list):
            text, inner, others = parts_of(text)
            if others and not text:
                raise _unusable(usage)
            if others:
                raise hosted.goes_on(others[0], usage, self._secrets)
        if not isinstance(text, str | None):
            raise _unusable(usage)
        if refusal := message.get("refusal"):
            said = hosted.one_line(refusal, self._secrets)
            raise CallFailed("refused", said, retryable=False, **usage.of_failure())
        called = calls_in(message, read) if call.tools else None
        for other in KEYS:
            if called is None and message.get(other):
                raise hosted.goes_on(other, usage, self._secrets)
        ending = self._ending(choice, call, usage)
        if call.tools and isinstance(ending, str) and ending.strip().lower() in CALLING:
            called = called or Called(malformed="the service says that tools are called, and gives no call")
            ending = "stop"
        finish = hosted.finished(ending, usage, self._secrets)
        said, beside = split(text or "")
        thought = joined(reasoning_of(message), inner, beside)
        if called is None and not said.strip() and thought is None:
            raise hosted.empty(call.sampling.max_tokens, finish == "length", usage)
        calls, malformed = called or Called()
        if called is not None and finish == "length":
            calls, malformed = (), cut(calls)
        elif call.tools and malformed is None:
            malformed = unparsed(said, call)
            calls = () if malformed else calls
        if malformed is not None:
            said = written(said, message)
        elif calls:
            said = said if said.strip() else ""
        elif call.schema is not None and call.schema.get("type") != "object":
            said = unrooted(said)
        return Completion(
            text=read.text(said),
            finish_reason=finish,
            latency_ms=latency_ms,
            served_by=read.name(at(body, "model"), "model"),
            thought=None if thought is None else read.text(thought, "the thinking"),
            **usage._asdict(),
            odd=tuple(dict.fromkeys(read.odd)),
            calls=calls,
            malformed=malformed,
        )

    def _ending(self, choice: Mapping[str, Any], call: Call, usage: hosted.Usage) -> Any:
        """The server's word for why an answer ended.  Null says that it has not; a server without
        the field says nothing, and then the count of tokens tells what was cut."""
        word = choice.get("finish_reason")
        if word is not None:
            return word
        if "finish_reason" not in choice or self.options.finish_reason == "optional":
            most = call.sampling.max_tokens
            return "length" if most is not None and usage.completion_tokens >= most else "stop"
        raise CallFailed(
            "finish",
            "the service does not say why the answer ended (`finish_reason` is null); where it never does, "
            f'`finish_reason = "optional"` under [models.{self._name}] of synth.toml takes such answers',
            retryable=False,
            **usage.of_failure(),
        )

    def _inner_error(self, error: Any, usage: hosted.Usage) -> CallFailed:
        """An error inside a body whose status says that all is well: judged by the code in it."""
        found = error if isinstance(error, dict) else {"message": error}
        failed = self._refused(hosted.status_in(found), found, None)
        if isinstance(failed, AccessDenied):
            return failed
        lost = failed.lost and not usage.prompt_tokens
        return CallFailed(failed.kind, str(failed), retryable=failed.retryable, **usage._asdict(), lost=lost)


def _unusable(usage: hosted.Usage) -> CallFailed:
    return hosted.malformed("the response has no choice with a message of text", usage)


def _error(data: bytes) -> dict[str, Any]:
    """What an error's body says, in whichever of the shapes that servers give it."""
    body = hosted.json_or_text(data)
    found = body.get("error", body) if isinstance(body, dict) else body
    return found if isinstance(found, dict) else {"message": str(found)}


def _usage(read: Reading, body: Any) -> hosted.Usage:
    """What a call took, by the names that servers of this protocol give it."""
    used = read.object(at(body, "usage"), "usage")
    if not used:
        return hosted.NOTHING
    prompt = read.first_count(used, _PROMPT)
    completion = read.first_count(used, _COMPLETION)
    cached = read.first_count(used, _CACHED)
    reasoning = read.first_count(used, _REASONING)
    # Some leave thinking out of the completion, and only their total has it.
    apart = read.count(used, "total_tokens") - prompt - completion if prompt and completion else 0
    if apart > 0:
        completion, reasoning = completion + apart, max(reasoning, apart)
    return hosted.Usage.of(prompt, completion, cached, reasoning)


def _words(error: Mapping[str, Any]) -> str:
    """What an error says, with the provider's own words where somebody else's service handed it on."""
    said = [_flat(error.get("message") or error.get("detail") or error.get("msg"))]
    meta = error.get("metadata")
    if isinstance(meta, dict):
        said += [_flat(meta.get("provider_name")), _flat(meta.get("raw"))]
    if (code := error.get("code")) is not None:
        said.append(_flat(code))
    first, *others = list(dict.fromkeys(filter(None, said))) or [""]
    return f"{first} ({', '.join(others)})" if others else first


def _flat(value: Any) -> str:
    """A message however deep it lies, such as `{"detail": [{"loc": [...], "msg": "..."}]}`."""
    if isinstance(value, dict):
        place = value.get("loc")
        at = f" ({'.'.join(map(str, place))})" if isinstance(place, list) else ""
        inner = next((value[name] for name in ("message", "detail", "msg", "error") if value.get(name)), None)
        return json.dumps(value, ensure_ascii=False) if inner is None else _flat(inner) + at
    if isinstance(value, list):
        return "; ".join(map(_flat, value))
    return "" if value is None else str(value)
