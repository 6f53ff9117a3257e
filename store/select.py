"""Which samples make a cohort's part of a dataset: a pure function of plan and log position."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
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

    `cells` counts them; `models` are the identities that the lineage names.
    """

    cohort: CohortPlan
    lineage: str
    models: Mapping[str, Any]
    seqs: array[int]
    cells: Mapping[Cell, int]

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
    while chunk := rows.fetchmany(65_536):
        for cell, seq in chunk:
            found.setdefault(cell, array("q")).append(seq)
    names: dict[Cell, str] = {}
    taken: dict[Cell, int] = {}
    seqs = array("q")
    for slot in slots(plan, cohort):
        name = names.get(slot.cell)
        if name is None:
            name = names[slot.cell] = canonical_json(dict(slot.cell.labels))
        there = found.get(name)
        if there is not None and slot.ordinal < len(there):
            seqs.append(there[slot.ordinal])
            taken[slot.cell] = taken.get(slot.cell, 0) + 1
    return Selection(cohort, lineage, models, seqs, taken)


def completed(cursor: duckdb.DuckDBPyConnection, seqs: array[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sample id and payload of `sample.completed` events, in the order of `seqs`.

    Reads a chunk at a time: samples lie in the log about as they are ordered, so each chunk
    touches a narrow range of it and memory stays flat.
    """
    for start in range(0, len(seqs), _CHUNK):
        some = seqs[start : start + _CHUNK].tolist()
        rows = cursor.execute(
            """SELECT seq, sample_id, payload FROM events
               WHERE seq BETWEEN ? AND ? AND seq IN (SELECT unnest(?))""",
            [min(some), max(some), some],
        ).fetchall()
        found = {seq: (sample_id, payload) for seq, sample_id, payload in rows}
        for seq in some:
            sample_id, payload = found[seq]
            yield sample_id, json.loads(payload)


def lineage_of(
    plan: Plan, cohort: CohortPlan, cursor: duckdb.DuckDBPyConnection, events: int
) -> tuple[str, Mapping[str, Any]]:
    """The lineage of the last run that generated a cohort, and its models' identities by name.

    Raises QuotaShort when no run did.
    """
    rows = cursor.execute(
        """SELECT entry FROM (
               SELECT seq, json_extract(payload, '$.lineages.' || ?) AS entry
               FROM events WHERE kind = ? AND seq < ?)
           WHERE (entry ->> 'fingerprint') = ? ORDER BY seq DESC LIMIT 1""",
        [cohort.name, Kind.RUN_STARTED.value, events, plan.fingerprint(cohort)],
    ).fetchone()
    if rows is None:
        raise QuotaShort(
            f"the log has no run of `{cohort.name}` as this recipe describes it: `synth run` it first"
        )
    entry = json.loads(rows[0])
    return entry["lineage"], entry["models"]
