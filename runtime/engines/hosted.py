"""What engines behind a hosted service have in common: options, keys, waits, failures.

What a service sends back is material from outside: its messages are cut to one line and
never show the key, and a completion's text is made valid Unicode before it goes on.
"""

from __future__ import annotations

import math
import os
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, JsonValue, ValidationError

from dsl.errors import AccessDenied, CallFailed, EngineError, KeyMissing
from runtime.engines.base import EngineSpec, FinishReason, WaitOptions
from runtime.text import valid_text

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

LONGEST_MESSAGE = 300
_LONGEST_PAGE = 20_000
# No answer needs more; what a service sends beyond that is not kept in memory.
MOST_BYTES = 64 << 20
# No call has more tokens; a larger count is none.
MOST_TOKENS = 1 << 30
OVERLOADED = (503, 529)

_MARKUP = re.compile(r"\s*<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)\s*>|<[^<>]{0,1000}>", re.IGNORECASE | re.DOTALL)


# What a request can do without.
Part = Literal[
    "seed", "temperature", "top_p", "top_k", "max_tokens", "stop", "response_format", "reasoning", "system"
]
# Why an answer ended, in the words of those who follow the protocol and of those who nearly do.
FINISHED = frozenset({"stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete", "completed"})
CUT = frozenset({"length", "max_tokens", "max_output_tokens", "max_length", "model_length"})
# Trouble of the service's own, which may be over when the call is tried again.
TROUBLE = frozenset({"error", "abort", "aborted", "cancelled", "timeout", "unknown", "other"})
FILTERED = frozenset({"content_filter", "safety"})


# One request is one whole answer to one prompt.
_OURS = ("messages", "contents", "stream", "n")


