"""What the log holds of one sample: its calls, what was looked up and what functions gave, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synth.base.canonical import canonical_json
from synth.store.log.past.functions import LoggedResult
from synth.store.log.past.losses import Loss
from synth.store.log.payloads import CallCompleted, MarkedAttempt, ToolDone
from synth.store.log.source_payloads import Message, ToolCall


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A completed call as the log has it.  `token_ids` is None where a server rendered.

    `messages` are as `keyed` gives them.  `logprob` is a scoring call's: the sum over the last
    `scored_tokens` of the tokens.
    """

    seq: int
    call_key: str
    step: str
    attempt: int
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    messages: tuple[tuple[str, ...], ...]
    token_ids: tuple[int, ...] | None
    identity: Mapping[str, Any]
    sampling: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    seed: int
    logprob: float | None = None
    scored_tokens: int = 0
    thought: str | None = None
    candidate: int = 0
    tools: Sequence[Mapping[str, Any]] = ()
    calls: Sequence[ToolCall] = ()
    malformed: str | None = None
    exchange: int = 0


@dataclass(frozen=True, slots=True)
class LoggedLookup:
    """Passages that were looked up, and the digest of what the index held then."""

    key: str
    digest: str
    passages: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """What the log holds of a sample: completed calls by call key, passages and what functions gave and
    tools answered by their keys, and each time that it was lost."""

    calls: dict[str, LoggedCall] = field(default_factory=dict)
    lookups: dict[str, LoggedLookup] = field(default_factory=dict)
    results: dict[str, list[LoggedResult]] = field(default_factory=dict)
    tools: dict[str, ToolDone] = field(default_factory=dict)
    lost: list[Loss] = field(default_factory=list)

    def made_of(self, inputs: str) -> LoggedSample:
        """The same of the sample as it is made of certain inputs: its calls are the same, its losses not."""
        lost = [loss for loss in self.lost if loss.inputs == inputs]
        return LoggedSample(self.calls, self.lookups, self.results, self.tools, lost)

    def tried(self, step: str) -> int:
        """How many rounds of attempts at a step are not made again: they were refused when the sample was
        lost."""
        return sum(loss.rounds.get(step, 0) for loss in self.lost)

    def refused_last(self, step: str) -> tuple[str, str] | None:
        """The text and the reason of what was refused at a step when the sample was lost the last time."""
        last = next((loss.last[step] for loss in reversed(self.lost) if step in loss.last), None)
        if last is None:
            return None
        text = next((call.text for call in self.calls.values() if call.seq == last["call"]), None)
        return None if text is None else (text, last["reason"])


@dataclass(frozen=True, slots=True)
class Ending:
    """How a sample ended, in event `seq` of the run `run_id`: with accepted `values` and `thoughts` by step,
    or given up at a step for a `reason`, and then `values` is None.  `inputs` are what it was made of."""

    seq: int
    run_id: str
    step: str | None
    values: dict[str, Any] | None
    thoughts: Mapping[str, str]
    reason: str = ""
    inputs: str = ""
    attempts: Mapping[str, Sequence[MarkedAttempt]] = field(default_factory=dict)


def logged_call(
    seq: int, step: str, attempt: int, prompt_tokens: int, completion_tokens: int, payload: CallCompleted
) -> LoggedCall:
    token_ids = payload.get("token_ids")
    return LoggedCall(
        seq=seq,
        call_key=payload["call_key"],
        step=step,
        attempt=attempt,
        text=payload["text"],
        finish_reason=payload["finish_reason"],
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        messages=tuple(map(keyed, payload["messages"])),
        token_ids=tuple(token_ids) if token_ids is not None else None,
        identity=payload["identity"],
        sampling=payload["sampling"],
        schema=payload.get("schema"),
        seed=payload["seed"],
        logprob=payload.get("logprob"),
        scored_tokens=payload.get("scored_tokens", 0),
        thought=payload.get("thought"),
        candidate=payload.get("candidate", 0),
        tools=payload.get("tools", ()),
        calls=payload.get("calls", ()),
        malformed=payload.get("malformed"),
        exchange=payload.get("exchange", 0),
    )


def keyed(message: Message) -> tuple[str, ...]:
    """A message as it stands in a call's key: role and content, and in what is about tools the calls as
    JSON and the tool's name."""
    calls, name = message.get("calls"), message.get("name")
    if not calls and not name:
        return message["role"], message["content"]
    return message["role"], message["content"], canonical_json(list(calls or ())), name or ""
