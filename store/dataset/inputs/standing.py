"""Which samples of a conversation over a table stand, in the order of the dataset: those that fit the
table's present rows, the first of each group that are complete."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import duckdb

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Labels, Slot, sample_id, sample_version, slots
from synth.compiler.plan.tables.dealt import Dealer, DealtSlots, Row, below, wants_values
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.tables.environment import environment
from synth.compiler.plan.tables.row_deals import (
    RowDeals,
    cells_of,
    order_of,
    places_a_row,
    rows_wanted,
)
from synth.store.dataset.inputs.select import completed
from synth.store.dataset.inputs.source_table import SourceTable
from synth.store.log import payload_sql
from synth.store.log.events import Kind

_AT_ONCE = 1024


class TablesOf(Protocol):
    """The tables that conversations are over and draw from."""

    def of(self, cohort: str) -> SourceTable: ...

    def dealer(self, cohort: CohortPlan) -> Dealer | None: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A sample that is complete: its slot, its name, and the seq of its event; `position` is its place in
    the order of the dataset."""

    slot: Slot
    name: str
    seq: int
    position: int


class Ended:
    """The samples of a lineage that ended one way, by version: the seq of the event, in 16 bytes each.  Of
    several it is the first completion, and the last loss."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, events: int, config_hash: str, kind: Kind) -> None:
        self._versions, self._seqs = array("Q"), array("q")
        which = "min" if kind is Kind.SAMPLE_COMPLETED else "max"
        rows = cursor.execute(
            f"""SELECT xor(CAST('0x' || sample_id AS UBIGINT),
                           CAST('0x' || coalesce({payload_sql.INPUTS}, '0') AS UBIGINT)) AS version,
                      {which}(seq)
                FROM events WHERE kind = ? AND seq < ? AND ({payload_sql.LINEAGE}) = ?
                GROUP BY version ORDER BY version""",
            [kind.value, events, config_hash],
        )
        while chunk := rows.fetchmany(65_536):
            self._versions.extend(row[0] for row in chunk)
            self._seqs.extend(row[1] for row in chunk)

    def __len__(self) -> int:
        return len(self._seqs)

    def seq(self, name: str, inputs: str) -> int | None:
        version = int(sample_version(name, inputs), 16)
        at = bisect_left(self._versions, version)
        return self._seqs[at] if at < len(self._versions) and self._versions[at] == version else None


@dataclass(slots=True)
class Found:
    """What was found of the samples of a lineage: how many there are to be of how many `rows` of the table,
    and how many of those stand, are `lost` for good or `forgotten`."""

    planned: int = 0
    rows: int = 0
    lost: int = 0
    forgotten: int = 0
    stands: int = 0

    @property
    def missing(self) -> int:
        """How many are still to be made."""
        return max(0, self.planned - self.stands - self.lost - self.forgotten)


class Ends(Found):
    """The same beside how the samples ended.  `gone` are the seqs of events that are forgotten, `seqs` those
    of the samples that ended, stand or lost, in the order of the dataset."""

    def __init__(self, completed: Ended, abandoned: Ended, gone: Container[int]) -> None:
        super().__init__()
        self.completed, self.abandoned, self.gone = completed, abandoned, gone
        self.seqs = array("q")

    def find(self, plan: Plan, cohort: CohortPlan, slot: Slot) -> tuple[str, int] | None:
        """The name and the seq of a slot's sample, where it stands."""
        name = sample_id(plan, cohort, slot.cell.labels, slot.ordinal)
        seq = self.completed.seq(name, slot.inputs)
        if seq is None:
            seq = self.abandoned.seq(name, slot.inputs)
            self.lost += seq is not None
            if seq is not None and seq not in self.gone:
                self.seqs.append(seq)
            return None
        if seq in self.gone:
            self.forgotten += 1
            return None
        self.stands += 1
        self.seqs.append(seq)
        return name, seq


@dataclass(slots=True)
class _Group:
    """Of one group of a set's cell: places that are not filled yet."""

    wanted: int = 0
    found: int = 0
    members: tuple[Member, ...] = ()


def row_slots(
    plan: Plan, cohort: CohortPlan, table: SourceTable, dealer: Dealer | None
) -> tuple[RowDeals, list[int] | range, int]:
    """The deals of a cohort over a source's table, the order of its entries, and how many are places."""
    order = order_of(plan, cohort, table.labels, len(table))
    planned = rows_wanted(cohort, len(table))
    deals = RowDeals(plan, cohort, lambda number: table.labels(order[number]), planned, dealer)
    return deals, order if isinstance(order, range) else list(order), planned