def _extra(body: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for name in _OURS:
        if name in body:
            raise ValueError(f"`{name}` is what a call is made of, and cannot be given")
    return body


class HostedOptions(WaitOptions):
    """Options that every hosted backend knows.

    The two rates are for the runtime, which limits calls; the engine itself never does.
    `extra_body` is laid over each request's body, and what `omit` names is left out of it: a
    system prompt then opens the first message.  `reasoning` is how much the model is to think.
    """

    base_url: Annotated[str, Field(pattern="^https?://")] | None = None
    api_key_env: str | None = None
    concurrency: Annotated[int, Field(ge=1)] = 64
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    extra_body: Annotated[dict[str, JsonValue], AfterValidator(_extra)] = Field(default_factory=dict)
    omit: tuple[Part, ...] = ()
    reasoning: Annotated[str, Field(pattern="^[a-z]+$")] | None = None

    def request(self, *others: str) -> dict[str, JsonValue] | None:
        """The options that change what is asked, as far as they are set; None where none is."""
        given = self.model_dump(mode="json", include={"extra_body", "omit", "reasoning", *others})
        return {name: value for name, value in given.items() if value not in (None, [], {})} or None


Options = TypeVar("Options", bound=HostedOptions)


def read_options(kind: type[Options], spec: EngineSpec) -> Options:
    """The options of a spec, checked.  Values are never quoted: one may be a key."""
    try:
        return kind.model_validate(dict(spec.options))
    except ValidationError as error:
        fault = error.errors()[0]
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = ", ".join(sorted(kind.model_fields))
        raise EngineError(
            f"model `{spec.name}`: the {spec.backend} backend has no option `{name}`; it has {known}"
        )
    raise EngineError(f"model `{spec.name}`: option `{name}` is wrong: {fault['msg']}")


def find_key(backend: str, variables: Sequence[str]) -> str:
    """The first key set in the environment.

    Raises `KeyMissing` when there is none, `EngineError` when it cannot be a key.
    """
    for variable in variables:
        key = os.environ.get(variable, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise EngineError(
                f"the {backend} backend cannot use the key in {variable}: it holds characters "
                "that no key has; copy it again"
            )
        if key:
            return key
    raise KeyMissing(backend, variables)


def allow_large_bodies() -> None:
    """Silences aiohttp's warning about bodies over 1 MiB: writing one takes the loop a millisecond."""
    warnings.filterwarnings("ignore", "Sending a large body directly", ResourceWarning)


def session(
    url: str, connections: int, timeout: float, headers: Mapping[str, str] | None = None
) -> aiohttp.ClientSession:
    """Connections to the service at a URL.  `timeout` is in seconds for a whole answer, from when it
    is asked for; the proxy is the environment's."""
    import aiohttp

    allow_large_bodies()
    # Left to itself a session asks the environment at every request, which costs as much as the
    # request.
    proxy = _proxy(url)
    auth = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy and proxy.user else None
    return aiohttp.ClientSession(
        headers=headers,
        # What a service sets means nothing to the next call, and sending it back costs as much.
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(30.0, timeout)),
        proxy=None if proxy is None else proxy.with_user(None),
        proxy_auth=auth,
        response_class=_bounded_response(),
    )


@cache
def _bounded_response() -> type[aiohttp.ClientResponse]:
    """A response whose body is read up to MOST_BYTES, unpacked, and not beyond."""
    import aiohttp

    class BoundedResponse(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            if self._body is None:
                blocks, size = list[bytes](), 0
                try:
                    async for block in self.content.iter_any():
                        size += len(block)
                        if size > MOST_BYTES:
                            raise aiohttp.ClientPayloadError from TooLarge()
                        blocks.append(block)
                except BaseException:
                    self.close()
                    raise
                self._body = b"".join(blocks)
            return await super().read()

    return BoundedResponse


class TooLarge(Exception):
    """A response's body has more than MOST_BYTES."""


def _proxy(url: str) -> URL | None:
    from urllib.request import getproxies, proxy_bypass

    from yarl import URL

    target = URL(url)
    found = getproxies().get(target.scheme)
    return None if found is None or proxy_bypass(target.host or "") else URL(found)


def one_line(message: object, key: str) -> str:
    """A service's message fit for a log: one line, not long, without the key."""
    text = str(message)
    if _MARKUP.match(text):
        # What a page says without its marks: a proxy's, mostly.
        text = _TAG.sub(" ", text[:_LONGEST_PAGE])
    text = " ".join(valid_text(text).replace(key or "\0", "[key]").split())
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, from `retry-after-ms` or Retry-After (seconds or an HTTP date).

    `headers` has lower-case names or does not care; `now` is seconds since the epoch.
    None when nothing usable was sent.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            wait = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(wait):
            return max(0.0, wait)
    try:
        moment = parsedate_to_datetime(headers["retry-after"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def denied(status: int, message: str, model: str, remedy: str) -> CallFailed:
    """What a refusal (401, 403 or 404) says: of the prompt, of a model that is being loaded, or of a
    key or model that may serve no call.  `model` is as the sentence names it."""
    if status == 403 and speaks_of_content(message):
        return CallFailed("refused", message, retryable=False)
    if status == 404 and speaks_of_loading(message):
        return CallFailed("server", message, retryable=True)
    if status == 404:
        verdict = f"the server knows no {model} (404: {message}): {remedy}"
    else:
        verdict = f"the server refused the key for {model} ({status}: {message}): {remedy}"
    return AccessDenied(message, verdict, of_key=status == 401)


def failed_status(status: int, message: str, wait: float | None) -> CallFailed:
    """What an HTTP status says about a call that may yet succeed, or failed alone."""
    if status == 429:
        return CallFailed("rate_limit", message, retryable=True, retry_after=wait)
    # A service that is overloaded turns calls away, as with a rate limit: nothing was done.
    lost = status >= 500 and status not in OVERLOADED
    if status in (408, 504):
        return CallFailed("timeout", message, retryable=True, retry_after=wait, lost=lost)
    if status in (409, 425) or status >= 500:
        return CallFailed("server", message, retryable=True, retry_after=wait, lost=lost)
    if status == 413 or speaks_of_length(message):
        return CallFailed("too_long", message, retryable=False)
    if speaks_of_content(message):
        return CallFailed("refused", message, retryable=False)
    return CallFailed("bad_request", message, retryable=False)


def speaks_of_content(message: str) -> bool:
    """Whether a refusal is about what a prompt says, not about who asks."""
    said = message.lower()
    return any(
        phrase in said
        for phrase in (
            *("moderation", "flagged", "content policy", "content_policy", "content filter", "safety"),
            *("usage policy", "usage policies", "content_filter", "responsibleai", "inappropriate"),
            *("harmful", "violates", "violation of"),
        )
    )


def speaks_of_loading(message: str) -> bool:
    """Whether a refusal says that the model is there and cannot answer yet."""
    said = message.lower()
    return any(phrase in said for phrase in ("loading", "starting up", "warming up", "not ready"))


def speaks_of_length(message: str) -> bool:
    """Whether a refusal of a request says that its prompt is longer than the context."""
    said = message.lower()
    return any(
        phrase in said
        for phrase in (
            "context length",
            "context_length",
            "context window",
            "maximum number of tokens allowed",
            "prompt is too long",
            "maximum model length",
        )
    )


def disconnected(error: BaseException) -> CallFailed:
    """A connection that failed, broke or stayed silent.

    Libraries wrap one another's errors and not always truly (a dropped connection may
    arrive as a timeout), so the innermost cause decides; its text is left out, for it may
    hold an address.  Where no connection was made, nothing was sent.
    """
    from aiohttp import ClientConnectorError, ConnectionTimeoutError

    root, silent = error, isinstance(error, TimeoutError)
    unsent = isinstance(error, ClientConnectorError | ConnectionTimeoutError)
    while root.__cause__ is not None:
        root = root.__cause__
        silent = silent or isinstance(root, TimeoutError)
        unsent = unsent or isinstance(root, ClientConnectorError | ConnectionTimeoutError)
    if isinstance(root, TooLarge):
        message = f"the response has more than {MOST_BYTES >> 20} MiB"
        return CallFailed("malformed", message, retryable=False, lost=True)
    if silent:
        return CallFailed("timeout", "no answer within the time allowed", retryable=True, lost=not unsent)
    return CallFailed(
        "connection", f"the connection failed: {type(root).__name__}", retryable=True, lost=not unsent
    )


class Usage(NamedTuple):
    """What a service says that a call took, 0 where it says nothing.  `cached_tokens` are among the
    prompt's, `reasoning_tokens` among the completion's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @classmethod
    def of(cls, prompt: int, completion: int, cached: int, reasoning: int) -> Usage:
        """The counts with the parts no larger than what they are parts of."""
        return cls(prompt, completion, min(cached, prompt), min(reasoning, completion))

    def of_failure(self) -> dict[str, Any]:
        """What a failure that was paid for all the same says of it."""
        return {**self._asdict(), "lost": not self.prompt_tokens}


NOTHING = Usage()


def finished(word: Any, usage: Usage) -> FinishReason:
    """Why an answer ended, from the service's own word for it.

    Raises CallFailed for one that did not end as an answer does: retryable for trouble of the
    service's own.
    """
    said = word.strip().lower() if isinstance(word, str) else ""
    if said in FINISHED:
        return "stop"
    if said in CUT:
        return "length"
    raise CallFailed(
        "refused" if said in FILTERED else "finish",
        f"the service ended the answer with `{one_line(word, '')}`",
        retryable=said in TROUBLE,
        **usage.of_failure(),
    )


def malformed(what: str, usage: Usage = NOTHING) -> CallFailed:
    """An answer that is not what the protocol says."""
    return CallFailed("malformed", what, retryable=True, **usage.of_failure())


def empty(limit: int | None, cut: bool, usage: Usage) -> CallFailed:
    """An answer without text, paid for all the same.

    When it was cut at the limit of tokens, hidden reasoning has used them up: trying
    again would pay for the same, so that is not retryable.
    """
    message = "the answer has no text"
    if cut:
        message += f": all {limit or usage.completion_tokens} tokens went before any; raise max_tokens"
    return CallFailed("empty", message, retryable=not cut, **usage.of_failure())


def at(value: Any, *path: str | int) -> Any:
    """What lies at a path in parsed JSON; None where the path leaves it."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def count(value: Any, *path: str | int) -> int:
    """A count of tokens at a path in parsed JSON; 0 where there is none, or none that can be."""
    found = at(value, *path)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:
        found = int(found)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    whole = isinstance(found, int) and not isinstance(found, bool)
    return found if whole and 0 < found <= MOST_TOKENS else 0
