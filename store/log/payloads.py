"""The payload of each kind of event: its fields, and what a reader takes where one is absent.

A payload is a plain dict, and the log writes it as canonical JSON, whose keys are sorted.  Where thousands
are made a second they are literals of their type, which cost less than half of a call by its name.  A
field that is `NotRequired` is absent where there is nothing to say, or in logs of versions that did not
have it; its comment says what a reader then takes.  A field is never taken away, and never changes what it
means.

A payload with `forgotten` is a tombstone (`forgotten.py`): of the fields below it has those that
`store/forget/tombstones.py` keeps of its kind.
"""

# No `from __future__ import annotations`: it would hide from Python which fields are `NotRequired`.
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from synth.store.log.events import Kind
from synth.store.log.source_payloads import (
    DocumentsCompleted,
    Json,
    Message,
    RowIngested,
    SourceCompleted,
    SourceIngested,
    ToolCall,
)


class EventColumns(TypedDict, total=False):
    """What stands beside a payload, in columns of its own; NULL where it is absent."""

    sample_id: str  # 16 hex digits, of a sample or of a row of a source
    step: str
    attempt: int  # from 0
    model: str | None  # its name in the recipe
    prompt_tokens: int
    completion_tokens: int
    latency_ms: int


class AttemptColumns(TypedDict):
    """Those of an attempt's events, which do not depend on what comes of it."""

    sample_id: str
    step: str
    attempt: int
    model: str | None


class PlanRegistered(TypedDict):
    """A plan is in the log once, before the first run of it."""

    plan_hash: str
    plan: Json  # the whole of it, as `plan.json` has it


class CohortLineage(TypedDict):
    """What the samples of a cohort, or the pairs of a preference, come from."""

    lineage: str  # 16 hex digits that name the other fields together
    fingerprint: str
    models: Mapping[str, Json]  # identities, by the models' names in the recipe
    of: NotRequired[str]  # the lineage of the conversation that a preference, or another one, is made from
    held: NotRequired[Mapping[str, str]]  # the versions of the sources that checks compare with, by name


class SourceNote(TypedDict):
    """What a run read of a source of messages, or what the index of its documents holds."""

    version: str
    rows: int
    there: NotRequired[int]  # messages: rows that the log had already
    left_out: NotRequired[int]  # messages: rows that could not be read; absent: 0
    index: NotRequired[int]  # documents: the version of the index's code


class AnswerRules(TypedDict):
    """What answers are judged by, in the words of `runtime/calls/rules.py`."""

    version: int
    cut_text: str
    thinking: str
    composed: NotRequired[str]  # absent: accepted


class AcceptedLoss(TypedDict):
    """What a log was short of when it was gone on with."""

    events: int | None  # None: nobody can say
    calls: int
    cost: float


class RunStarted(TypedDict):
    plan_hash: str
    lineages: Mapping[str, CohortLineage]  # by the names of cohorts and preferences
    options: Json  # of the run
    warnings: Sequence[str]
    versions: Mapping[str, str]  # of synth, Python, DuckDB and each engine
    sources: NotRequired[Mapping[str, SourceNote]]  # by name; absent: none
    # By cohort, a digest of how its models were set up; absent in 0.1.0: taken to be the same.
    settings: NotRequired[Mapping[str, str]]
    answers: NotRequired[AnswerRules]  # absent in 0.1.0: version 1 of the rules
    # By model: `by` (whose price it is), `input`, `output` and others, in money per million tokens;
    # absent in 0.1.0: no price was known.
    prices: NotRequired[Mapping[str, Json]]
    accepted_loss: NotRequired[AcceptedLoss]  # absent: the log was short of nothing


class CandidateNote(TypedDict):
    """Which candidate of its round an attempt was."""

    candidate: NotRequired[int]  # absent: 0, the first


class CallId(TypedDict):
    """Who was asked, and what names the call."""

    call_key: str  # sha256 of all that the answer depends on
    identity: Json  # the model's: backend, id, revision and others
    engine: str  # the engine's version


class TokenNotes(TypedDict, total=False):
    """What there is to say of some calls' tokens."""

    reasoning_tokens: int  # of the completion's; absent: 0
    estimated: bool  # True: tokens were counted here; absent: the service said them


class Score(TypedDict, total=False):
    """What a scoring call has, and no other."""

    scored: int  # index of the first token that is scored
    logprob: float | None  # natural, the sum over the scored tokens
    scored_tokens: int  # absent: 0


