"""The samples of a conversation over a table that stand, and the tables that a plan's conversations need."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from synth.base.errors import ConfigError
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Labels, sample_version, slots
from synth.compiler.plan.tables.dealt import Dealer, DealtSlots
from synth.compiler.plan.tables.row_deals import cells_of, places_a_row
from synth.compiler.plan.tables.table_plan import DealtPlan, TablePlan
from synth.store.dataset.inputs.filter import Kept, keep
from synth.store.dataset.inputs.select import (
    Selection,
    WrittenBy,
    child_config_hash,
    columns,
    config_hash_of,
    select,
)
from synth.store.dataset.inputs.source_table import SourceTable
from synth.store.dataset.inputs.sources import SourceVersion, source_of
from synth.store.dataset.inputs.standing import (
    Ended,
    Ends,
    Found,
    Standing,
    child_deals,
    replacements_in,
    standing_children,
    standing_dealt,
    standing_rows,
)
from synth.store.dataset.inputs.verdicts import FunctionGate, Verdicts
from synth.store.log.events import Kind
from synth.store.log.forgotten import NOTHING, Forgotten
from synth.store.log.source_payloads import RowIngested

Cursor = Callable[[], duckdb.DuckDBPyConnection]
# The lineage of a conversation, with the identities of its models by name; of one over another, below
# the other's lineage.
ConfigHashOf = Callable[[CohortPlan, str | None], tuple[str, Mapping[str, Any]]]


class Tables:
    """The rows of the sources that conversations are over, by the conversation's name: what the last run
    read of each, among the first `events` events of a log, and what passes its `keep`.

    Of the sources that are `read` it is another version that counts, by name, with what gives cursors of
    the log that has it."""

    def __init__(
        self,
        plan: Plan,
        cursor: Cursor,
        events: int,
        read: Mapping[str, tuple[Cursor, SourceVersion]] | None = None,
        *,
        foreseen: bool = False,
    ) -> None:
        # What is foreseen calls no function: a row that none has judged is taken to pass.
        self._foreseen = foreseen
        self._plan, self._cursor, self._events = plan, cursor, events
        self._read = read or {}
        self._kept: dict[str, Kept] = {}
        self._tables: dict[str, SourceTable] = {}

    def kept(self, source: str) -> Kept:
        """The rows of a source that pass its `keep`.  Raises QuotaShort when none were read."""
        if source not in self._kept:
            plan, read = self._plan.source(source), self._read.get(source)
            version = source_of(self._plan, plan, self._cursor(), self._events) if read is None else read[1]
            asks = any(check.source for check in plan.keep)
            known = Verdicts(self._cursor(), self._events) if asks else None
            gate = FunctionGate(self._plan, plan, known, self._foreseen)
            self._kept[source] = keep(plan, version, self._cursor_of(source)(), gate)
        return self._kept[source]

    def versions(self, sources: Iterable[str]) -> dict[str, str]:
        """The version of each of some sources, by name.  Raises QuotaShort as `kept` does."""
        return {name: self.kept(name).version.version for name in sources}

    def rows(self, source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The name and record of each row of a source that `kept` has, read a chunk at a time."""
        cursor = self._cursor_of(source)()
        for _, name, text in columns(cursor, self.kept(source).seqs, "sample_id, payload"):
            row: RowIngested = json.loads(text)
            yield str(row.get("name", name)), row["values"]

    def of(self, cohort: str) -> SourceTable:
        """The table of a conversation over a source.  Raises QuotaShort as `kept` does."""
        if cohort not in self._tables:
            plan = self._plan.cohort(cohort)
            axis, needed = plan.rows, [dealt.of for dealt in plan.dealt if dealt.of]
            assert axis is not None
            source = self._plan.source(axis.table)
            self._tables[cohort] = SourceTable(
                axis, source, self.kept(axis.table), self._cursor_of(axis.table), needed
            )
        return self._tables[cohort]

    def dealer(self, cohort: CohortPlan) -> Dealer | None:
        """What deals a conversation's draws from tables, where it has any.  Raises QuotaShort as `kept` does,
        and ConfigError where a source has too few rows."""
        if not cohort.dealt:
            return None
        return Dealer(self._plan, cohort, {d.name: self.drawn(cohort, d) for d in cohort.dealt if d.table})

    def drawn(self, cohort: CohortPlan, dealt: DealtPlan) -> SourceTable:
        """The rows of a source that a conversation draws from."""
        key = f"{cohort.name}.{dealt.name}"
        if key not in self._tables:
            axis = TablePlan(name=dealt.name, kind="source", table=dealt.table, plain=dealt.plain)
            kept, source = self.kept(dealt.table), self._plan.source(dealt.table)
            wanted = dealt.count or 1
            if len(kept.seqs) < wanted:
                raise ConfigError(
                    f"`{dealt.name}` of `{cohort.name}` takes {wanted} of the rows of `{dealt.table}`, which "
                    f"has {len(kept.seqs)}: add some, or change what its `keep` lets through"
                )
            # Of several, nothing leads to a name, and a list prints what the rows hold.
            named = dealt.count is None
            self._tables[key] = SourceTable(axis, source, kept, self._cursor_of(dealt.table), named=named)
        return self._tables[key]

    def _cursor_of(self, source: str) -> Cursor:
        return self._read[source][0] if source in self._read else self._cursor

    def standing_versions(
        self, cohort: CohortPlan, config_hashes: Mapping[str, str], cursor: Cursor, events: int
    ) -> Iterator[str]:
        """The versions of the samples of a conversation over a table that stand in a log, which need not be
        the one that has the rows; `config_hashes` are by conversation."""

        def known(of: CohortPlan, above: str | None) -> tuple[str, Mapping[str, Any]]:
            return config_hashes[of.name], {}

        found = over_table(self._plan, cohort, self, cursor, events, known)
        return (sample_version(each.name, each.slot.inputs) for each in found.standing)


