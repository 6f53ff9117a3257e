"""Gemini by Google's `google-genai` client."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from synth.base.errors import AccessDenied, CallFailed, EngineError, ExtraMissing
from synth.base.text import valid_text
from synth.base.version import package_version
from synth.compiler.plan.types import Capability
from synth.runtime.engines.base import Call, Completion, EngineSpec, Message, ModelIdentity, without_system
from synth.runtime.engines.hosted import session as hosted
from synth.runtime.engines.hosted.gemini_tools import MISCALLED, calls_in, contents, declarations, written
from synth.runtime.engines.options import read_options
from synth.runtime.engines.thinking import parts_of
from synth.runtime.engines.tool_calls import Called, cut, in_text
from synth.runtime.engines.wire.address import require_address
from synth.runtime.engines.wire.bodies import Arrived, Redirected, Reply, TooLarge, Unpackable
from synth.runtime.engines.wire.fields import Reading, at, duration, told, wait_of
from synth.runtime.engines.wire.secrets import Secrets

if TYPE_CHECKING:
    from google.genai import Client

    from synth.runtime.engines.wire.session import Door

# The client itself prefers the first where both are set.
KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
# Where the client goes by itself; asked only whether a proxy stands before it.
DEFAULT_URL = "https://generativelanguage.googleapis.com"

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

# These models are told how many tokens to think, later ones how hard.
_OLDER = re.compile(r"gemini-(?:1|2)(?:\.|-|$)")

FINISHED = {"STOP", "FINISH_REASON_UNSPECIFIED"}
# What a part may have that is no text and no other answer either.
_BESIDE_TEXT = {"thought", "thoughtSignature", "partMetadata"}
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


def _require_packages() -> None:
    try:
        import google.genai  # noqa: F401 - what says what is asked
    except ImportError:
        raise ExtraMissing("gemini", "gemini", "google-genai") from None
    try:
        import aiohttp  # noqa: F401 - the client's transport
    except ImportError:
        raise ExtraMissing("gemini", "gemini", "aiohttp") from None


class GeminiEngine:
    """One Gemini model.

    Raises `ExtraMissing`, `KeyMissing` or `EngineError` (bad options) when constructed.
    """

    capabilities: frozenset[Capability] = frozenset({"chat", "json", "tools"})
    adaptive = True

    def __init__(self, spec: EngineSpec) -> None:
        if spec.asked:
            _require_packages()
        self.options = read_options(GeminiOptions, spec)
        self._thinking = self.options.thinking(spec.id)
        self.identity = ModelIdentity(
            backend="gemini",
            id=spec.id,
            request=self.options.request("thinking_budget", "thinking_level", "include_thoughts"),
        )
        self._name, self._signs = spec.name, not _OLDER.search(spec.id)
        self.version = f"google-genai {package_version('google-genai')}"
        self.concurrency = self.options.concurrency
        self._variables = (self.options.api_key_env,) if self.options.api_key_env else KEY_VARIABLES
        self._key = hosted.find_key("gemini", self._variables) if spec.asked else "unused"
        self._secrets = Secrets({self._key: "key"})
        variable = os.environ.get("GOOGLE_GEMINI_BASE_URL", "").strip()
        self._url = require_address(
            self.options.base_url or variable or DEFAULT_URL,
            "base_url" if self.options.base_url else "GOOGLE_GEMINI_BASE_URL",
        )
        self._client: Client | None = None
        self._door: Door | None = None

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, ...] | None:
        return None

    async def start(self) -> None:
        from google.genai import Client, types

        from synth.runtime.engines.wire.session import Door

        # The client says what is asked; what comes back it does not get to see, since it reads
        # whatever it is sent, at any size, and follows redirects with the key.
        self._door = Door(self._url, self.concurrency, self.options.timeout, handed_over=True)
        self._client = Client(
            api_key=self._key,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=self._url,
                api_version=self.options.api_version,
                timeout=round(self.options.timeout * 1000),
                aiohttp_client=self._door.session,
                # Without retry options the client tries once more by itself, seconds later.
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )

    async def close(self) -> None:
        client, self._client = self._client, None
        door, self._door = self._door, None
        if client is not None:
            await client.aio.aclose()
            client.close()
        if door is not None:
            await door.close()

    async def generate(self, call: Call) -> Completion:
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
        data = await self.replied(
            self._client.aio.models.generate_content(
                model=self.identity.id,
                # Typed contents cost 0.3 ms a message: the request goes in the service's own
                # form, and its contents take the place of this one.
                contents=[Content(role="user", parts=[Part(text="")])],
                config=GenerateContentConfig(
                    http_options=HttpOptions(extra_body=request),
                    automatic_function_calling=AutomaticFunctionCallingConfig(disable=True),
                ),
            )
        )
        latency_ms = round((time.perf_counter() - issued) * 1000)
        return hosted.read(lambda: self._completion(data, call, latency_ms))

    async def replied(self, asked: Awaitable[Any]) -> bytes:
        """The body that answers a request of the client's.  Raises CallFailed or EngineError for any
        other answer."""
        import aiohttp

        try:
            await asked
        except Arrived as arrived:
            reply = arrived.reply
            if reply.status == 200:
                return reply.data
            failure = hosted.read(lambda: self._refusal(reply))
        except Redirected as error:
            remedy = "set base_url (or GOOGLE_GEMINI_BASE_URL) to it"
            failure = hosted.redirected(error, f"gemini model `{self.identity.id}`", remedy, self._secrets)
        except (aiohttp.ClientError, OSError, TooLarge, Unpackable) as error:
            failure = hosted.lost_on_the_way(error)
        else:
            raise RuntimeError("the client answered by itself")
        raise failure

    def _request(self, call: Call) -> dict[str, Any]:
        """The body of a `generateContent` request."""
        omitted = self.options.omit
        messages = without_system(call.messages) if "system" in omitted else call.messages
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        request: dict[str, Any] = {"contents": contents(messages, signed=self._signs)}
        if system:
            request["systemInstruction"] = {"parts": [{"text": valid_text(system)}]}
        if call.tools:
            request["tools"] = [declarations(call.tools)]
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
        extra = self.options.extra(request.get("tools", ()))
        return _over(request, extra) if extra else request

    def _refusal(self, reply: Reply) -> CallFailed:
        """What a status other than 200 means."""
        if reply.status < 400:
            return hosted.malformed(f"the service answers with status {reply.status}, which is no answer")
        body = hosted.json_or_text(reply.data)
        if isinstance(body, list) and len(body) == 1:
            body = body[0]
        error = at(body, "error") or body
        found = error if isinstance(error, dict) else {"message": error}
        return self._refused(reply.status, found, wait_of(reply.headers))

    def _refused(self, status: int, error: Mapping[str, Any], wait: float | None) -> CallFailed:
        """What an error means: for this call, or for every call of the run."""
        model = self.identity.id
        # A wrong key is answered with 400, not with 401.
        key_invalid = _detail(error, ERROR_INFO, "reason") == "API_KEY_INVALID"
        message = hosted.one_line(error.get("message") or f"status {status}", self._secrets)
        if status in (401, 403, 404) or key_invalid:
            remedy = (
                "check the model's id and base_url"
                if status == 404
                else f"check {' or '.join(self._variables)} and what that key may use"
            )
            return hosted.denied(status, message, f"gemini model `{model}`", remedy)
        if error.get("status") == "FAILED_PRECONDITION":
            verdict = (
                f"the account or its region may not use gemini model `{model}` ({status}): "
                "check billing and the service's list of regions"
            )
            return AccessDenied(message, verdict, final=True)
        if status == 400 and "response mime type" in message.lower():
            # Models before the third generation give no JSON where they may call.
            message += (
                f'; synth.toml can do without: `omit = ["response_format"]` under [models.{self._name}]'
            )
        asked = duration(_detail(error, RETRY_INFO, "retryDelay"))
        return hosted.failed_status(status, message, wait if asked is None else asked)

    def _completion(self, data: bytes, call: Call, latency_ms: int) -> Completion:
        """The answer in a response's body, or `CallFailed` for what is not one."""
        read, body = Reading(self._secrets), hosted.json_of(data, self._secrets)
        if not isinstance(body, dict):
            raise hosted.malformed("the response is not a JSON object")
        if error := body.get("error"):
            found = error if isinstance(error, dict) else {"message": error}
            raise self._refused(hosted.status_in(found), found, None)
        usage = _usage(read, body.get("usageMetadata"))
        candidate = at(body, "candidates", 0)
        most = call.sampling.max_tokens
        unsaid = "MAX_TOKENS" if most is not None and usage.completion_tokens >= most else "STOP"
        # The service leaves out what has its default value.
        word = at(candidate, "finishReason") or unsaid
        finish = word if isinstance(word, str) else told(word)
        blocked = at(body, "promptFeedback", "blockReason")
        if blocked or finish in REFUSED:
            said = hosted.one_line(blocked or finish, self._secrets)
            raise CallFailed(
                "refused",
                f"the prompt was blocked: {said}" if blocked else f"the answer was stopped: {said}",
                retryable=False,
                **usage.of_failure(),
            )
        is_cut, miscalled = finish in CUT, MISCALLED.get(finish) if call.tools else None
        if not is_cut and finish not in FINISHED and miscalled is None:
            stopped = hosted.one_line(finish, self._secrets)
            raise hosted.malformed(f"the answer was stopped: {stopped}", usage)
        parts = _parts(at(candidate, "content", "parts"))
        called = calls_in(parts, read) if call.tools else None
        if miscalled is not None:
            called = Called(malformed=f"{miscalled} ({finish})")
        text, thought, other = _text(parts, called)
        if other is not None:
            raise hosted.goes_on(other, usage, self._secrets)
        if called is None and not text.strip() and thought is None:
            raise hosted.empty(call.sampling.max_tokens, is_cut, usage)
        calls, malformed = called or Called()
        if called is not None and is_cut:
            calls, malformed = (), cut(calls)
        elif call.tools and malformed is None:
            malformed = in_text(text, call.tools, schema=call.schema is not None)
            calls = () if malformed else calls
        if malformed is not None:
            text = written(text, parts, at(candidate, "finishMessage"))
        elif calls and not text.strip():
            text = ""
        return Completion(
            text=read.text(text),
            finish_reason="length" if is_cut else "stop",
            latency_ms=latency_ms,
            served_by=read.name(body.get("modelVersion"), "modelVersion"),
            thought=None if thought is None else read.text(thought, "the thinking"),
            **usage._asdict(),
            odd=tuple(dict.fromkeys(read.odd)),
            calls=calls,
            malformed=malformed,
        )


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One object laid over another, and so are the objects in them."""
    both = dict(below)
    for name, value in above.items():
        under = both.get(name)
        both[name] = (
            _over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
        )
    return both


def _usage(read: Reading, found: Any) -> hosted.Usage:
    """What a call took.  Thinking is billed as output and counted apart from it."""
    used = read.object(found, "usageMetadata")
    thoughts = read.count(used, "thoughtsTokenCount")
    return hosted.Usage.of(
        read.count(used, "promptTokenCount") + read.count(used, "toolUsePromptTokenCount"),
        read.count(used, "candidatesTokenCount") + thoughts,
        read.count(used, "cachedContentTokenCount"),
        thoughts,
    )


def _parts(found: Any) -> list[dict[str, Any]]:
    return [part for part in (found if isinstance(found, list) else ()) if isinstance(part, dict)]


def _text(parts: list[dict[str, Any]], called: Called | None) -> tuple[str, str | None, str | None]:
    """The text of an answer's parts, that of those that are thoughts, and the name of one that is neither:
    calls are, where there were to be any."""
    said, thought, _ = parts_of(parts)
    known = _BESIDE_TEXT if called is None else _BESIDE_TEXT | {"functionCall"}
    beside = (name for part in parts if "text" not in part for name in part if name not in known)
    return said, thought, next(beside, None)


def _detail(error: Mapping[str, Any], kind: str, field: str) -> Any:
    """A field of the first of an error's details that is of a kind."""
    details = error.get("details")
    found = (part for part in (details if isinstance(details, list) else ()) if at(part, "@type") == kind)
    return at(next(found, None), field)