class CallCompleted(CallId, TokenNotes, Score, CandidateNote):
    messages: Sequence[Message]  # role and content
    token_ids: Sequence[int] | None  # of the exact prompt; None where a server renders it
    schema: Json | None  # what the answer had to satisfy while it was written
    sampling: Json  # what was set, and nothing else
    seed: int
    text: str  # what is said
    finish_reason: str
    cached_tokens: int  # of the prompt's
    served_by: str | None  # the model that the service says it was; None where it says nothing
    thought: NotRequired[str]  # the thinking that came with the text; absent: none
    odd: NotRequired[Sequence[str]]  # what was wrong with the rest of the response, in plain words
    tools: NotRequired[Sequence[Json]]  # definitions of those that the model may call; absent: none
    calls: NotRequired[Sequence[ToolCall]]  # of tools, in order; absent: none
    malformed: NotRequired[str]  # why calls in the text cannot be read; absent: there is nothing unread
    exchange: NotRequired[int]  # which call of its attempt it is, between which tools answer; absent: 0


# `try` is a word of Python's, which no class body can have for a field: the number of the try, from 1.
_Try = TypedDict("_Try", {"try": int})


class CallFailed(CallId, TokenNotes, _Try):
    """One try.  Its columns have the tokens that it cost, where the service said them."""

    failure: str  # the kind of failure
    message: str
    retryable: bool
    cached_tokens: NotRequired[int]  # of the prompt's; absent: 0
    lost_cost: NotRequired[float]  # money at most, of an answer that may have been written; absent: 0


class StepAccepted(CandidateNote):
    call: int  # seq of the answer
    call_key: str


class StepRejected(CandidateNote):
    call: int | None  # seq of the answer; None where no model was asked
    call_key: str | None  # None where `call` is, and where the answer had been accepted before
    check: str
    reason: str
    text: str | None  # what was refused; None where it is no text


class IndexNote(TypedDict):
    version: int  # of the index's code
    digest: str  # of what it held


class RetrievalDone(TypedDict):
    key: str  # sha256 of what was looked up, whatever the index held
    source: str
    function: str
    arguments: Json
    index: IndexNote
    chunks: list[dict[str, Any]]  # id, document, heading, text, metadata, score


class FunctionDone(TypedDict):
    """A Python function was called for a sample, or the log had what it gives: of result and fault one is
    there."""

    key: str  # sha256 of its source and its arguments
    function: str  # as recipes write it
    source: str  # sha256 of what its file does, with those that it imports
    result: NotRequired[Any]  # JSON that it gave
    fault: NotRequired[str]  # why it gave none
    lasting: NotRequired[bool]  # of a fault; absent: True, another call would end so
    files: NotRequired[Mapping[str, str | None]]  # sha256 by path, None of one that lacks; absent: none
    simulated: NotRequired[bool]  # True: made up, and nothing was called; absent: False


class ToolDone(CandidateNote):
    """A tool answered a call: of result and fault one is there."""

    key: str  # sha256 of the answer that called it, the call's number there, and what the tool does
    call: int  # seq of that answer
    number: int  # of the call in it, from 0
    name: str
    arguments: Json
    result: NotRequired[Any]  # JSON
    fault: NotRequired[str]  # why there is none, as the model is told


class RejectedAttempt(CandidateNote):
    attempt: int  # from 0; with candidates, the round
    call: int | None  # seq of the answer; None where no model was asked
    check: str
    reason: str


class MarkedAttempt(CandidateNote):
    """An attempt, at a step with candidates or a rubric, that stood or was marked before it was refused."""

    attempt: int  # the round, from 0
    call: int  # seq of the answer
    marks: NotRequired[Json]  # by criterion, their `total` and `why`; absent: nobody was asked
    stood: NotRequired[bool]  # False: refused after it was marked or outvoted; absent: True
    picked: NotRequired[bool]  # True: it is the value; absent: False


class CalledTool(TypedDict):
    """A call of a tool in an accepted turn, and what came of it: of result and fault one is there."""

    name: str
    arguments: Json
    result: NotRequired[Any]  # JSON
    fault: NotRequired[str]
    message: int  # which of the turn's messages the call stands in, from 0
    signature: NotRequired[str]  # what the service wants back with it; absent: nothing
    # Of the first call of a message:
    content: NotRequired[str]  # what is said beside the calls; absent: nothing
    thought: NotRequired[str]  # the thinking before them; absent: none


