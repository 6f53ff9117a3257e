"""The samples of a conversation over the rows of a source: each row's, or so many.

Without a count each row is asked for, and a sample that is lost is lost.  With one, the first rows in the
table's order are places and the others spares.  A lost place goes to the next spare that is dealt the same
draws; once all else is through, to the next of any, with the lost one's draws.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Cell, Labels, Slot
from synth.compiler.plan.tables.dealt import Dealer
from synth.compiler.plan.tables.row_deals import RowDeals, places_a_row
from synth.runtime.cohorts.conversation import Row
from synth.runtime.cohorts.dedup import Order
from synth.runtime.cohorts.over_table import TableCohort
from synth.runtime.cohorts.source import SampleObserver, SampleRequest
from synth.runtime.events.progress import Progress
from synth.runtime.samples.sample import Sample
from synth.store.dataset.inputs.source_table import SourceTable
from synth.store.dataset.inputs.standing import row_slots
from synth.store.log.past.sample_ids import Finished

# Rows that are read from the log together.
_AT_ONCE = 512


class RowCohort(TableCohort):
    """A conversation over a source; `table` has the source's rows as the log has them."""

    def __init__(
        self,
        plan: Plan,
        cohort: CohortPlan,
        table: SourceTable,
        dealer: Dealer | None,
        finished: Finished,
        observer: SampleObserver,
        progress: Progress,
        limit: int | None,
    ) -> None:
        self._table = table
        self._deals, self._order, self._planned = row_slots(plan, cohort, table, dealer)
        places = self._planned * places_a_row(cohort)
        wanted = places if cohort.each else cohort.quota
        super().__init__(plan, cohort, wanted, finished, observer, progress, limit)
        self._places = min(places, self._limit)
        self._spares = _Spares(self._deals, table, self._order[self._planned :])
        # Cells of lost samples that no spare of their own group can replace.
        self._unfilled: list[Cell] = []

    @property
    def sizes(self) -> list[int]:
        rows, rest = divmod(self._places, places_a_row(self.plan) or 1)
        times = self.plan.times
        return [rows * times + min(max(rest - row * times, 0), times) for row in range(self._grid)]

    def shortage(self) -> str | None:
        why = super().shortage()
        if why is not None:
            return why
        counters = self._counters
        if self.plan.each:
            if counters.completed:
                return None
            if not self._places:
                return self._nothing
            return (
                f"`{self.plan.name}` lost every one of its {self._places:,} samples: change what is asked "
                "for, or what is checked"
            )
        missing = self._limit - counters.completed - counters.open
        if not self._dealt or missing <= 0:
            return None
        return (
            f"`{self.plan.name}` has {counters.completed:,} of {self._limit:,} samples, and all "
            f"{len(self._table):,} rows were tried: add rows, or lower its count by {missing:,}"
        )

    @property
    def _nothing(self) -> str:
        """Why there is no row to go through."""
        table = self.plan.rows
        assert table is not None
        paths = [listed.path for listed in table.lists] + [draw.of[1:] for draw in self.plan.dealt if draw.of]
        lists = " and ".join(f"`{'.'.join(path)}`" for path in paths)
        has = f" that has any {lists}" if self._table.empty else ""
        return (
            f"`{self.plan.name}` has no sample: `{table.table}` has no row{has}; add some, or change "
            "what its `keep` lets through"
        )

    def replacements(self) -> Iterator[SampleRequest]:
        yield from super().replacements()
        while self._unfilled and self._is_quiet and not self._closing:
            # A round at a time, in a fixed order: which rows are taken depends on nobody's speed.
            cells, self._unfilled = sorted(self._unfilled, key=lambda cell: (cell.row, cell.group)), []
            for cell in cells:
                request = self._from_any(cell)
                if request is None:
                    # All rows were tried, which `shortage` tells of.
                    self._leave_short(cell)
                elif self._is_open(request):
                    yield request
            yield from super().replacements()

    def _requests(self) -> Iterator[SampleRequest]:
        for slot in islice(self._places_in_order(), self._limit):
            row = self._rows[slot.cell.row]
            row.planned[slot.cell.group] += 1
            row.wanted = row.planned
            request = self._request(slot, (0, slot.position, slot.cell.labels))
            if self._is_open(request):
                yield request
        for number in range(self._grid):
            self._pass(number)
        self.deduplicator.seal()
        self._judge()
        self._dealt = True
        self._tell_if_through()

    def _places_in_order(self) -> Iterator[Slot]:
        for start in range(0, self._planned, _AT_ONCE):
            order = self._order[start : min(start + _AT_ONCE, self._planned)]
            for number, entry in enumerate(self._table.entries(order), start):
                yield from self._deals.slots(entry, number)

    @property
    def _is_quiet(self) -> bool:
        """Whether nothing is open or waits to be judged."""
        return self._dealt and not (self._due or self._counters.open or self.deduplicator.waiting)

    def _spare(self, cell: Cell, number: int) -> SampleRequest | None:
        slot = self._spares.of_group(cell.row, cell.group, number)
        return None if slot is None else self._request(slot, (1 + number, cell.row, slot.cell.labels))

    def _from_any(self, cell: Cell) -> SampleRequest | None:
        slot = self._spares.of_any(cell)
        row = self._rows[cell.row]
        row.spares[cell.group] += 1
        return (
            None
            if slot is None
            else self._request(slot, (row.spares[cell.group], cell.row, slot.cell.labels))
        )

    def _further(self, cell: Cell, row: Row) -> SampleRequest | None:
        number = row.spares[cell.group]
        while (request := self._spare(cell, number)) is not None:
            if self._is_finished(request):
                row.spares[cell.group] = number
                return request
            number += 1
        return None

    def _give_up(self, cell: Cell, row: Row) -> None:
        if self._closing or self._lost_too_much(row, cell.group):
            super()._give_up(cell, row)
        else:
            self._unfilled.append(cell)

    def _lose(
        self, order: Order, cell: Cell, why: str = "", sample: Sample | None = None, *, counts: bool = True
    ) -> None:
        super()._lose(order, cell, why, sample, counts=counts)
        if self.plan.each:
            self._counters.quota -= 1
            self._not_replaced(cell)

    def _is_tried_again(self, request: SampleRequest) -> bool:
        nothing_else = self.plan.each or self._planned == len(self._table)
        return nothing_else and request.version in self._finished.unbound

    def _tell_if_through(self) -> None:
        if not self._unfilled:
            super()._tell_if_through()


