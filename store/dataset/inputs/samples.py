"""Samples as they are looked at: what was said, what was refused on the way and why, what was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from synth.compiler.plan.model import CohortPlan
from synth.store.dataset.inputs.messages import Message, spoken, turn_messages
from synth.store.dataset.inputs.select import among
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.payloads import EndedEitherWay, SampleEnded


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of a step that a check refused; `text` is None where a turn was composed."""

    step: str
    check: str
    reason: str
    text: str | None


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """A sample that ended.  `turns` are its messages in order, each with its step's name, which is
    empty in a transcript; `lost` says at which step it was given up and why, None where it was not."""

    id: str
    cohort: str
    cell: Mapping[str, str]
    turns: tuple[tuple[str, Message], ...]
    refused: tuple[Refusal, ...]
    lost: str | None = None


def logged_samples(
    cohort: CohortPlan,
    config_hash: str,
    cursor: duckdb.DuckDBPyConnection,
    *,
    most: int,
    run_id: str | None = None,
    lost: bool = False,
) -> Iterator[LoggedSample]:
    """At most so many samples of a lineage in the order they ended in, those of one run first; the
    `lost` ones or those that are complete."""
    kind = Kind.SAMPLE_ABANDONED if lost else Kind.SAMPLE_COMPLETED
    found = cursor.execute(
        f"""SELECT sample_id, step, payload FROM events
           WHERE kind = ? AND ({payload_sql.LINEAGE}) = ? AND ({payload_sql.COHORT}) = ?
           AND ({payload_sql.FORGOTTEN}) IS NULL
           ORDER BY run_id IS DISTINCT FROM ?, seq LIMIT ?""",
        [kind.value, config_hash, cohort.name, run_id, most],
    ).fetchall()
    for name, step, text in found:
        payload: EndedEitherWay = json.loads(text)
        yield LoggedSample(
            id=name,
            cohort=cohort.name,
            cell=payload["cell"],
            turns=tuple(_turns(cohort, payload["values"], payload.get("thoughts", {}))),
            refused=tuple(_refusals(payload, cursor)),
            lost=f"{step}: {payload['reason']}" if lost else None,
        )


def _turns(
    cohort: CohortPlan, values: Mapping[str, Any], thoughts: Mapping[str, str]
) -> Iterator[tuple[str, Message]]:
    """What was said, as far as it came."""
    if cohort.transcript is not None:
        if cohort.transcript in values:
            yield from (("", message) for message in spoken(cohort, values))
        return
    lacking = next((turn.name for turn in cohort.turns if turn.name not in values), None)
    yield from turn_messages(cohort, values, thoughts, until=lacking)


def _refusals(payload: SampleEnded, cursor: duckdb.DuckDBPyConnection) -> Iterator[Refusal]:
    attempts = [(step, each) for step, found in payload.get("rejected", {}).items() for each in found]
    calls = [each["call"] for _, each in attempts if each["call"] is not None]
    texts = {}
    if calls:
        condition, parameters = among(calls)
        found = cursor.execute(f"SELECT seq, {payload_sql.TEXT} FROM events WHERE {condition}", parameters)
        texts = dict(found.fetchall())
    for step, each in attempts:
        yield Refusal(step, each["check"], each["reason"], texts.get(each["call"]))
