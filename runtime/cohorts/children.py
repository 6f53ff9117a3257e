"""The samples of a conversation over another one's: each is opened as soon as its parent stands.

Without a count every parent that stands is gone through.  With one, parents are taken in their order, as
far as it is known which of them stand, until there are enough; a sample that is lost is made up for by the
next parent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Any

from synth.compiler.plan.allot import allot
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import BaseSample, Cell, Slot
from synth.compiler.plan.tables.dealt import below, unknown_lists, wants_values
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.tables.environment import environment
from synth.compiler.plan.tables.row_deals import RowDeals, cells_of, places_a_row
from synth.runtime.cohorts.conversation import Cohort
from synth.runtime.cohorts.dedup import Order
from synth.runtime.cohorts.over_table import TableCohort
from synth.runtime.cohorts.source import SampleObserver, SampleRequest
from synth.runtime.events.progress import Progress
from synth.runtime.samples.sample import Sample
from synth.store.log.past.sample_ids import Finished

# More than a parent's lists make.
_MOST_BELOW = 1 << 32


@dataclass(slots=True)
class _Parent:
    """A parent that stands, or that this run does not finish."""

    slot: Slot
    order: Order
    name: str
    values: Mapping[str, Any] | None
    pending: bool = False


class ChildCohort(TableCohort):
    """A conversation over `parent`'s samples, which tells it of every one."""

    def __init__(
        self,
        plan: Plan,
        cohort: CohortPlan,
        parent: Cohort,
        deals: RowDeals,
        finished: Finished,
        observer: SampleObserver,
        progress: Progress,
        limit: int | None,
    ) -> None:
        assert cohort.rows is not None
        self._shown_as = cohort.rows.name
        self._parent = parent
        self._deals = deals
        self._a_row = places_a_row(cohort)
        wanted = sum(parent.sizes) * self._a_row if cohort.each else cohort.quota
        self._has_lists = bool(cohort.rows.lists)
        if cohort.each and self._has_lists and limit is not None:
            # Nobody knows how long lists are, and how many samples that makes.
            wanted = max(wanted, limit + 1)
        self._wants_values = wants_values(plan, cohort)
        # Of each cell of sets, how many samples more there are than one item of each list makes.
        self._more = [0] * cells_of(cohort)
        super().__init__(plan, cohort, wanted, finished, observer, progress, limit)
        # How many more samples each cell of sets is to have, where not all parents are gone through.
        self._counts = not cohort.each or self._counters.limited
        self._room = list(allot(self._limit, [self._limit] * self._grid)) if self._counts else []
        self._parents: list[Order] = []
        self._arrived: dict[Order, _Parent | None] = {}
        self._spare_parents: list[deque[SampleRequest]] = [deque() for _ in range(self._grid)]
        self._opening: deque[SampleRequest] = deque()
        self._rows_to_pass = len(parent.sizes)
        self._awaited = 0
        self._number = 0
        parent.followers.append(self)

    @property
    def sizes(self) -> list[int]:
        parents = sum(self._parent.sizes)
        if self._counts:
            return list(allot(self._limit, [min(self._limit, parents * self.plan.times)] * self._grid))
        return [parents * self.plan.times + more for more in self._more]

    def requests(self) -> Iterator[SampleRequest]:
        """None of its own: they follow the parents."""
        return iter(())

    def replacements(self) -> Iterator[SampleRequest]:
        while self._opening:
            yield self._opening.popleft()

    def close(self) -> None:
        """The parents tell of what the log has."""

    def shortage(self) -> str | None:
        missing = sum(self._room)
        if not self._counts or self._counters.limited or not self._dealt or missing <= 0:
            return None
        return (
            f"`{self.plan.name}` has {self._limit - missing:,} of {self._limit:,} samples, and no sample of "
            f"`{self._parent.plan.name}` is left: ask for more of those, or lower its count"
        )

    # What the parent tells.

    def expected(self, row: int, order: Order) -> None:
        if order[0] > 0:
            self._awaited -= 1
        heappush(self._parents, order)
        if not self._counts:
            # Whoever takes the first of these is to know of all before them.
            for place in range(self._a_row):
                self.deduplicator.expect(self._order(order, place))
                for follower in self.followers:
                    follower.expected(place // self.plan.times, self._order(order, place))

    def stood(self, slot: Slot, order: Order, name: str, values: Mapping[str, Any] | None) -> None:
        self._arrive(order, _Parent(slot, order, name, values))

    def waits(self, slot: Slot, order: Order, name: str) -> None:
        self._arrive(order, _Parent(slot, order, name, None, pending=True))

    def lost(self, row: int, order: Order) -> None:
        self._awaited += 1
        self._arrive(order, None)

    def not_replaced(self, row: int) -> None:
        self._awaited -= 1
        if not self._counts:
            self._counters.quota -= self._a_row
            for number in range(self._a_row):
                for follower in self.followers:
                    follower.not_replaced(number // self.plan.times)
        self._advance()

    def passed(self, row: int) -> None:
        self._rows_to_pass -= 1
        if self._rows_to_pass:
            return
        for number in range(self._grid):
            self._pass(number)
        self.deduplicator.seal()
        self._judge()
        self._advance()

    def grew(self, row: int) -> None:
        if self._counts:
            return
        self._counters.quota += self._a_row
        for place in range(self._a_row):
            for follower in self.followers:
                follower.grew(place // self.plan.times)

    def base_through(self) -> None:
        if self._has_lists and self._counters.limited and not self._dealt:
            self._counters.quota -= sum(self._room)
        self._dealt = True
        self._tell_if_through()

    def _arrive(self, order: Order, parent: _Parent | None) -> None:
        self._arrived[order] = parent
        if self._counts:
            self._advance()
            return
        # Whoever stands is gone through at once.
        del self._arrived[order]
        self._take(order, parent)

    def _advance(self) -> None:
        """Takes parents in their order, as far as all before them are known."""
        while self._counts and self._parents and self._parents[0] in self._arrived:
            if self._parents[0][0] > 0 and (self._awaited or self._rows_to_pass):
                break
            order = heappop(self._parents)
            self._take(order, self._arrived.pop(order))

    def _take(self, order: Order, parent: _Parent | None) -> None:
        if self._counts:
            # Parents are taken in their order, whoever of them replaces another.
            order = 0, self._number, order[2]
            self._number += 1
        requests = [] if parent is None else list(self._of(parent, order))
        if parent is None or not requests:
            if not self._counts:
                self._make_none(order, stands=parent is not None)
            return
        for place, request in enumerate(requests):
            if not self._counts:
                if place >= self._a_row:
                    self._add(request)
                self._open(request, parent.pending)
            elif self._room[request.slot.cell.row] > 0:
                self._room[request.slot.cell.row] -= 1
                self.deduplicator.expect(request.order)
                self._open(request, parent.pending)
            elif not parent.pending:
                self._spare_parents[request.slot.cell.row].append(_without_values(request))
        self._tell_if_through()

    def _make_none(self, order: Order, *, stands: bool) -> None:
        """Takes note that no sample is made of a parent, which is lost, or `stands` and has an empty list."""
        for place in range(self._a_row):
            self.deduplicator.lost(self._order(order, place))
            # What is made of these is lost with them.
            for follower in self.followers:
                follower.lost(place // self.plan.times, self._order(order, place))
                if stands:
                    follower.not_replaced(place // self.plan.times)
        self._counters.quota -= self._a_row * stands
        self._more = [more - self.plan.times * stands for more in self._more]
        self._judge()
        self._tell_if_through()

    def _add(self, request: SampleRequest) -> None:
        """Expects a sample of a further item of a list: those of the first were expected with the parent."""
        row = request.slot.cell.row
        self._counters.quota += 1
        self._more[row] += 1
        self.deduplicator.expect(request.order)
        for follower in self.followers:
            follower.grew(row)
            follower.expected(row, request.order)

    def _values(self, parent: _Parent) -> Mapping[str, Any]:
        """The values of a parent's steps, as far as lists of them are gone through or drawn from."""
        if not self._wants_values:
            return {}
        if parent.pending:
            return unknown_lists(self._recipe, self.plan)
        if parent.values is not None:
            return parent.values
        return self._parent.logged_values(parent.name, parent.slot.inputs)

    def _of(self, parent: _Parent, order: Order) -> Iterator[SampleRequest]:
        """The samples that a parent makes."""
        above, slot = self._parent.plan, parent.slot
        outside = environment(above, slot)
        base = BaseSample(
            cohort=above.name,
            name=parent.name,
            inputs=slot.inputs,
            shown_as=self._shown_as,
            outside=outside,
            values=parent.values,
            base=slot.base,
        )
        fields = {**outside, **self._values(parent)}
        member = Member.model_construct(label=parent.name, weight=1, fields=fields)
        row = (((self._shown_as, parent.name),), (member,))
        number = slot.position if parent.order[0] == 0 else -1
        entries = below(self.plan, row)
        slots = (made for entry in entries for made in self._deals.slots(entry, number, slot.inputs))
        for place, made in enumerate(slots):
            request = self._request(replace(made, base=base), self._order(order, place))
            yield replace(request, base=base)

    def _open(self, request: SampleRequest, pending: bool) -> None:
        row, order = self._rows[request.slot.cell.row], request.order
        row.open += 1
        if self._counts:
            for follower in self.followers:
                follower.expected(request.slot.cell.row, order)
        base = request.base
        gone = base is not None and self._parent.gone.covers(base.name, base.inputs)
        if self._is_completed(request):
            self._counters.completed += 1
            self._counters.in_log += 1
            self.deduplicator.lost(order)
            self._judge()
            self._stood(request.slot, order, request.name, None)
        elif gone or (
            request.version in self._finished.abandoned and request.version not in self._finished.unbound
        ):
            self._lose(order, request.slot.cell)
            self.deduplicator.lost(order)
            self._judge()
        elif pending:
            row.open -= 1
            asked = tuple(step.name for step in self.plan.steps)
            self._observer.pending(Sample(self.plan, request.slot, request.name, 0), asked)
            self.passed_over(request)
        else:
            self._opening.append(request)

    def _lose(
        self, order: Order, cell: Cell, why: str = "", sample: Sample | None = None, *, counts: bool = True
    ) -> None:
        super()._lose(order, cell, why, sample, counts=counts)
        self._not_replaced(cell)
        if not self._counts:
            self._counters.quota -= 1
            return
        self._room[cell.row] += 1
        spares = self._spare_parents[cell.row]
        if spares:
            self._room[cell.row] -= 1
            request = spares.popleft()
            self.deduplicator.expect(request.order)
            self._open(request, pending=False)

    def _order(self, order: Order, place: int) -> Order:
        """A sample's place among the samples: its parent's, and its own there."""
        most = _MOST_BELOW if self._has_lists else self._a_row
        return order[0], order[1] * most + place, order[2]

    def _tell_if_through(self) -> None:
        if not self._opening:
            super()._tell_if_through()


def _without_values(request: SampleRequest) -> SampleRequest:
    """The same, whose parent's values are read from the log again when they are wanted."""
    base = request.base
    assert base is not None
    lean = replace(base, values=None)
    return replace(request, slot=replace(request.slot, base=lean), base=lean)