def standing_rows(
    plan: Plan,
    cohort: CohortPlan,
    table: SourceTable,
    ends: Ends,
    dealer: Dealer | None,
) -> Iterator[Standing]:
    """The samples of a cohort over a source that stand.  Those of spares take the places of the lost
    ones, after all places, as a run takes them."""
    deals, order, planned = row_slots(plan, cohort, table, dealer)
    ends.rows, ends.planned = len(table), planned * places_a_row(cohort) if cohort.each else cohort.quota
    groups: dict[tuple[int, Labels], _Group] = {}
    position = 0
    for start in range(0, planned, _AT_ONCE):
        some = order[start : min(start + _AT_ONCE, planned)]
        for number, row in enumerate(table.entries(some), start):
            for slot in deals.slots(row, number):
                if not cohort.each:
                    group = groups.setdefault((slot.cell.row, slot.cell.group), _Group())
                    group.wanted += 1
                    group.members = slot.cell.members
                found = ends.find(plan, cohort, slot)
                if found is None:
                    continue
                if not cohort.each:
                    group.found += 1
                yield Standing(slot, *found, position)
                position += 1
    short = {key: group for key, group in groups.items() if group.found < group.wanted}
    if short:
        spares = order[planned:]
        yield from _from_spares(plan, cohort, table, deals, spares, short, ends, position)


def _from_spares(
    plan: Plan,
    cohort: CohortPlan,
    table: SourceTable,
    deals: RowDeals,
    spares: list[int] | range,
    short: Mapping[tuple[int, Labels], _Group],
    ends: Ends,
    position: int,
) -> Iterator[Standing]:
    for relabelled in (False, True):
        for start in range(0, len(spares), _AT_ONCE):
            if all(group.found >= group.wanted for group in short.values()):
                return
            for row in table.entries(spares[start : start + _AT_ONCE]):
                for slot in candidates(deals, row, short) if relabelled else deals.slots(row):
                    group = short.get((slot.cell.row, slot.cell.group))
                    if group is None or group.found >= group.wanted:
                        continue
                    found = ends.find(plan, cohort, slot)
                    if found is None:
                        continue
                    group.found += 1
                    yield Standing(slot, *found, position)
                    position += 1


def candidates(deals: RowDeals, row: Row, short: Mapping[tuple[int, Labels], _Group]) -> Iterator[Slot]:
    """A spare's slots with the draws of groups that are short, where they are not its own."""
    own = list(deals.slots(row))
    for (cell, labels), group in short.items():
        natural = sum(slot.cell.row == cell and slot.cell.group == labels for slot in own)
        others = [slot for slot in own if slot.cell.row == cell and slot.cell.group != labels]
        rows = len(row[0])
        for number, slot in enumerate(others):
            yield deals.redrawn(slot, labels, group.members[rows:], natural + number)


def replacements_in(cursor: duckdb.DuckDBPyConnection, events: int, config_hash: str) -> int:
    """The last ordinal, in its cell, of any sample of a lineage that ended; -1 where there is none."""
    found = cursor.execute(
        f"""SELECT max(CAST({payload_sql.ORDINAL} AS BIGINT)) FROM events
            WHERE kind IN (?, ?) AND seq < ? AND ({payload_sql.LINEAGE}) = ?""",
        [Kind.SAMPLE_COMPLETED.value, Kind.SAMPLE_ABANDONED.value, events, config_hash],
    ).fetchone()
    return -1 if found is None or found[0] is None else int(found[0])


def standing_dealt(
    plan: Plan, cohort: CohortPlan, deals: DealtSlots, ends: Ends, reach: int
) -> Iterator[Standing]:
    """The samples that stand of a cohort over sets that draws from tables: those of its slots, and then what
    replaced others, as far as ordinals `reach`."""
    ends.planned = cohort.quota
    planned, short = Counter[Labels](), dict[tuple[int, Labels], tuple[int, tuple[Member, ...]]]()
    position = row = 0
    replaced = list[tuple[int, Labels, tuple[Member, ...], int, int]]()

    def close() -> None:
        # The ordinals of a row's replacements go on behind its slots.
        replaced.extend((*key, members, planned[key[1]], many) for key, (many, members) in short.items())
        planned.clear()
        short.clear()

    for slot in deals.slots():
        if slot.cell.row != row:
            close()
            row = slot.cell.row
        planned[slot.cell.group] += 1
        found = ends.find(plan, cohort, slot)
        if found is None:
            drawn = len(slot.cell.members) - len(slot.cell.group)
            many, _ = short.get((row, slot.cell.group), (0, ()))
            short[row, slot.cell.group] = many + 1, slot.cell.members[drawn:]
            continue
        yield Standing(slot, *found, position)
        position += 1
    close()
    for cell, group, members, first, many in replaced:
        for number in range(reach - first + 1):
            spare = deals.spare(cell, group, members, first + number, number)
            if many and (found := ends.find(plan, cohort, spare)) is not None:
                many -= 1
                yield Standing(spare, *found, position)
                position += 1


