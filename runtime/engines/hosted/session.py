"""What engines behind a hosted service have in common: options, keys, failures.

What a service sends back is material from outside: it enters through `wire`, and its messages are
cut to one line and never show what was sent with a request.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from synth.base.display import visible
from synth.base.errors import AccessDenied, CallFailed, EngineError, KeyMissing, SynthError
from synth.base.text import valid_text
from synth.runtime.engines.base import FinishReason, WaitOptions
from synth.runtime.engines.wire import bodies
from synth.runtime.engines.wire.address import require_address
from synth.runtime.engines.wire.bodies import Redirected, TooLarge, Unpackable
from synth.runtime.engines.wire.fields import Unreadable, parsed
from synth.runtime.engines.wire.secrets import Secrets

if TYPE_CHECKING:
    from aiohttp import ClientConnectorError

LONGEST_MESSAGE = 300
LONGEST_PAGE = 20_000
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
# What an error is called where an account has nothing left, and where a prompt is turned away.
SPENT = frozenset({"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"})
REFUSED = frozenset({"content_filter", "content_policy_violation", "invalid_prompt"})
# Words for a status, where an error comes without one.
_STATUSES = {
    401: frozenset({"invalid_api_key", "authentication_error", "unauthenticated", "unauthorized"}),
    403: frozenset({"permission_denied", "permission_error", "forbidden"}),
    404: frozenset({"model_not_found", "not_found_error", "not_found"}),
    429: frozenset({"rate_limit_exceeded", "rate_limit_error", "resource_exhausted", "too_many_requests"}),
    400: frozenset({"invalid_request_error", "invalid_argument", "context_length_exceeded"}) | REFUSED,
    402: SPENT,
}


# One request is one whole answer to one prompt.
_OURS = ("messages", "contents", "stream", "n")


def _extra(body: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for name in _OURS:
        if name in body:
            raise ValueError(f"`{name}` is what a call is made of, and cannot be given")
    return body


def _address(given: str) -> str:
    try:
        return require_address(given, "it")
    except EngineError as error:
        raise PydanticCustomError("address", "{why}", {"why": str(error)}) from None


class HostedOptions(WaitOptions):
    """Options that every hosted backend knows.

    The two rates are for the runtime, which limits calls; the engine itself never does.
    `extra_body` is laid over each request's body, and what `omit` names is left out of it: a
    system prompt then opens the first message.  `reasoning` is how much the model is to think.
    """

    base_url: Annotated[str, AfterValidator(_address)] | None = None
    api_key_env: str | None = None
    concurrency: Annotated[int, Field(ge=1)] = 64
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    extra_body: Annotated[dict[str, JsonValue], AfterValidator(_extra)] = Field(default_factory=dict)
    omit: tuple[Part, ...] = ()
    reasoning: Annotated[str, Field(pattern="^[a-z]+$")] | None = None

    def extra(self, tools: Sequence[Any]) -> Mapping[str, Any]:
        """What is laid over a request with these tools: those of `extra_body`, a service's own, are beside
        them."""
        others = self.extra_body.get("tools")
        if not tools or not isinstance(others, list):
            return self.extra_body
        return {**self.extra_body, "tools": [*tools, *others]}

    def request(self, *others: str) -> dict[str, JsonValue] | None:
        """The options that change what is asked, as far as they are set; None where none is."""
        given = self.model_dump(mode="json", include={"extra_body", "omit", "reasoning", *others})
        return {name: value for name, value in given.items() if value not in (None, [], {})} or None


Read = TypeVar("Read")


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


def one_line(message: object, secrets: Secrets) -> str:
    """A service's message fit for a log: one line, not long, without what was sent to get it."""
    text = message if isinstance(message, str) else str(message)
    if len(text) > LONGEST_PAGE:
        # What the cut goes through is not known as what it was part of.
        text = secrets.hide(text[:LONGEST_PAGE])[: -secrets.longest or None]
    text = secrets.hide(text)
    if _MARKUP.match(text):
        # What a page says without its marks: a proxy's, mostly.
        text = secrets.hide(_TAG.sub(" ", text))
    text = " ".join(valid_text(text).replace("\0", " ").split())
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."


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


def json_of(data: bytes, secrets: Secrets) -> Any:
    """The JSON in a body.  Raises Unreadable, which says how the body begins."""
    try:
        return parsed(data)
    except Unreadable as error:
        begins = data[:LONGEST_PAGE].decode("utf-8", "replace")
        raise Unreadable(f"{error}: {one_line(begins, secrets)}") from None


def json_or_text(data: bytes) -> Any:
    """What an error's body says: its JSON, or as a message the text that it begins with."""
    try:
        return parsed(data)
    except Unreadable:
        return {"message": data[:LONGEST_PAGE].decode("utf-8", "replace")}


