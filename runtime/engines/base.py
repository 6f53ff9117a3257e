"""What the runtime asks of an engine.

Constructing an engine finds out who it is (`identity`, `capabilities`) and loads at most
a tokenizer; `start` loads weights or opens connections.  An engine never retries and never
limits itself: that is the runtime's business (`synth.runtime.service`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field, JsonValue

from synth.base.canonical import Frozen
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.plan.types import Capability

# A day is longer than any wait that somebody means.
LONGEST_S = 86_400.0

MessageRole = Literal["system", "user", "model", "tool"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool: its name and its arguments, a JSON object.  `signature` is what a service wants
    back with it in later requests, as it gave it."""

    name: str
    arguments: Mapping[str, Any]
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """`calls` are a model's calls of tools, and its `content` is then empty or what it says beside them.
    The messages of role `tool` behind it have what each call came to, in the calls' order, and the tool's
    `name`.
    """

    role: MessageRole
    content: str
    calls: tuple[ToolCall, ...] = ()
    name: str = ""


class ModelIdentity(Frozen):
    """Who answers.  Part of every call key, so a changed model is a changed call.

    `template` is the sha256 of the chat template when the runtime renders it, else None.  `request`
    holds the options that change what is asked, and `weights` is the digest of the files in a folder
    where a path is all that names them; each is absent where it is not set.
    """

    backend: str
    id: str
    revision: str | None = None
    adapter: str | None = None
    template: str | None = None
    request: dict[str, JsonValue] | None = Field(default=None, exclude_if=lambda value: value is None)
    weights: str | None = Field(default=None, exclude_if=lambda value: value is None)

    def __str__(self) -> str:
        return f"{self.backend}:{self.id}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model.

    `token_ids` is the exact prompt when the engine renders (`render` gave it), and then
    `messages` is for the log only.  `priority`: smaller goes first.  `checks` and `must_fail` tell
    the simulated engine what an acceptable answer looks like; real engines ignore them.
    With `scored` set nothing is generated: the answer is how likely `token_ids` are from that
    index on, each token given all before it.  Where a user's turn was `opened`, the model goes on as
    the user.  `tools` are the definitions of those that the model may call (`ToolPlan.definition`), and
    `most_calls` tells the simulated engine how often.
    """

    key: str
    messages: tuple[Message, ...]
    token_ids: tuple[int, ...] | None
    schema: Mapping[str, Any] | None
    sampling: Sampling
    seed: int
    priority: int = 0
    checks: tuple[CheckPlan, ...] = ()
    must_fail: tuple[CheckPlan, ...] = ()
    scored: int | None = None
    opened: bool = False
    tools: tuple[Mapping[str, Any], ...] = ()
    most_calls: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.  Token counts are the engine's own, 0 where a server gave none; `latency_ms` from
    issue to answer.  `cached_tokens` are among the prompt's, `reasoning_tokens` among the completion's.

    `thought` is thinking that came beside the text. The text may begin with thinking itself, and is
    empty where an answer is nothing but that. `odd` says in plain words what was wrong with what came
    beside the text. `served_by` is the model name a server reported, when it
    did. Of a scoring call `logprob` is the sum of the natural logarithms of `scored_tokens` tokens'
    probabilities, without sampling's temperature and cuts, and the text is empty.

    `calls` are the tools that are called, in order, and the text is then empty or what is said beside them.
    Where calls cannot be read, `malformed` is a clause that says why, and the text is all that was written.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    latency_ms: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    served_by: str | None = None
    logprob: float | None = None
    scored_tokens: int = 0
    thought: str | None = None
    odd: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    malformed: str | None = None


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Where one model of a recipe runs: backend, id and the backend's own options.

    With `asked` False it is only looked at who would answer, for which no key is needed.
    """

    name: str
    backend: str
    id: str
    revision: str | None = None
    adapter: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    asked: bool = True


class WaitOptions(Frozen):
    """Options of every model, in seconds.

    `timeout` is how long an answer may take in all, from when the call is sent to a service, or has
    a seat in a local engine.  `patience` is for the runtime: how long it waits out an outage.
    """

    timeout: Annotated[float, Field(gt=0, le=LONGEST_S)] = 600.0
    patience: Annotated[float, Field(ge=0, le=LONGEST_S)] | None = None


@runtime_checkable
class Engine(Protocol):
    """One model behind one door.

    `concurrency` is the most calls worth having in hand at once.  `adaptive` says that the
    right number is unknown and must be felt for (hosted services).  `generate` raises
    `CallFailed` for a fault of this call alone, a `timeout` among them, and `EngineError` when no
    call can succeed.
    """

    identity: ModelIdentity
    capabilities: frozenset[Capability]
    version: str
    concurrency: int
    adaptive: bool

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, ...] | None:
        """The exact prompt tokens for a conversation with tools, or None when the server renders.

        Raises `CallFailed` (not retryable) when the chat template refuses the conversation.
        """
        ...

    async def start(self) -> None: ...

    async def generate(self, call: Call) -> Completion: ...

    async def close(self) -> None: ...


@runtime_checkable
class Scorer(Protocol):
    """An engine that can tell how likely a given answer is: it has the capability `logprobs`."""

    def render_answer(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], int]:
        """The tokens of a conversation that ends with the model's answer, and the index from
        which they are the answer's: those before are what `render` gives for the messages before.

        Raises `CallFailed` (not retryable) when the chat template refuses the conversation.
        """
        ...


@runtime_checkable
class Opener(Protocol):
    """An engine that knows its model's chat template: it has the capability `template`."""

    def render_opening(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The exact prompt tokens of a conversation, ending where the user's next turn begins.

        Raises `CallFailed` (not retryable) when the chat template refuses the conversation.
        """
        ...


@runtime_checkable
class Writer(Protocol):
    """An engine that knows how far the answers are that it is writing."""

    @property
    def writing(self) -> tuple[int, int] | None:
        """How many answers and how many tokens of them there are, where none was finished for some
        time.  May be asked from any thread."""
        ...


def without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same conversation for who refuses the system role: what it says opens the first message,
    which is the user's."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    others = [message for message in messages if message.role != "system"]
    if not system:
        return tuple(others)
    if others and others[0].role == "user":
        opening = others.pop(0).content
        system = f"{system}\n\n{opening}"
    return (Message("user", system), *others)


def render_answer(engine: Engine, messages: Sequence[Message]) -> tuple[tuple[int, ...], int] | None:
    """`Scorer.render_answer`, or None for an engine that cannot score since its server renders."""
    return engine.render_answer(messages) if isinstance(engine, Scorer) else None
