"""Which samples make a cohort's part of a dataset: a pure function of plan and log position."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import duckdb

from synth.base.canonical import canonical_json
from synth.base.errors import QuotaShort
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Cell, CellNames, Labels, stretches
from synth.compiler.plan.tables.row_deals import cells_of, places_a_row
from synth.store.log.events import Kind
from synth.store.log.forgotten import NOTHING, Forgotten
from synth.store.log.payloads import EndedEitherWay

_CHUNK = 4096

# Models by their names in the recipe, each with the identity that answered.
Models = Collection[tuple[str, Mapping[str, Any]]]
# Of models by their names, what must be known of who answered: backend, id, revision or adapter.
WrittenBy = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Selection:
    """The completed samples of one cohort, by the seq of their events, in slot order.

    `positions` are their places among the cohort's slots, `counts` how many there are of each cell;
    `models` are the identities that the lineage names; `forgotten` slots are those of samples that the
    log has forgotten, and `missing` ones are to be made.  Over `rows` of a table that are all asked for,
    some are `lost` for good, and `ended` are the seqs of those that stand and of the lost, in order.
    """

    cohort: CohortPlan
    config_hash: str
    models: Mapping[str, Any]
    seqs: array[int]
    positions: array[int]
    counts: Mapping[Labels, int]
    forgotten: int
    missing: int
    lost: int = 0
    rows: int | None = None
    ended: array[int] = field(default_factory=lambda: array("q"))

    @property
    def quota(self) -> int:
        """How many samples there are to be."""
        if not self.cohort.each:
            return self.cohort.quota
        return len(self.seqs) + self.missing + self.lost + self.forgotten

    @property
    def exhausted(self) -> bool:
        """Whether all rows of a source were tried, so that no run can make what is missing of a count."""
        table = self.cohort.rows
        if table is None or table.kind != "source" or self.cohort.each or self.rows is None:
            return False
        return self.missing > 0 and len(self.seqs) + self.lost + self.forgotten >= self.rows * places_a_row(
            self.cohort
        )

    def row_of(self, position: int) -> int:
        """The row of the cohort's grid that a place is in."""
        row = position // self.cohort.times
        return row if not self.cohort.of_tables else row % cells_of(self.cohort)


def select(
    plan: Plan,
    cohort: CohortPlan,
    cursor: duckdb.DuckDBPyConnection,
    events: int,
    config: tuple[str, Mapping[str, Any]],
    forgotten: Forgotten = NOTHING,
) -> Selection:
    """Takes, for each cell, its first completed ordinals, as many as the cell has slots.

    `events` is the log position: only events with a smaller seq count.  `config` has the lineage whose
    samples are taken, and its models' identities by name.
    """
    config_hash, models = config
    there = _by_cell(cursor, events, config_hash)
    gone = _Gone(plan, cohort, forgotten, config_hash)
    seqs, positions, counts = array("q"), array("q"), Counter[Labels]()
    start, row = 0, None
    for cells, dealt in stretches(plan, cohort):
        if cells is not row:
            row, waiting = cells, list[Iterator[int]]()
        waiting += [iter(there.get(_name(cell.labels), ())) for cell in cells[len(waiting) :]]
        found = [next(waiting[index], None) for index in dealt]
        if gone.any:
            found = gone.without(cells, dealt, found)
        positions.extend(start + place for place, seq in enumerate(found) if seq is not None)
        seqs.extend(seq for seq in found if seq is not None)
        taken = Counter(index for index, seq in zip(dealt, found, strict=True) if seq is not None)
        counts.update({cells[index].labels: n for index, n in taken.items()})
        start += len(dealt)
    missing = cohort.quota - len(seqs) - gone.slots
    return Selection(cohort, config_hash, models, seqs, positions, counts, gone.slots, missing)


class _Gone:
    """Counts the `slots` of a cohort whose samples the log has forgotten."""

    def __init__(self, plan: Plan, cohort: CohortPlan, forgotten: Forgotten, config_hash: str) -> None:
        self.slots = 0
        self._plan, self._cohort = plan, cohort
        self._events = forgotten.events
        # Nothing says which cells these are of, but their names do.
        self._names = {int(name, 16) for name in forgotten.of(config_hash, "pending", "hidden")}
        self._row: Sequence[Cell] | None = None
        self._dealt = Counter[int]()
        self.any = bool(forgotten.of(config_hash, "completed") or self._names)

    def without(
        self, cells: Sequence[Cell], dealt: Sequence[int], found: Sequence[int | None]
    ) -> list[int | None]:
        """The events of a stretch of slots, without those that are forgotten."""
        if cells is not self._row:
            self._row, self._dealt = cells, Counter()
        for index in dealt:
            if self._names:
                name = CellNames(self._plan, self._cohort, cells[index].labels)[self._dealt[index]]
                self.slots += name in self._names
            self._dealt[index] += 1
        kept = [None if seq in self._events else seq for seq in found]
        self.slots += sum(seq is not None for seq in found) - sum(seq is not None for seq in kept)
        return kept


