"""Gemini by Google's `google-genai` client."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compiler.plan import Capability
from dsl.errors import AccessDenied, CallFailed, ExtraMissing
from runtime.engines import hosted
from runtime.engines.base import Call, Completion, EngineSpec, Message, ModelIdentity
from runtime.text import valid_text

if TYPE_CHECKING:
    import aiohttp
    from google.genai import Client
    from google.genai.errors import APIError

# The client itself prefers the first where both are set.
KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
# Where the client goes by itself; asked only whether a proxy stands before it.
DEFAULT_URL = "https://generativelanguage.googleapis.com"

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

FINISHED = {"STOP", "FINISH_REASON_UNSPECIFIED"}
CUT = {"MAX_TOKENS", "CONTINUATION"}
REFUSED = {
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION"),
    *("PUP_LIMITED_DISABLED", "MODEL_ARMOR"),
}


class GeminiOptions(hosted.HostedOptions):
    """`api_version` is the client's own default when not given."""

    api_version: str | None = None


class GeminiEngine:
    """One Gemini model.

    Raises `ExtraMissing`, `KeyMissing` or `EngineError` (bad options) when constructed.
    """

    capabilities: frozenset[Capability] = frozenset({"chat", "json"})
    adaptive = True

    def __init__(self, spec: EngineSpec) -> None:
        try:
            import google.genai as genai
        except ImportError:
            raise ExtraMissing("gemini", "gemini", "google-genai") from None
        try:
            import aiohttp  # noqa: F401 - the client's transport
        except ImportError:
            raise ExtraMissing("gemini", "gemini", "aiohttp") from None
        self.options = hosted.read_options(GeminiOptions, spec)
        self.identity = ModelIdentity(backend="gemini", id=spec.id)
        self.version = f"google-genai {genai.__version__}"
        self.concurrency = self.options.concurrency
        self._variables = (self.options.api_key_env,) if self.options.api_key_env else KEY_VARIABLES
        self._key = hosted.find_key("gemini", self._variables)
        self._client: Client | None = None
        self._session: aiohttp.ClientSession | None = None

    def render(self, messages: Sequence[Message]) -> tuple[int, ...] | None:
        return None

    async def start(self) -> None:
        from google.genai import Client, types

        address = self.options.base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL") or DEFAULT_URL
        self._session = hosted.session(address, self.concurrency, self.options.timeout)
        self._client = Client(
            api_key=self._key,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=self.options.base_url,
                api_version=self.options.api_version,
                timeout=round(self.options.timeout * 1000),
                aiohttp_client=self._session,
                # Without retry options the client tries once more by itself, seconds later.
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )

    async def close(self) -> None:
        client, self._client = self._client, None
        session, self._session = self._session, None
        if client is not None:
            await client.aio.aclose()
            client.close()
        if session is not None:
            await session.close()

    async def generate(self, call: Call) -> Completion:
        import aiohttp
        from google.genai.errors import APIError
        from google.genai.types import (
            AutomaticFunctionCallingConfig,
            Content,
            GenerateContentConfig,
            HttpOptions,
            Part,
        )

        if self._client is None:
            raise RuntimeError("the engine is not started")
        request = _request(call)
        if not request["contents"]:
            raise CallFailed("bad_request", "there is no message to answer", retryable=False)
        issued = time.perf_counter()
        try:
            response = await self._client.aio.models.generate_content(
                model=self.identity.id,
                # Typed contents cost 0.3 ms a message: the request goes in the service's own
                # form, and its contents take the place of this one.
                contents=[Content(role="user", parts=[Part(text="")])],
                config=GenerateContentConfig(
                    http_options=HttpOptions(extra_body=request),
                    automatic_function_calling=AutomaticFunctionCallingConfig(disable=True),
                    # The typed answer refuses what it does not know, such as a new finish reason.
                    should_return_http_response=True,
                ),
            )
        except APIError as error:
            failure: Exception = self._refusal(error)
        except (aiohttp.ClientError, OSError) as error:
            failure = hosted.disconnected(error)
        except (json.JSONDecodeError, UnicodeDecodeError):
            failure = hosted.malformed("the response is not JSON")
        else:
            latency_ms = round((time.perf_counter() - issued) * 1000)
            data = response.sdk_http_response.body if response.sdk_http_response else None
            return _completion(data or "", call, latency_ms)
        raise failure

    def _refusal(self, error: APIError) -> CallFailed:
        """What an error status means: for this call, or for every call of the run."""
        model, status = self.identity.id, error.code
        # A wrong key is answered with 400, not with 401.
        key_invalid = _detail(error, ERROR_INFO, "reason") == "API_KEY_INVALID"
        message = hosted.one_line(error.message or f"status {status}", self._key)
        if status in (401, 403, 404) or key_invalid:
            remedy = (
                "check the model's id and base_url"
                if status == 404
                else f"check {' or '.join(self._variables)} and what that key may use"
            )
            return hosted.denied(status, message, f"gemini model `{model}`", remedy)
        if error.status == "FAILED_PRECONDITION":
            verdict = (
                f"the account or its region may not use gemini model `{model}` ({status}): "
                "check billing and the service's list of regions"
            )
            return AccessDenied(message, verdict, final=True)
        wait = _seconds(_detail(error, RETRY_INFO, "retryDelay"))
        if wait is None:
            headers: Mapping[str, str] = getattr(error.response, "headers", {})
            wait = hosted.retry_after(headers)
        return hosted.failed_status(status, message, wait)