@dataclass(frozen=True, slots=True)
class OverTable:
    """The samples of a conversation over a table in the log: those that stand, in order, and how the
    others ended, which is known once they were gone through."""

    config_hash: str
    models: Mapping[str, Any]
    found: Found
    standing: Iterator[Standing]
    above: OverTable | None = None
    # The seqs of the samples that ended, stand or lost, in the order of the dataset.
    ended: array[int] = field(default_factory=lambda: array("q"))


def over_table(
    plan: Plan,
    cohort: CohortPlan,
    tables: Tables,
    cursor: Cursor,
    events: int,
    config_hash_for: ConfigHashOf,
    forgotten: Forgotten = NOTHING,
) -> OverTable:
    """The samples of a conversation over a table, of the lineages that `config_hash_for` tells."""
    parent = plan.parent_of(cohort)
    dealer = tables.dealer(cohort)
    if parent is None:
        config_hash, models = config_hash_for(cohort, None)
        ends = _ends(cursor, events, config_hash, forgotten)
        if cohort.rows is None:
            assert dealer is not None
            reach = replacements_in(cursor(), events, config_hash)
            standing = standing_dealt(plan, cohort, DealtSlots(plan, cohort, dealer), ends, reach)
        else:
            standing = standing_rows(plan, cohort, tables.of(cohort.name), ends, dealer)
        return OverTable(config_hash, models, ends, standing, ended=ends.seqs)
    if parent.of_tables:
        above = over_table(plan, parent, tables, cursor, events, config_hash_for, forgotten)
    else:
        above = _over_grid(plan, parent, cursor, events, config_hash_for, forgotten)
    config_hash, models = config_hash_for(cohort, above.config_hash)
    ends = _ends(cursor, events, config_hash, forgotten)
    deals = child_deals(plan, cohort, tables)
    standing = standing_children(plan, cohort, deals, above.standing, ends, cursor())
    return OverTable(config_hash, models, ends, standing, above, ends.seqs)


def select_over_table(
    plan: Plan,
    cohort: CohortPlan,
    tables: Tables,
    cursor: Cursor,
    events: int,
    written_by: WrittenBy | None = None,
    forgotten: Forgotten = NOTHING,
) -> Selection:
    """What `select` gives, of a conversation over a table."""

    def last(of: CohortPlan, above: str | None) -> tuple[str, Mapping[str, Any]]:
        if above is None:
            return config_hash_of(plan, of, cursor(), events, written_by)
        return child_config_hash(plan, of, above, cursor(), events, written_by)

    found = over_table(plan, cohort, tables, cursor, events, last, forgotten)
    seqs, positions, counts = array("q"), array("q"), Counter[Labels]()
    grid = cells_of(cohort) * cohort.times
    for each in found.standing:
        seqs.append(each.seq)
        positions.append(each.position * grid + each.slot.cell.row * cohort.times)
        counts[each.slot.cell.group] += 1
    count = found.found
    missing = count.missing if cohort.each else max(0, cohort.quota - len(seqs) - count.forgotten)
    above, factor = found.above, places_a_row(cohort)
    while above is not None and cohort.each:
        # What is made from a sample that is still to be made is to be made too.
        missing += factor * above.found.missing
        above = above.above
    return Selection(
        cohort,
        found.config_hash,
        found.models,
        seqs,
        positions,
        counts,
        count.forgotten,
        missing,
        count.lost,
        count.rows if cohort.rows is not None else None,
        found.ended,
    )


def _ends(cursor: Cursor, events: int, config_hash: str, forgotten: Forgotten) -> Ends:
    completed = Ended(cursor(), events, config_hash, Kind.SAMPLE_COMPLETED)
    abandoned = Ended(cursor(), events, config_hash, Kind.SAMPLE_ABANDONED)
    return Ends(completed, abandoned, forgotten.events)


def _over_grid(
    plan: Plan,
    cohort: CohortPlan,
    cursor: Cursor,
    events: int,
    config_hash_for: ConfigHashOf,
    forgotten: Forgotten,
) -> OverTable:
    """The samples of a conversation that is over sets alone."""
    selection = select(plan, cohort, cursor(), events, config_hash_for(cohort, None), forgotten)
    found = Found(cohort.quota, forgotten=selection.forgotten, stands=len(selection.seqs))

    def standing() -> Iterator[Standing]:
        dealt = iter(slots(plan, cohort))
        taken = (slot for number, slot in enumerate(dealt) if number in places)
        names = columns(cursor(), selection.seqs, "sample_id")
        for number, (slot, (seq, name)) in enumerate(zip(taken, names, strict=True)):
            yield Standing(slot, name, seq, number)

    places = frozenset(selection.positions)
    return OverTable(selection.config_hash, selection.models, found, standing())
