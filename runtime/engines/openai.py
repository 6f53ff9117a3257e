"""Chat completions as the `openai` client is set up for: OpenAI itself, or any server that speaks
its protocol.

The requests go where the client would go and say what it would say (`openai_client`), through a
session of our own.  Through the client, and on its fastest transport, a call costs four times the
processor.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from compiler.plan import Capability
from dsl.errors import AccessDenied, CallFailed, ExtraMissing
from runtime.engines import hosted, openai_client
from runtime.engines.base import Call, Completion, EngineSpec, Message, ModelIdentity
from runtime.text import valid_text
from store.versions import package_version

if TYPE_CHECKING:
    import aiohttp

ROLES = {"system": "system", "user": "user", "model": "assistant"}

# Without a key a server at a given address is taken to need none; the client sends one anyway.
NO_KEY = "unused"

# Keywords that OpenAI's strict mode takes; a schema with any other is sent as advice.
STRICT_KEYWORDS = frozenset(
    {
        *("$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "format"),
        *("exclusiveMaximum", "exclusiveMinimum", "items", "maxItems", "maxLength", "maximum"),
        *("minItems", "minLength", "minimum", "multipleOf", "pattern", "properties", "required"),
        *("title", "type"),
    }
)
SPENT = frozenset({"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"})
REFUSED = frozenset({"content_filter", "content_policy_violation", "invalid_prompt"})


class OpenAIOptions(hosted.HostedOptions):
    """`max_tokens_field` names the limit on the wire: older servers know only `max_tokens`.

    `json_mode` says how JSON is asked for: by `schema`, as any `object`, or by the
    `prompt` alone, for servers that know no more.
    """

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    json_mode: Literal["schema", "object", "prompt"] = "schema"


class OpenAIEngine:
    """One model behind the chat completions protocol.

    Raises `ExtraMissing`, `KeyMissing` or `EngineError` (bad options) when constructed.
    """

    capabilities: frozenset[Capability] = frozenset({"chat", "json"})
    adaptive = True

    def __init__(self, spec: EngineSpec) -> None:
        if find_spec("openai") is None:
            raise ExtraMissing("openai", "openai", "openai")
        try:
            import aiohttp  # noqa: F401 - what the requests go through
        except ModuleNotFoundError as error:
            raise ExtraMissing("openai", "openai", error.name or "aiohttp") from None
        self.options = hosted.read_options(OpenAIOptions, spec)
        self.identity = ModelIdentity(backend="openai", id=spec.id)
        self.version = f"openai {package_version('openai')}"
        self.concurrency = self.options.concurrency
        self._key = self._find_key()
        self._session: aiohttp.ClientSession | None = None
        self._url = ""
        # By the identity of a schema, which stays the same object as long as its plan.
        self._formats: dict[int, tuple[Mapping[str, Any], dict[str, Any] | None]] = {}

    def _find_key(self) -> str:
        named = self.options.api_key_env
        addressed = self.options.base_url or os.environ.get("OPENAI_BASE_URL")
        if addressed and named is None and not os.environ.get("OPENAI_API_KEY", "").strip():
            return NO_KEY
        return hosted.find_key("openai", (named or "OPENAI_API_KEY",))

    def render(self, messages: Sequence[Message]) -> tuple[int, ...] | None:
        return None

    async def start(self) -> None:
        self._url = openai_client.address(self.options.base_url)
        self._session = hosted.session(
            self._url, self.concurrency, self.options.timeout, openai_client.headers(self._key)
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def generate(self, call: Call) -> Completion:
        issued = time.perf_counter()
        data = await self.post("/chat/completions", self._request(call))
        return _completion(data, call, round((time.perf_counter() - issued) * 1000), self._key)

    async def post(self, path: str, request: Mapping[str, Any]) -> bytes:
        """The body that answers a request.  Raises CallFailed or EngineError for any other answer."""
        import aiohttp

        if self._session is None:
            raise RuntimeError("the engine is not started")
        try:
            async with self._session.post(self._url + path, data=json.dumps(request).encode()) as response:
                data = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            failure: Exception = hosted.disconnected(error)
        else:
            if response.status == 200:
                return data
            failure = self._refusal(response.status, response.headers, data)
        raise failure

    def _request(self, call: Call) -> dict[str, Any]:
        sampling = call.sampling
        request: dict[str, Any] = {
            "model": self.identity.id,
            "messages": [
                {"role": ROLES[message.role], "content": valid_text(message.content)}
                for message in call.messages
            ],
            # The protocol's seeds are signed 64-bit integers.
            "seed": call.seed & (2**63 - 1),
        }
        wanted = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            self.options.max_tokens_field: sampling.max_tokens,
            "stop": list(sampling.stop) or None,
            "response_format": self._response_format(call.schema),
        }
        request.update({name: value for name, value in wanted.items() if value is not None})
        return request

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

    def _refusal(self, status: int, headers: Mapping[str, str], data: bytes) -> CallFailed:
        """What an error status means: for this call, or for every call of the run."""
        model, error = self.identity.id, _error(data)
        message = hosted.one_line(error.get("message") or f"status {status}", self._key)
        if status in (401, 403, 404):
            variable = self.options.api_key_env or "OPENAI_API_KEY"
            remedy = (
                "check the model's id and base_url"
                if status == 404
                else f"check {variable} and what that key may use"
            )
            return hosted.denied(status, message, f"openai model `{model}`", remedy)
        code = str(error.get("code") or error.get("type"))
        if status == 402 or code in SPENT:
            verdict = (
                f"the account behind openai model `{model}` has no credit left: add credit, then run again"
            )
            return AccessDenied(message, verdict, final=True)
        if code in REFUSED:
            return CallFailed("refused", message, retryable=False)
        if code == "context_length_exceeded":
            return CallFailed("too_long", message, retryable=False)
        return hosted.failed_status(status, message, hosted.retry_after(headers))


def _error(data: bytes) -> dict[str, Any]:
    """What an error's body says, in whichever of the shapes that servers give it."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = {"message": data.decode("utf-8", "replace")}
    found = body.get("error", body) if isinstance(body, dict) else body
    return found if isinstance(found, dict) else {"message": str(found)}