def standing_children(
    plan: Plan,
    cohort: CohortPlan,
    deals: RowDeals,
    parents: Iterator[Standing],
    ends: Ends,
    cursor: duckdb.DuckDBPyConnection,
) -> Iterator[Standing]:
    """The samples of a cohort over those of another that stand: with a count, the first of each cell of
    sets."""
    parent = plan.parent_of(cohort)
    assert parent is not None
    assert cohort.rows is not None
    cells = cells_of(cohort)
    share = None if cohort.each else cohort.quota // cells
    taken = Counter[int]()
    position = planned = 0
    for number, (base, values) in enumerate(_with_values(plan, cohort, parents, cursor)):
        ends.rows += 1
        fields = {**environment(parent, base.slot), **values}
        row: Row = (
            ((cohort.rows.name, base.name),),
            (Member.model_construct(label=base.name, weight=1, fields=fields),),
        )
        for entry in below(cohort, row):
            for slot in deals.slots(entry, number, base.slot.inputs):
                planned += 1
                if share is not None and taken[slot.cell.row] >= share:
                    continue
                found = ends.find(plan, cohort, slot)
                if found is None:
                    continue
                taken[slot.cell.row] += 1
                yield Standing(slot, *found, position)
                position += 1
    ends.planned = planned if share is None else cohort.quota


def _with_values(
    plan: Plan, cohort: CohortPlan, parents: Iterator[Standing], cursor: duckdb.DuckDBPyConnection
) -> Iterator[tuple[Standing, Mapping[str, Any]]]:
    """Parents with the values of their steps, where lists of those are wanted."""
    if not wants_values(plan, cohort):
        yield from ((parent, {}) for parent in parents)
        return
    while some := list(islice(parents, _AT_ONCE)):
        seqs = [each.seq for each in some]
        for each, (_, payload) in zip(some, completed(cursor, seqs), strict=True):
            yield each, payload["values"]


def planned_names(plan: Plan, cohort: CohortPlan, tables: TablesOf) -> array[int]:
    """The names of a cohort's planned samples, in order, as numbers: those that draws of a conversation
    over it are dealt over.  None below lists of samples, which nobody knows before."""
    dealer = tables.dealer(cohort)
    if cohort.rows is None:
        dealt = slots(plan, cohort) if dealer is None else DealtSlots(plan, cohort, dealer).slots()
        found = (sample_id(plan, cohort, slot.cell.labels, slot.ordinal) for slot in dealt)
        return array("Q", (int(name, 16) for name in found))
    names = array("Q")
    parent = plan.parent_of(cohort)
    if parent is None:
        table = tables.of(cohort.name)
        deals, order, planned = row_slots(plan, cohort, table, dealer)
        rows = table.entries(order[:planned])
    else:
        assert cohort.rows is not None
        if cohort.rows.lists or any(each.of for each in cohort.dealt):
            return names
        above = planned_names(plan, parent, tables)
        deals = child_deals(plan, cohort, tables, above)
        rows = ((_labels(cohort, name), (_NOTHING,)) for name in above)
    for row in rows:
        for slot in deals.slots(row):
            names.append(int(sample_id(plan, cohort, slot.cell.labels, slot.ordinal), 16))
    return names


def child_deals(
    plan: Plan, cohort: CohortPlan, tables: TablesOf, above: array[int] | None = None
) -> RowDeals:
    """The deals of a cohort over another one's samples; `above` are the planned ones' names."""
    parent = plan.parent_of(cohort)
    assert parent is not None
    dealer = tables.dealer(cohort)
    assert cohort.rows is not None
    if not cohort.draws or cohort.rows.lists:
        return RowDeals(plan, cohort, lambda number: (), 0, dealer)
    names = planned_names(plan, parent, tables) if above is None else above
    return RowDeals(plan, cohort, lambda number: _labels(cohort, names[number]), len(names), dealer)


def _labels(cohort: CohortPlan, name: int) -> Labels:
    assert cohort.rows is not None
    return ((cohort.rows.name, f"{name:016x}"),)


_NOTHING = Member.model_construct(label="", weight=1, fields={})