def _request(call: Call) -> dict[str, Any]:
    """The body of a `generateContent` request."""
    system = "\n\n".join(message.content for message in call.messages if message.role == "system")
    request: dict[str, Any] = {
        "contents": [
            {"role": message.role, "parts": [{"text": valid_text(message.content)}]}
            for message in call.messages
            if message.role != "system"
        ]
    }
    if system:
        request["systemInstruction"] = {"parts": [{"text": valid_text(system)}]}
    sampling = call.sampling
    wanted = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "maxOutputTokens": sampling.max_tokens,
        "stopSequences": list(sampling.stop) or None,
        # The service's seeds are signed 32-bit integers.
        "seed": call.seed & (2**31 - 1),
        "responseMimeType": "application/json" if call.schema is not None else None,
        "responseJsonSchema": dict(call.schema) if call.schema is not None else None,
    }
    request["generationConfig"] = {name: value for name, value in wanted.items() if value is not None}
    return request


def _completion(data: str, call: Call, latency_ms: int) -> Completion:
    """The answer in a response's body, or `CallFailed` for what is not one."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise hosted.malformed("the response is not JSON") from None
    if not isinstance(body, dict):
        raise hosted.malformed("the response is not a JSON object")
    usage = _usage(body.get("usageMetadata"))
    candidate = hosted.at(body, "candidates", 0)
    finish = str(hosted.at(candidate, "finishReason") or "STOP")
    blocked = hosted.at(body, "promptFeedback", "blockReason")
    if blocked or finish in REFUSED:
        raise CallFailed(
            "refused",
            f"the prompt was blocked: {blocked}" if blocked else f"the answer was stopped: {finish}",
            retryable=False,
            **usage.of_failure(),
        )
    cut = finish in CUT
    if not cut and finish not in FINISHED:
        raise hosted.malformed(f"the answer was stopped: {finish}", usage)
    text = _text(hosted.at(candidate, "content", "parts"))
    if not text.strip():
        raise hosted.empty(call.sampling.max_tokens, cut, usage)
    served = body.get("modelVersion")
    return Completion(
        text=valid_text(text),
        finish_reason="length" if cut else "stop",
        latency_ms=latency_ms,
        served_by=served if isinstance(served, str) else None,
        **usage._asdict(),
    )


def _usage(body: Any) -> hosted.Usage:
    """What a call took.  Thinking is billed as output and counted apart from it."""
    thoughts = hosted.count(body, "thoughtsTokenCount")
    return hosted.Usage.of(
        hosted.count(body, "promptTokenCount") + hosted.count(body, "toolUsePromptTokenCount"),
        hosted.count(body, "candidatesTokenCount") + thoughts,
        hosted.count(body, "cachedContentTokenCount"),
        thoughts,
    )


def _text(parts: Any) -> str:
    """The text of an answer's parts, without those that are thoughts."""
    said = (part for part in (parts if isinstance(parts, list) else ()) if not hosted.at(part, "thought"))
    texts = (hosted.at(part, "text") for part in said)
    return "".join(text for text in texts if isinstance(text, str))


def _detail(error: APIError, kind: str, field: str) -> Any:
    """A field of the first of an error's details that is of a kind."""
    details = hosted.at(error.details, "error", "details")
    found = (
        part for part in (details if isinstance(details, list) else ()) if hosted.at(part, "@type") == kind
    )
    return hosted.at(next(found, None), field)


def _seconds(duration: Any) -> float | None:
    """Seconds in a protobuf duration such as `34.07s`."""
    try:
        seconds = float(duration.removesuffix("s"))
    except (AttributeError, ValueError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
