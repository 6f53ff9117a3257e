"""One attempt at a step, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import CheckPlan, StepPlan
from synth.runtime.calls.rules import Rules
from synth.runtime.engines.base import Message, ToolCall
from synth.runtime.functions.asked import Application, Fault, Result
from synth.runtime.retrieval.service import LookUp, Passages
from synth.store.log.past.logged import LoggedSample


class Place(NamedTuple):
    """Which attempt at a step it is: a candidate of a round, both from 0."""

    round: int
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is what is said, `thought` the thinking before it; `seq` is the event of the call;
    `reused` says that nothing was paid now.

    Of a step that `scores`, `logprob` is the sum over `scored_tokens` tokens.  `calls` are the tools that
    are called, and `malformed` says why calls in the text cannot be read.
    """

    text: str
    finish_reason: str
    seq: int
    call_key: str
    reused: bool
    logprob: float | None = None
    scored_tokens: int = 0
    thought: str | None = None
    calls: tuple[ToolCall, ...] = ()
    malformed: str | None = None


class CallAbandoned(Exception):
    """A call that failed for good; the sample is abandoned for this reason.

    `lasting` says that the call itself is at fault: another run would fare no better.  `judged` says
    that each of its tries was an answer, refused already.
    """

    def __init__(self, reason: str, *, lasting: bool = True, judged: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting
        self.judged = judged


class CacheMiss(Exception):
    """The log does not hold an answer, and there is no engine to ask."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one step of a cohort's sample: what the model is shown, in what order of urgency,
    the sample's earlier calls by key, and what the answer must satisfy.  Of an attempt with tools, each
    call between which they answer is an `exchange`, from 0.  `tools` are definitions of a row's own, where
    the step has none."""

    cohort: str
    sample_id: str
    step: StepPlan
    place: Place
    messages: Sequence[Message]
    priority: int
    earlier: LoggedSample
    checks: tuple[CheckPlan, ...] = ()
    must_fail: tuple[CheckPlan, ...] = ()
    exchange: int = 0
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool answers to the call that is number `number` of an answer: JSON, or a `fault`, in words.

    `key` names it: it is the sha256 of the answer, the number and what the tool does.
    """

    sample_id: str
    step: StepPlan
    place: Place
    earlier: LoggedSample
    key: str
    asked: Answer
    number: int
    result: Any = None
    fault: str | None = None


class Rows(Protocol):
    """The rows of the sources that checks compare values with."""

    def reason(self, check: CheckPlan, value: Any) -> str | None:
        """Why a value does not differ from each of them, or None."""
        ...


class Unheld:
    """The rows of a plan that compares with none."""

    def reason(self, check: CheckPlan, value: Any) -> str | None:
        raise AssertionError(f"{check.name} compares with rows that were not read")


class ModelClient(Protocol):
    plan: Plan
    held: Rows

    def rules(self, sample_id: str) -> Rules:
        """The rules that a sample's answers are judged by."""
        ...

    async def call(self, attempt: Attempt) -> Answer:
        """Raises CallAbandoned, CacheMiss or Stopped."""
        ...

    async def look_up(self, lookup: LookUp) -> Passages:
        """Raises CallAbandoned or CacheMiss."""
        ...

    async def apply(self, asked: Application) -> Result | Fault:
        """What a Python function comes to.  Raises CacheMiss or Stopped."""
        ...

    async def answered(self, answer: ToolAnswer) -> None:
        """Takes note of what a tool answers."""
        ...
