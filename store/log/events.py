"""Events: what the log is made of.  Nothing in the log is ever updated or deleted.

Payloads, by kind:

    plan.registered    plan_hash, plan (the whole of it)
    run.started        plan_hash, lineages (by cohort: lineage, fingerprint, model identities),
                       settings (by cohort: a digest of how its models were set up), options, warnings,
                       versions, prices (by model: by, input, output, ..., per million tokens; absent in
                       logs of 0.1.0), answers (the rules that they are judged by: version, cut_text,
                       thinking, composed; absent in logs of 0.1.0)
    call.completed     call_key, identity, engine, messages, token_ids (None where a server
                       renders), schema, sampling, seed, text (what is said), finish_reason,
                       cached_tokens, served_by; thought (the thinking that came with it),
                       reasoning_tokens and estimated (True: tokens were counted here) where there are
                       any, odd (what was wrong with the rest of the response, in plain words); where
                       an answer was scored: scored (index of its first token), logprob (natural, the
                       sum), scored_tokens
    call.failed        call_key, identity, engine, failure, message, retryable, try; cached_tokens and
                       reasoning_tokens where there are any, lost_cost (money at most) of a lost answer
    step.accepted      call (seq of the answer), call_key
    step.rejected      call, call_key, check, reason, text
    source.ingested    source, version, row (from 0), file, line, hash, messages (role, content,
                       perhaps weight and thought); its `sample_id` names the row
    source.completed   source, reader (digest of the reader and its arguments), version, rows, shape,
                       files (path, bytes, sha256); since 0.2: reading (version of the reader), and
                       where there are some left_out (rows, kinds, first: file, line, reason) and
                       unread (keys and counts, by rows and messages)
    retrieval.done     key, source, function, arguments, index (version, digest), chunks (id, document,
                       heading, text, metadata, score)
    sample.completed   lineage, cohort, cell (name -> label), ordinal, values (step -> text or
                       JSON), calls (step -> seq), rejected (step -> attempts: call, attempt, check,
                       reason; absent where there are none), thoughts (step -> thinking; absent
                       where there is none), cut (steps whose text was kept although it was cut at
                       the limit of tokens; absent where there are none), of (a pair's: the sample
                       it is made from)
    sample.abandoned   lineage, cohort, cell, ordinal, reason, lasting (False: a service failed),
                       values (of the steps that were accepted), rejected, thoughts, cut, of
    sample.forgotten   lineages (lineage -> completed, abandoned or pending: how it had ended), events
                       (seqs of its tombstones), kind (sample or row); its `sample_id` names it
    log.rewritten      by `synth forget`: of (events and head of the log that it was written from),
                       samples, rows and payloads that were forgotten, plans (hashes of those),
                       redacted (payloads of which single texts are gone), heads (batch -> the hash
                       that it had, of batches that have another one now)
    run.stopped        outcome, reason, counts, stuck (steps that nothing passed: cohort, step, model,
                       judged, checks, failed, reason, examples, lost_at; absent where there are none)
    event.lost         why; in a log that was salvaged, in the place of an event that did not hold

A payload with `forgotten`, the sha256 of its canonical JSON as it was, is a tombstone: it has what
`store/forget/tombstones.py` keeps of its kind.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

SCHEMA_VERSION = 1


class Kind(StrEnum):
    PLAN_REGISTERED = "plan.registered"
    RUN_STARTED = "run.started"
    SOURCE_INGESTED = "source.ingested"
    SOURCE_COMPLETED = "source.completed"
    RETRIEVAL_DONE = "retrieval.done"
    CALL_COMPLETED = "call.completed"
    CALL_FAILED = "call.failed"
    STEP_ACCEPTED = "step.accepted"
    STEP_REJECTED = "step.rejected"
    SAMPLE_COMPLETED = "sample.completed"
    SAMPLE_ABANDONED = "sample.abandoned"
    RUN_STOPPED = "run.stopped"
    EVENT_LOST = "event.lost"
    SAMPLE_FORGOTTEN = "sample.forgotten"
    LOG_REWRITTEN = "log.rewritten"


# What `synth forget` and `synth doctor` write, which are no runs.
OF_NO_RUN = [Kind.SAMPLE_FORGOTTEN.value, Kind.LOG_REWRITTEN.value, Kind.EVENT_LOST.value]


class Event(NamedTuple):
    """One thing that happened.  `seq` is its place in the log, from 0 and without gaps;
    `ts_us` is microseconds since 1970, UTC; `model` is the model's name in the recipe.

    A tuple, since a run makes thousands a second and one takes a third of a dataclass's time.
    """

    seq: int
    kind: Kind
    run_id: str
    ts_us: int
    payload: dict[str, Any]
    sample_id: str | None = None
    step: str | None = None
    attempt: int | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: int | None = None
