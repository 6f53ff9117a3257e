"""Gemini by Google's `google-genai` client."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from compiler.plan import Capability
from dsl.errors import AccessDenied, CallFailed, EngineError, ExtraMissing
from runtime.engines import hosted
from runtime.engines.base import Call, Completion, EngineSpec, Message, ModelIdentity, without_system
from runtime.text import valid_text
from runtime.thinking import parts_of

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

# These models are told how many tokens to think, later ones how hard.
_OLDER = re.compile(r"gemini-(?:1|2)(?:\.|-|$)")

FINISHED = {"STOP", "FINISH_REASON_UNSPECIFIED"}
CUT = {"MAX_TOKENS", "CONTINUATION"}
REFUSED = {
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION"),
    *("PUP_LIMITED_DISABLED", "MODEL_ARMOR"),
}


# Thinking budgets in tokens for models that know no levels: the service's own for these words.
BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
LEVELS = frozenset({"minimal", "low", "medium", "high", "xhigh"})


class GeminiOptions(hosted.HostedOptions):
    """`api_version` is the client's own default when not given.

    `thinking_budget` is in tokens, 0 for none and -1 for as many as the model likes;
    `thinking_level` is for models that know levels; `include_thoughts` asks for summaries of the
    thinking, which are kept as the turn's thought.  `reasoning` sets whichever of the first two the
    model knows.
    """

    api_version: str | None = None
    thinking_budget: Annotated[int, Field(ge=-1)] | None = None
    thinking_level: Annotated[str, Field(pattern="^[a-zA-Z]+$")] | None = None
    include_thoughts: bool | None = None

    def thinking(self, model: str) -> dict[str, Any] | None:
        """The request's `thinkingConfig`; None where nothing is set.  Raises EngineError for a
        `reasoning` that the model has no word for."""
        budget, level = self.thinking_budget, self.thinking_level
        if self.reasoning is not None and budget is None and level is None:
            if _OLDER.search(model):
                budget = BUDGETS.get(self.reasoning)
            elif self.reasoning in LEVELS:
                level = self.reasoning
            if budget is None and level is None:
                words = BUDGETS if _OLDER.search(model) else LEVELS
                raise EngineError(
                    f"gemini model `{model}` cannot be asked for reasoning `{self.reasoning}`: "
                    f"it knows {', '.join(sorted(words))}, or set `thinking_budget` or `thinking_level`"
                )
        wanted = {
            "thinkingBudget": budget,
            "thinkingLevel": None if level is None else level.upper(),
            "includeThoughts": self.include_thoughts,
        }
        return {name: value for name, value in wanted.items() if value is not None} or None


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
        self._thinking = self.options.thinking(spec.id)
        self.identity = ModelIdentity(
            backend="gemini",
            id=spec.id,
            request=self.options.request("thinking_budget", "thinking_level", "include_thoughts"),
        )
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
        request = self._request(call)
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

    def _request(self, call: Call) -> dict[str, Any]:
        """The body of a `generateContent` request."""
        omitted = self.options.omit
        messages = without_system(call.messages) if "system" in omitted else call.messages
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        request: dict[str, Any] = {
            "contents": [
                {"role": message.role, "parts": [{"text": valid_text(message.content)}]}
                for message in messages
                if message.role != "system"
            ]
        }
        if system:
            request["systemInstruction"] = {"parts": [{"text": valid_text(system)}]}
        sampling, schema = call.sampling, None if "response_format" in omitted else call.schema
        wanted: dict[str, dict[str, Any]] = {
            "temperature": {"temperature": sampling.temperature},
            "top_p": {"topP": sampling.top_p},
            "top_k": {"topK": sampling.top_k},
            "max_tokens": {"maxOutputTokens": sampling.max_tokens},
            "stop": {"stopSequences": list(sampling.stop) or None},
            # The service's seeds are signed 32-bit integers.
            "seed": {"seed": call.seed & (2**31 - 1)},
            "response_format": {
                "responseMimeType": "application/json" if schema is not None else None,
                "responseJsonSchema": dict(schema) if schema is not None else None,
            },
            "reasoning": {"thinkingConfig": self._thinking},
        }
        request["generationConfig"] = {
            name: value
            for part, fields in wanted.items()
            if part not in omitted
            for name, value in fields.items()
            if value is not None
        }
        return _over(request, self.options.extra_body) if self.options.extra_body else request

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


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One object laid over another, and so are the objects in them."""
    both = dict(below)
    for name, value in above.items():
        under = both.get(name)
        both[name] = (
            _over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
        )
    return both


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
    most = call.sampling.max_tokens
    unsaid = "MAX_TOKENS" if most is not None and usage.completion_tokens >= most else "STOP"
    # The service leaves out what has its default value.
    finish = str(hosted.at(candidate, "finishReason") or unsaid)
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
    text, thought = _text(hosted.at(candidate, "content", "parts"))
    if not text.strip() and thought is None:
        raise hosted.empty(call.sampling.max_tokens, cut, usage)
    served = body.get("modelVersion")
    return Completion(
        text=valid_text(text),
        finish_reason="length" if cut else "stop",
        latency_ms=latency_ms,
        served_by=served if isinstance(served, str) else None,
        thought=None if thought is None else valid_text(thought),
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


def _text(parts: Any) -> tuple[str, str | None]:
    """The text of an answer's parts, and that of those that are thoughts."""
    given = [part for part in (parts if isinstance(parts, list) else ()) if isinstance(part, dict)]
    said, thought, _ = parts_of(given)
    return said, thought


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