def _completion(data: bytes, call: Call, latency_ms: int, key: str) -> Completion:
    """The answer in a response's body, or `CallFailed` for what is not one."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise hosted.malformed("the response is not JSON") from None
    choice = hosted.at(body, "choices", 0)
    usage = _usage(hosted.at(body, "usage"))
    message = hosted.at(choice, "message")
    text = hosted.at(message, "content")
    if not isinstance(message, dict) or not isinstance(text, str | None):
        raise hosted.malformed("the response has no choice with a message of text", usage)
    refusal, finish = message.get("refusal"), hosted.at(choice, "finish_reason")
    if refusal or finish == "content_filter":
        raise CallFailed(
            "refused",
            hosted.one_line(refusal or "the content filter stopped the answer", key),
            retryable=False,
            **usage.of_failure(),
        )
    cut = finish == "length"
    if text is None or not text.strip():
        raise hosted.empty(call.sampling.max_tokens, cut, usage)
    if call.schema is not None and call.schema.get("type") != "object":
        text = unrooted(text)
    served = hosted.at(body, "model")
    return Completion(
        text=valid_text(text),
        finish_reason="length" if cut else "stop",
        latency_ms=latency_ms,
        served_by=served if isinstance(served, str) else None,
        **usage._asdict(),
    )


def _usage(body: Any) -> hosted.Usage:
    """What a call took, by the names that servers of this protocol give it."""
    prompt, completion = hosted.count(body, "prompt_tokens"), hosted.count(body, "completion_tokens")
    cached = (
        hosted.count(body, "prompt_tokens_details", "cached_tokens")
        or hosted.count(body, "prompt_cache_hit_tokens")
        or hosted.count(body, "cached_tokens")
    )
    reasoning = hosted.count(body, "completion_tokens_details", "reasoning_tokens") or hosted.count(
        body, "reasoning_tokens"
    )
    # Some leave thinking out of the completion, and only their total has it.
    apart = hosted.count(body, "total_tokens") - prompt - completion if prompt and completion else 0
    if apart > 0:
        completion, reasoning = completion + apart, max(reasoning, apart)
    return hosted.Usage.of(prompt, completion, cached, reasoning)


def rooted_in_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema itself, or an object with the one property `value`: the protocol wants an object."""
    if schema.get("type") == "object":
        return dict(schema)
    inner = {name: part for name, part in schema.items() if name != "$defs"}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {"value": inner},
        "required": ["value"],
        "additionalProperties": False,
    }
    return outer | ({"$defs": schema["$defs"]} if "$defs" in schema else {})


def unrooted(text: str) -> str:
    """The JSON that `rooted_in_object` wrapped; any other text as it stands."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(answer, dict) and answer.keys() == {"value"}:
        return json.dumps(answer["value"], ensure_ascii=False)
    return text


def strict(schema: Mapping[str, Any]) -> bool:
    """Whether OpenAI's strict mode takes a schema: closed objects, all of whose properties are required."""
    if not schema.keys() <= STRICT_KEYWORDS:
        return False
    properties: Mapping[str, Any] = schema.get("properties", {})
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties)
    ):
        return False
    parts = [*properties.values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    if isinstance(schema.get("items"), Mapping):
        parts.append(schema["items"])
    return all(strict(part) for part in parts)