def _name(labels: Labels) -> Labels:
    """The labels of a cell by name."""
    return tuple(sorted(labels))


def _by_cell(cursor: duckdb.DuckDBPyConnection, events: int, config_hash: str) -> dict[Labels, Sequence[int]]:
    """The events of a lineage's completed samples, for each cell in the order of their ordinals."""
    rows = cursor.execute(
        """SELECT cell, list(seq ORDER BY ordinal) FROM (
               SELECT part[1] AS cell, CAST(part[2] AS BIGINT) AS ordinal, min(seq) AS seq FROM (
                   SELECT seq, json_extract(payload, ['$.cell', '$.ordinal', '$.lineage']) AS part
                   FROM events WHERE kind = ? AND seq < ?)
               WHERE (part[3] ->> '$') = ? GROUP BY ALL)
           GROUP BY cell""",
        [Kind.SAMPLE_COMPLETED.value, events, config_hash],
    )
    return {_name(tuple(json.loads(cell).items())): array("q", seqs) for cell, seqs in stream(rows)}


def completed(cursor: duckdb.DuckDBPyConnection, seqs: Sequence[int]) -> Iterator[tuple[str, EndedEitherWay]]:
    """Sample id and payload of the events of samples, in the order of `seqs`."""
    for _, sample_id, payload in columns(cursor, seqs, "sample_id, payload"):
        yield sample_id, json.loads(payload)


def sample_ids(cursor: duckdb.DuckDBPyConnection, seqs: Sequence[int]) -> Iterator[str]:
    """The sample ids of events, in the order of `seqs`."""
    return (sample_id for _, sample_id in columns(cursor, seqs, "sample_id"))


def columns(
    cursor: duckdb.DuckDBPyConnection, seqs: Sequence[int], expressions: str
) -> Iterator[tuple[Any, ...]]:
    """The seq of events and some expressions over their columns, in the order of `seqs`."""
    return chain.from_iterable(chunks(cursor, seqs, expressions))


def chunks(
    cursor: duckdb.DuckDBPyConnection,
    seqs: Sequence[int],
    expressions: str,
    source: str = "events",
    size: int = _CHUNK,
) -> Iterator[list[tuple[Any, ...]]]:
    """The same, `size` rows at a time; `source` stands for a query over the events that has the
    columns wanted.

    Samples lie in the log about as they are ordered, so each chunk touches a narrow range of it
    and memory stays flat.
    """
    for start in range(0, len(seqs), size):
        some = seqs[start : start + size]
        condition, parameters = among(some)
        rows = cursor.execute(f"SELECT seq, {expressions} FROM {source} WHERE {condition}", parameters)
        found = {row[0]: row for row in rows.fetchall()}
        yield [found[seq] for seq in some]


def among(seqs: Sequence[int]) -> tuple[str, list[Any]]:
    """A condition that `seq` is one of some, of which there is at least one, and its parameters.

    They are told as bits, one for each event of their range: a list is taken apart a value at a
    time by the binding and by the planner, and costs ten times as much.
    """
    first, last = min(seqs), max(seqs)
    bits = bytearray(b"0") * (last - first + 1)
    for seq in seqs:
        bits[seq - first] = ord("1")
    # The range is asked for twice: to read no more of the log than that, and since no order is
    # promised in which conditions are looked at, while bits beyond the last are an error.
    within = "seq BETWEEN ? AND ?"
    condition = (
        f"{within} AND CASE WHEN {within} THEN get_bit(CAST(? AS BIT), CAST(seq - ? AS INTEGER)) = 1 END"
    )
    return condition, [first, last, first, last, bits.decode(), first]


