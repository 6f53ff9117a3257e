"""Which samples make a cohort's part of a dataset: a pure function of plan and log position."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from compiler.plan import CohortPlan, Plan, canonical_json
from compiler.strata import Cell, slots
from dsl.errors import QuotaShort
from store.event import Kind

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Selection:
    """The completed samples of one cohort, by the seq of their events, in slot order.

    `positions` are their places among the cohort's slots; `models` are the identities that the
    lineage names.
    """

    cohort: CohortPlan
    lineage: str
    models: Mapping[str, Any]
    seqs: array[int]
    positions: array[int]

    @property
    def missing(self) -> int:
        return self.cohort.quota - len(self.seqs)


def select(plan: Plan, cohort: CohortPlan, cursor: duckdb.DuckDBPyConnection, events: int) -> Selection:
    """Takes, for each cell, its first completed ordinals, as many as the cell has slots.

    `events` is the log position: only events with a smaller seq count.  The lineage is that of
    the last run which generated this cohort.  Raises QuotaShort when no run did.
    """
    lineage, models = lineage_of(plan, cohort, cursor, events)
    found: dict[str, array[int]] = {}
    rows = cursor.execute(
        """SELECT CAST(payload -> 'cell' AS VARCHAR) AS cell, min(seq)
           FROM events WHERE kind = ? AND seq < ? AND (payload ->> 'lineage') = ?
           GROUP BY cell, CAST(payload ->> 'ordinal' AS BIGINT)
           ORDER BY cell, CAST(payload ->> 'ordinal' AS BIGINT)""",
        [Kind.SAMPLE_COMPLETED.value, events, lineage],
    )
    for cell, seq in stream(rows):
        found.setdefault(cell, array("q")).append(seq)
    names: dict[Cell, str] = {}
    seqs, positions = array("q"), array("q")
    for slot in slots(plan, cohort):
        name = names.get(slot.cell)
        if name is None:
            name = names[slot.cell] = canonical_json(dict(slot.cell.labels))
        there = found.get(name)
        if there is not None and slot.ordinal < len(there):
            seqs.append(there[slot.ordinal])
            positions.append(slot.position)
    return Selection(cohort, lineage, models, seqs, positions)


def completed(cursor: duckdb.DuckDBPyConnection, seqs: Sequence[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sample id and payload of the events of samples, in the order of `seqs`."""
    for _, sample_id, payload in columns(cursor, seqs, "sample_id, payload"):
        yield sample_id, json.loads(payload)


def sample_ids(cursor: duckdb.DuckDBPyConnection, seqs: Sequence[int]) -> Iterator[str]:
    """The sample ids of events, in the order of `seqs`."""
    return (sample_id for _, sample_id in columns(cursor, seqs, "sample_id"))


def columns(
    cursor: duckdb.DuckDBPyConnection, seqs: Sequence[int], expressions: str
) -> Iterator[tuple[Any, ...]]:
    """The seq of events and some expressions over their columns, in the order of `seqs`.

    Reads a chunk at a time: samples lie in the log about as they are ordered, so each chunk
    touches a narrow range of it and memory stays flat.
    """
    for start in range(0, len(seqs), _CHUNK):
        some = list(seqs[start : start + _CHUNK])
        rows = cursor.execute(
            f"""SELECT seq, {expressions} FROM events
                WHERE seq BETWEEN ? AND ? AND seq IN (SELECT unnest(?))""",
            [min(some), max(some), some],
        ).fetchall()
        found = {row[0]: row for row in rows}
        for seq in some:
            yield found[seq]


def stream(rows: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, fetched a chunk at a time."""
    while chunk := rows.fetchmany(65_536):
        yield from chunk


def lineage_of(
    plan: Plan, cohort: CohortPlan, cursor: duckdb.DuckDBPyConnection, events: int
) -> tuple[str, Mapping[str, Any]]:
    """The lineage of the last run that generated a cohort, and its models' identities by name.

    Raises QuotaShort when no run did.
    """
    return logged_lineage(cohort.name, plan.fingerprint(cohort), cursor, events)


def logged_lineage(
    name: str, fingerprint: str, cursor: duckdb.DuckDBPyConnection, events: int
) -> tuple[str, Mapping[str, Any]]:
    """The same for a conversation or a preference by its name and fingerprint."""
    entry = _last_entry(name, fingerprint, None, cursor, events)
    if entry is None:
        raise QuotaShort(f"the log has no run of `{name}` as this recipe describes it: `synth run` it first")
    return entry["lineage"], entry["models"]


def pair_lineage(
    plan: Plan, name: str, base: str, cursor: duckdb.DuckDBPyConnection, events: int
) -> str | None:
    """The lineage of the last run that generated a preference's pairs from samples of the lineage
    `base`, or None when no run did."""
    fingerprint = plan.pair_fingerprint(plan.preference(name))
    entry = _last_entry(name, fingerprint, base, cursor, events)
    return None if entry is None else str(entry["lineage"])


def _last_entry(
    name: str, fingerprint: str, of: str | None, cursor: duckdb.DuckDBPyConnection, events: int
) -> dict[str, Any] | None:
    """What the last run that generated something of this name and fingerprint says of it; made
    from the lineage `of`, where one is given."""
    row = cursor.execute(
        """SELECT entry FROM (
               SELECT seq, json_extract(payload, '$.lineages.' || ?) AS entry
               FROM events WHERE kind = ? AND seq < ?)
           WHERE (entry ->> 'fingerprint') = ?
           AND (entry ->> 'of') IS NOT DISTINCT FROM coalesce(?, entry ->> 'of')
           ORDER BY seq DESC LIMIT 1""",
        [name, Kind.RUN_STARTED.value, events, fingerprint, of],
    ).fetchone()
    return None if row is None else dict(json.loads(row[0]))
