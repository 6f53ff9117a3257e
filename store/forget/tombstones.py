"""What takes the place of a payload that is forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from synth.base.canonical import canonical_json
from synth.store.forget.search import GONE, Texts
from synth.store.log.events import Kind
from synth.store.log.forgotten import MARK

# By kind, what is kept: what else in the log refers to it by, and what counting and pricing need.
KEPT: Mapping[str, Sequence[str]] = {
    Kind.CALL_COMPLETED: (
        *("call_key", "identity", "engine", "finish_reason", "cached_tokens", "reasoning_tokens"),
        *("estimated", "scored_tokens", "candidate", "exchange"),
    ),
    Kind.CALL_FAILED: (
        *("call_key", "identity", "engine", "failure", "retryable", "try", "cached_tokens"),
        *("reasoning_tokens", "lost_cost"),
    ),
    Kind.STEP_REJECTED: ("call", "call_key", "check", "candidate"),
    Kind.SOURCE_INGESTED: ("source", "version", "row", "file", "line"),
    Kind.RETRIEVAL_DONE: ("key", "source", "function", "index"),
    Kind.FUNCTION_DONE: ("key", "function", "source", "lasting", "simulated"),
    Kind.TOOL_DONE: ("key", "call", "number", "candidate"),
    Kind.SAMPLE_COMPLETED: ("lineage", "cohort", "cell", "ordinal", "calls", "of", "inputs"),
    Kind.SAMPLE_ABANDONED: ("lineage", "cohort", "cell", "ordinal", "lasting", "of", "inputs"),
}
# What has no content of its own: who is asked about it, and which verdict an answer got.
_AS_IT_IS = (Kind.STEP_ACCEPTED, Kind.SAMPLE_FORGOTTEN, Kind.LOG_REWRITTEN)


def tombstone(kind: str, text: str, payload: Mapping[str, Any], texts: Texts) -> dict[str, Any] | None:
    """What takes the place of a payload, whose canonical JSON is `text`; None where it stays.

    None of the `texts` stands in it.  Of a plan, of a run's beginning and end, and of a source's end
    single texts are replaced: the rest of the log is read by what else they say.
    """
    if kind in _AS_IT_IS or MARK in payload:
        return None
    mark = {MARK: sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}
    if kind == Kind.PLAN_REGISTERED:
        recipe = payload["plan"].get("recipe", "")
        name = GONE if texts.stand_in(recipe) else recipe
        return {**mark, "plan_hash": payload["plan_hash"], "plan": {"recipe": name}}
    if kind in KEPT:
        return {
            **mark,
            **texts.without(kind, {name: payload[name] for name in KEPT[kind] if name in payload}),
        }
    return {**mark, **texts.without(kind, payload)}


def canonical(payload: Mapping[str, Any]) -> str:
    return canonical_json(dict(payload))