class _Spares:
    """Places of rows that are not planned, dealt as far as they were asked for."""

    def __init__(self, deals: RowDeals, table: SourceTable, order: Sequence[int]) -> None:
        self._deals, self._table, self._order = deals, table, order
        self._dealt = 0
        # The number of a row and of its slot, by the slot's cell of sets and group; and by the cell alone.
        self._by_group: dict[tuple[int, Labels], list[tuple[int, int]]] = defaultdict(list)
        self._by_cell: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._used: set[tuple[int, int]] = set()

    def of_group(self, row: int, group: Labels, number: int) -> Slot | None:
        """The `number`-th place of a group, from 0."""
        places = self._by_group[row, group]
        while len(places) <= number:
            if not self._deal():
                return None
        self._used.add(places[number])
        return self._slots(places[number][0])[places[number][1]]

    def of_any(self, cell: Cell) -> Slot | None:
        """The next place that nobody took, with a cell's draws in place of its own."""
        while self._deal():
            pass
        places = self._by_cell[cell.row]
        # Those of its own group are dealt by their numbers.
        passed = self._used.union(self._by_group[cell.row, cell.group])
        free = next((place for place in places if place not in passed), None)
        if free is None:
            return None
        self._used.add(free)
        own = self._slots(free[0])
        here = [(number, slot) for number, slot in enumerate(own) if slot.cell.row == cell.row]
        natural = sum(slot.cell.group == cell.group for _, slot in here)
        others = [number for number, slot in here if slot.cell.group != cell.group]
        slot = own[free[1]]
        members = cell.members[len(cell.labels) - len(cell.group) :]
        return self._deals.redrawn(slot, cell.group, members, natural + others.index(free[1]))

    def _deal(self) -> bool:
        """Deals one row more; False where there is none."""
        if self._dealt == len(self._order):
            return False
        for place, slot in enumerate(self._slots(self._dealt)):
            self._by_group[slot.cell.row, slot.cell.group].append((self._dealt, place))
            self._by_cell[slot.cell.row].append((self._dealt, place))
        self._dealt += 1
        return True

    def _slots(self, number: int) -> list[Slot]:
        (entry,) = self._table.entries([self._order[number]])
        return list(self._deals.slots(entry))