class SamplePlace(TypedDict):
    """Which sample of which lineage it is."""

    lineage: str
    cohort: str
    cell: Mapping[str, str]  # labels, by the names of axes and draws
    ordinal: int  # in its cell, from 0
    of: NotRequired[str]  # id of the sample that a pair, or a sample over another conversation, is made from
    inputs: NotRequired[str]  # 16 hex digits: digest of the rows' values that it is made of; absent: of none


class SampleEnded(SamplePlace):
    """What a sample has however it ended."""

    # Text or JSON of the steps that were accepted; beside a step's, its marks as `answer.quality`, the
    # share of candidates that agree on it as `answer.agreement`, and its calls of tools as `answer.calls`
    # (a list of `CalledTool`).
    values: dict[str, Any]
    attempts: NotRequired[Mapping[str, Sequence[MarkedAttempt]]]  # by step, in order; absent: none
    rejected: NotRequired[Mapping[str, Sequence[RejectedAttempt]]]  # by step; absent: none
    thoughts: NotRequired[Mapping[str, str]]  # thinking, by step; absent: none
    cut: NotRequired[Sequence[str]]  # steps whose text was kept although it was cut at the limit of tokens


class SampleCompleted(SampleEnded):
    calls: Mapping[str, int]  # seqs of the answers, by step


class SampleAbandoned(SampleEnded):
    reason: str
    lasting: bool  # False: a service failed, and another run tries again


class EndedEitherWay(SampleEnded, total=False):
    """What is read of a sample's end, of whichever kind it is."""

    calls: Mapping[str, int]  # of a completed one
    reason: str  # of an abandoned one
    lasting: bool


class StuckStep(TypedDict):
    """A step that nothing passed, as its attempts came to in one run."""

    cohort: str
    step: str
    model: str | None  # None for a step that asks none
    judged: int  # attempts
    checks: Mapping[str, int]  # refusals, by check or by the kind of a service's failure
    failed: bool  # whether it was the service that failed
    reason: str  # of the first of the checks
    examples: Sequence[str]  # refused answers, shortened
    lost_at: Sequence[str]  # steps at which its samples are given up


class RunStopped(TypedDict):
    outcome: str
    reason: str
    counts: Json  # as `--json` shows them
    stuck: NotRequired[Sequence[StuckStep]]  # absent: no step is


class EventLost(TypedDict):
    """In a log that was salvaged, it stands in the place of an event that did not hold."""

    why: str


class SampleForgotten(TypedDict):
    """The event's `sample_id` names the sample or the row."""

    kind: Literal["sample", "row"]
    lineages: Mapping[str, str]  # lineage -> how it had ended: completed, abandoned, pending or hidden
    events: Sequence[int]  # seqs of its tombstones


class LogPosition(TypedDict):
    events: int
    head: str  # of the chain


class LogRewritten(TypedDict):
    """By `synth forget`, after all other events of the log that it writes."""

    of: LogPosition  # the log that it was written from
    samples: int
    rows: int
    payloads: int  # tombstones
    redacted: int  # payloads of which single texts are gone
    plans: Sequence[str]  # hashes of the plans that are tombstones
    heads: Mapping[str, str]  # batch -> the hash that it had, of batches that have another one now


# By kind, what its payload is; of several types, each payload is of one.
PAYLOADS: Mapping[Kind, tuple[type, ...]] = {
    Kind.PLAN_REGISTERED: (PlanRegistered,),
    Kind.RUN_STARTED: (RunStarted,),
    Kind.SOURCE_INGESTED: (SourceIngested, RowIngested),
    Kind.SOURCE_COMPLETED: (SourceCompleted, DocumentsCompleted),
    Kind.RETRIEVAL_DONE: (RetrievalDone,),
    Kind.FUNCTION_DONE: (FunctionDone,),
    Kind.TOOL_DONE: (ToolDone,),
    Kind.CALL_COMPLETED: (CallCompleted,),
    Kind.CALL_FAILED: (CallFailed,),
    Kind.STEP_ACCEPTED: (StepAccepted,),
    Kind.STEP_REJECTED: (StepRejected,),
    Kind.SAMPLE_COMPLETED: (SampleCompleted,),
    Kind.SAMPLE_ABANDONED: (SampleAbandoned,),
    Kind.RUN_STOPPED: (RunStopped,),
    Kind.EVENT_LOST: (EventLost,),
    Kind.SAMPLE_FORGOTTEN: (SampleForgotten,),
    Kind.LOG_REWRITTEN: (LogRewritten,),
}