def status_in(error: Mapping[str, Any]) -> int:
    """The status that an error without one would have: by its code, or by a word for it."""
    for name in ("code", "status", "status_code"):
        code = error.get(name)
        if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
            code = int(code)
        if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
            return code
    words = {str(error.get(name)).lower() for name in ("code", "type", "status")}
    return next((status for status, known in _STATUSES.items() if words & known), 500)


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


def lost_on_the_way(error: BaseException) -> CallFailed:
    """A response that did not come, or none that can be taken: a connection that failed, broke or
    stayed silent, or a body beyond all bounds.

    Libraries wrap one another's errors and not always truly (a dropped connection may
    arrive as a timeout), so the innermost cause decides; its text is left out, for it may
    hold an address.  Where no connection was made, nothing was sent.
    """
    from aiohttp import ClientConnectorError, ConnectionTimeoutError, InvalidURL
    from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError

    root, silent = error, isinstance(error, TimeoutError)
    unmade = error if isinstance(error, ClientConnectorError) else None
    unsent = isinstance(error, ClientConnectorError | ConnectionTimeoutError)
    while root.__cause__ is not None:
        root = root.__cause__
        silent = silent or isinstance(root, TimeoutError)
        unsent = unsent or isinstance(root, ClientConnectorError | ConnectionTimeoutError)
    if isinstance(root, TooLarge):
        message = f"the response has more than {bodies.MOST_BYTES >> 20} MiB"
        return CallFailed("malformed", message, retryable=False, lost=True)
    if isinstance(root, Unpackable):
        return CallFailed("malformed", str(root), retryable=True, lost=True)
    # A body that breaks off is a broken connection.
    if isinstance(root, HttpProcessingError) and not isinstance(root, PayloadEncodingError):
        what = f"the response is not HTTP as it should be ({type(root).__name__})"
        return CallFailed("malformed", what, retryable=True, lost=True)
    if isinstance(root, InvalidURL):
        return CallFailed("bad_request", "the address cannot be used", retryable=False)
    if unmade is not None and (why := _unreached(unmade, root)) is not None:
        return CallFailed("connection", why, retryable=True, unreached=True)
    if silent:
        return CallFailed("timeout", "no answer within the time allowed", retryable=True, lost=not unsent)
    return CallFailed(
        "connection", f"the connection failed: {type(root).__name__}", retryable=True, lost=not unsent
    )


def _unreached(error: ClientConnectorError, root: BaseException) -> str | None:
    """Why nobody is there: a port on which nobody listens, a name that nobody has.  None where it may
    be anything else."""
    host = visible(str(error.host))[:100]
    if isinstance(root, socket.gaierror):
        return f"the name `{host}` cannot be resolved"
    if isinstance(root, ConnectionRefusedError):
        return f"nothing listens at {host}:{error.port}"
    return None


def redirected(error: Redirected, model: str, remedy: str, secrets: Secrets) -> AccessDenied:
    """A service that sends its callers elsewhere, where nobody follows."""
    if error.place is None:
        where = "another place on the same host"
    else:
        # The service can have made the name of what it was sent.
        where = "another host" if secrets.is_in(error.place) else f"`{visible(error.place)}`"
    message = f"status {error.status} leads to {where}, and no redirect is followed"
    verdict = (
        f"the service behind {model} sends its callers to {where} ({error.status}), and nothing is sent "
        f"there: if it is the right place, {remedy}"
    )
    return AccessDenied(message, verdict)


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


def finished(word: Any, usage: Usage, secrets: Secrets) -> FinishReason:
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
        f"the service ended the answer with `{one_line(word, secrets)}`",
        retryable=said in TROUBLE,
        **usage.of_failure(),
    )


def malformed(what: str, usage: Usage = NOTHING) -> CallFailed:
    """An answer that is not what the protocol says."""
    return CallFailed("malformed", what, retryable=True, **usage.of_failure())


def goes_on(part: Any, usage: Usage, secrets: Secrets) -> CallFailed:
    """An answer of which the text is only a part; the rest is nothing that was asked for."""
    if part == "refusal":
        return CallFailed("refused", "the answer ends in a refusal", retryable=False, **usage.of_failure())
    message = f"the answer is not text alone: it has `{one_line(part, secrets)}`"
    return CallFailed("finish", message, retryable=False, **usage.of_failure())


def empty(limit: int | None, cut: bool, usage: Usage) -> CallFailed:
    """An answer without text, paid for all the same.

    When it was cut at the limit of tokens, hidden reasoning has used them up: trying
    again would pay for the same, so that is not retryable.
    """
    message = "the answer has no text"
    if cut:
        message += f": all {limit or usage.completion_tokens} tokens went before any; raise max_tokens"
    return CallFailed("empty", message, retryable=not cut, **usage.of_failure())


def read(what: Callable[[], Read]) -> Read:
    """What is made of something that a service sent.  A shape that nobody thought of costs the call,
    never the run: raises CallFailed."""
    try:
        return what()
    except SynthError:
        raise
    except Unreadable as error:
        failure = malformed(str(error))
    except Exception as error:
        failure = malformed(f"the response cannot be read ({type(error).__name__})")
    raise failure
