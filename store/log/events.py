"""Events: what the log is made of.  Nothing in the log is ever updated or deleted.

`payloads.py` describes the payload of each kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import duckdb

SCHEMA_VERSION = 1


class Kind(StrEnum):
    PLAN_REGISTERED = "plan.registered"
    RUN_STARTED = "run.started"
    SOURCE_INGESTED = "source.ingested"
    SOURCE_COMPLETED = "source.completed"
    RETRIEVAL_DONE = "retrieval.done"
    FUNCTION_DONE = "function.done"
    TOOL_DONE = "tool.done"
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


class EncodedPayload(Mapping[str, Any]):
    """A payload whose canonical JSON is known already: nothing has to be encoded a second time."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __getitem__(self, name: str) -> Any:
        return json.loads(self.text)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(json.loads(self.text))

    def __len__(self) -> int:
        return len(json.loads(self.text))


class Event(NamedTuple):
    """One thing that happened.  `seq` is its place in the log, from 0 and without gaps;
    `ts_us` is microseconds since 1970, UTC; `model` is the model's name in the recipe,
    and what `payload` holds is said by its kind's type in `payloads.py`.

    A tuple, since a run makes thousands a second and one takes a third of a dataclass's time.
    """

    seq: int
    kind: Kind
    run_id: str
    ts_us: int
    payload: Mapping[str, Any]
    sample_id: str | None = None
    step: str | None = None
    attempt: int | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: int | None = None


def lost_events(cursor: duckdb.DuckDBPyConnection, events: int | None = None) -> int:
    """How many events a salvaged log has lost among the first `events`, or among all: an event of its own
    stands in the place of each."""
    row = cursor.execute(
        "SELECT count(*) FROM events WHERE kind = ? AND seq < coalesce(?, seq + 1)",
        [Kind.EVENT_LOST.value, events],
    ).fetchone()
    return 0 if row is None else int(row[0])