def stream(rows: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, fetched a chunk at a time."""
    while chunk := rows.fetchmany(65_536):
        yield from chunk


def config_hash_of(
    plan: Plan,
    cohort: CohortPlan,
    cursor: duckdb.DuckDBPyConnection,
    events: int,
    written_by: WrittenBy | None = None,
) -> tuple[str, Mapping[str, Any]]:
    """The lineage of the last run that generated a cohort, and its models' identities by name; of
    the last one that was `written_by` some models, where they are given.

    Raises QuotaShort when no run did.
    """
    return logged_config_hash(cohort.name, plan.fingerprint(cohort), cursor, events, written_by)


def logged_config_hash(
    name: str,
    fingerprint: str,
    cursor: duckdb.DuckDBPyConnection,
    events: int,
    written_by: WrittenBy | None = None,
) -> tuple[str, Mapping[str, Any]]:
    """The same for a conversation or a preference by its name and fingerprint."""
    entry = _last_entry(name, fingerprint, None, cursor, events, written_by)
    if entry is not None:
        return entry["lineage"], entry["models"]
    if written_by and (other := _last_entry(name, fingerprint, None, cursor, events)) is not None:
        raise QuotaShort(
            f"the log has no run of `{name}` with the models that the options name: its last had "
            f"{told_models(other['models'])}"
        )
    raise QuotaShort(f"the log has no run of `{name}` as this recipe describes it: `synth run` it first")


def other_config_hashes(
    plan: Plan, cohort: CohortPlan, cursor: duckdb.DuckDBPyConnection, events: int, config_hash: str
) -> int:
    """How many other models' samples the log has of a cohort, as the recipe describes it."""
    entries = _entries(cohort.name, plan.fingerprint(cohort), None, cursor, events)
    models = {str(entry["lineage"]): canonical_json(entry["models"]) for entry in entries}
    return len(set(models.values()) - {models.get(config_hash)})


def told_models(models: Mapping[str, Any]) -> str:
    """`base = vllm:google/gemma-3-1b-it@abc`, for each model with who answered for it."""
    return ", ".join(
        f"{name} = {each['backend']}:{each['id']}" + (f"@{each['revision']}" if each.get("revision") else "")
        for name, each in models.items()
    )


def pair_config_hash(
    plan: Plan,
    name: str,
    base: str,
    cursor: duckdb.DuckDBPyConnection,
    events: int,
    written_by: WrittenBy | None = None,
) -> tuple[str | None, Mapping[str, Any]]:
    """The lineage of the last run that generated a preference's pairs from samples of the lineage
    `base`, None when no run did, and its models' identities by name."""
    fingerprint = plan.pair_fingerprint(plan.preference(name))
    entry = _last_entry(name, fingerprint, base, cursor, events, written_by)
    return (None, {}) if entry is None else (str(entry["lineage"]), entry["models"])


def child_config_hash(
    plan: Plan,
    cohort: CohortPlan,
    above: str,
    cursor: duckdb.DuckDBPyConnection,
    events: int,
    written_by: WrittenBy | None = None,
) -> tuple[str, Mapping[str, Any]]:
    """The lineage of the last run that generated a conversation over samples of the lineage `above`, and its
    models' identities by name.  Raises QuotaShort when no run did."""
    entry = _last_entry(cohort.name, plan.fingerprint(cohort), above, cursor, events, written_by)
    if entry is None:
        raise QuotaShort(
            f"the log has no run of `{cohort.name}` as this recipe describes it: `synth run` it first"
        )
    return str(entry["lineage"]), entry["models"]


def _last_entry(
    name: str,
    fingerprint: str,
    of: str | None,
    cursor: duckdb.DuckDBPyConnection,
    events: int,
    written_by: WrittenBy | None = None,
) -> dict[str, Any] | None:
    """What the last run that generated something of this name and fingerprint says of it; made
    from the lineage `of`, and `written_by` some models, where they are given."""
    entries = _entries(name, fingerprint, of, cursor, events)
    return next((entry for entry in entries if _fits(entry["models"], written_by or {})), None)


def _entries(
    name: str, fingerprint: str, of: str | None, cursor: duckdb.DuckDBPyConnection, events: int
) -> Iterator[dict[str, Any]]:
    """What the runs say that generated something of this name and fingerprint, the last one first."""
    rows = cursor.execute(
        """SELECT entry FROM (
               SELECT seq, json_extract(payload, '$.lineages.' || ?) AS entry
               FROM events WHERE kind = ? AND seq < ?)
           WHERE (entry ->> 'fingerprint') = ?
           AND (entry ->> 'of') IS NOT DISTINCT FROM coalesce(?, entry ->> 'of')
           ORDER BY seq DESC""",
        [name, Kind.RUN_STARTED.value, events, fingerprint, of],
    )
    return (dict(json.loads(text)) for (text,) in rows.fetchall())


def _fits(models: Mapping[str, Any], written_by: WrittenBy) -> bool:
    """Whether those of some models that answered are the ones wanted."""
    return all(
        models[name].get(part) == value
        for name, wanted in written_by.items()
        if name in models
        for part, value in wanted.items()
    )
