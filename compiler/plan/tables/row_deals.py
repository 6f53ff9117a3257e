"""Which samples a conversation over a table has: so many of each row, with draws dealt over the row.

A row has a deck of its own for each draw, which follows from the row's name, so new rows leave the
others as they are.  Counts over all planned rows are made exact by relabelling as few places as can be.

A table's rows are known by their labels here: `((variable, name),)`, and one more where a list of the row
is gone through.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest
from itertools import product
from math import prod

from synth.compiler.plan.allot import largest_remainder
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Cell, Deck, Labels, Slot, keyed_number
from synth.compiler.plan.tables.dealt import Dealer, Row
from synth.compiler.plan.tables.dependent import choices
from synth.compiler.plan.tables.draws import DrawPlan, Member
from synth.compiler.plan.tables.environment import environment, inputs_of, row_values

# By a row's labels and the number of a place in it, the index of the member that a draw gets there.
Relabelled = Mapping[tuple[Labels, int], int]


def cells_of(cohort: CohortPlan) -> int:
    """How many combinations of sets' members each row of the table is gone through with."""
    return prod(len(axis.members) for axis in cohort.axes)


def places_a_row(cohort: CohortPlan) -> int:
    """How many samples one row makes."""
    return cells_of(cohort) * cohort.times


def rows_wanted(cohort: CohortPlan, there: int) -> int:
    """How many rows of a table that has so many are places; the others are spares."""
    return there if cohort.each else min(there, cohort.quota // max(1, places_a_row(cohort)))


def order_of(plan: Plan, cohort: CohortPlan, labels: Callable[[int], Labels], there: int) -> Sequence[int]:
    """The order in which rows are taken: the table's own where each is asked for, else by a hash of the
    row's name, so that what is taken is no first part of the table and new rows shuffle nothing."""
    if cohort.each:
        return range(there)

    def rank(index: int) -> tuple[int, int]:
        # What is below one row stays in its own order.
        (_, name), *_ = labels(index)
        return keyed_number(plan.seed, cohort.name, name), index

    return sorted(range(there), key=rank)


class RowDeals:
    """Deals the draws of a cohort over the rows of a table.

    `planned` gives the labels of the rows that are places, in their order; counts are exact over those.
    `dealer` deals what is drawn from tables, where anything is.
    """

    def __init__(
        self,
        plan: Plan,
        cohort: CohortPlan,
        planned: Callable[[int], Labels],
        rows: int,
        dealer: Dealer | None = None,
    ) -> None:
        self._plan, self._cohort, self._dealer = plan, cohort, dealer
        self._grid = list(product(*(axis.members for axis in cohort.axes)))
        self._set_labels: list[Labels] = [
            tuple((axis.name, member.label) for axis, member in zip(cohort.axes, members, strict=True))
            for members in self._grid
        ]
        self._relabelled: list[Relabelled] = []
        for draw in cohort.draws:
            # What depends on a draw goes by what that is in the end.
            self._relabelled.append(self._exact(draw, planned, rows))

    def slots(self, row: Row, number: int = -1, beneath: str = "") -> Iterator[Slot]:
        """The slots of a row, which is the `number`-th of those planned, or a spare.  `beneath` are the
        inputs of the sample that it is, where it is one.  There are none where it has nothing in a list that
        is drawn from."""
        cohort, (row_labels, row_members) = self._cohort, row
        dealer = self._dealer
        values = {} if dealer is None else row_values(cohort, row_members)
        if dealer is not None and dealer.is_empty(values):
            return
        for cell_number, (members, labels) in enumerate(zip(self._grid, self._set_labels, strict=True)):
            fixed_labels = row_labels + labels
            counts = Counter[tuple[int, ...]]()
            dealt = self._dealt(row_labels, cell_number, fixed_labels)
            for place, drawn in enumerate(dealt):
                drawn_members = tuple(d.members[i] for d, i in zip(cohort.draws, drawn, strict=True))
                draw_labels = tuple(
                    (draw.name, member.label)
                    for draw, member in zip(cohort.draws, drawn_members, strict=True)
                )
                group = labels + draw_labels
                before, before_members = row_labels, row_members
                if dealer is not None:
                    # A row's deck goes on where there is more of each combination of sets.
                    more = dealer.of(row_labels, values, place * len(self._grid) + cell_number)
                    before, before_members = before + more[0], before_members + more[1]
                cell = Cell(cell_number, before + group, before_members + members + drawn_members, group)
                at = (number * len(self._grid) + cell_number) * cohort.times + place if number >= 0 else -1
                slot = Slot(at, cell, counts[drawn])
                yield replace(slot, inputs=inputs_of(cohort, environment(cohort, slot), beneath))
                counts[drawn] += 1

    def redrawn(self, slot: Slot, group: Labels, members: tuple[Member, ...], ordinal: int) -> Slot:
        """A row's slot with the draws of another group, whose members are given."""
        rows = len(slot.cell.labels) - len(slot.cell.group)
        cell = Cell(slot.cell.row, slot.cell.labels[:rows] + group, slot.cell.members[:rows] + members, group)
        # What rows give is the same, whatever is drawn.
        return replace(slot, cell=cell, ordinal=ordinal)

    def _dealt(self, row: Labels, cell: int, labels: Labels) -> list[tuple[int, ...]]:
        if not self._cohort.draws:
            return [()] * self._cohort.times
        return list(zip(*self._columns(row, cell, labels), strict=True))

    def _columns(self, row: Labels, cell: int, labels: Labels) -> list[list[int]]:
        """What each draw that was made exact is, over the places of a row's cell."""
        columns: list[list[int]] = []
        times = self._cohort.times
        for draw, relabelled in zip(self._cohort.draws, self._relabelled, strict=False):
            dealt = self._column(draw, cell, labels, columns)
            if relabelled:
                places = range(cell * times, (cell + 1) * times)
                dealt = [relabelled.get((row, at), was) for at, was in zip(places, dealt, strict=True)]
            columns.append(dealt)
        return columns

    def _column(
        self, draw: DrawPlan, cell: int, labels: Labels, earlier: Sequence[Sequence[int]]
    ) -> list[int]:
        """What a row's decks have for a draw."""
        if draw.of:
            return self._dependent(draw, cell, labels, earlier)
        return Deck(self._plan, self._cohort, draw, labels).stretch(0, self._cohort.times)

    def _dependent(
        self, draw: DrawPlan, cell: int, labels: Labels, earlier: Sequence[Sequence[int]]
    ) -> list[int]:
        """A draw from the list of what a sample has of an axis or an earlier draw: a deck for each."""
        members = self._above(draw)
        above = [members[index] for index in self._indexes_above(draw, cell, earlier)]
        seen, indexes = Counter[str](), []
        for member in above:
            chosen = choices(draw, member)
            part = draw.model_copy(update={"members": tuple(draw.members[index] for index in chosen)})
            deck = Deck(self._plan, self._cohort, part, (*labels, (draw.of[0], member.label)))
            indexes.append(chosen[deck.at(seen[member.label])])
            seen[member.label] += 1
        return indexes

    def _above(self, draw: DrawPlan) -> Sequence[Member]:
        """The members of what a draw depends on."""
        members = {axis.name: axis.members for axis in self._cohort.axes}
        return (members | {other.name: other.members for other in self._cohort.draws})[draw.of[0]]

    def _indexes_above(self, draw: DrawPlan, cell: int, earlier: Sequence[Sequence[int]]) -> Sequence[int]:
        """Which of these the places of a row's cell have."""
        names = [other.name for other in self._cohort.draws]
        if draw.of[0] in names:
            return earlier[names.index(draw.of[0])]
        axes = [axis.name for axis in self._cohort.axes]
        member = self._grid[cell][axes.index(draw.of[0])]
        return [self._above(draw).index(member)] * self._cohort.times

    def _exact(self, draw: DrawPlan, planned: Callable[[int], Labels], rows: int) -> Relabelled:
        """Which places get another member than their row's deck has for them, so that counts are exact; of a
        draw that depends on members, for each of those."""
        # Of each place, in the order of the rows, what it is dealt and what that depends on.
        dealt, above = (array("H" if len(draw.members) < 1 << 16 else "L"), array("L"))
        for number in range(rows):
            row = planned(number)
            for cell, set_labels in enumerate(self._set_labels):
                earlier = self._columns(row, cell, row + set_labels) if draw.of else ()
                dealt.extend(self._column(draw, cell, row + set_labels, earlier))
                if draw.of:
                    above.extend(self._indexes_above(draw, cell, earlier))
        weights = [member.weight for member in draw.members]
        if not draw.of:
            return self._moved(draw, planned, dealt, weights, range(len(dealt)))
        moved: dict[tuple[Labels, int], int] = {}
        for index, member in enumerate(self._above(draw)):
            there = choices(draw, member)
            alike = [int(choice in there) for choice in range(len(weights))]
            places = [at for at, other in enumerate(above) if other == index]
            moved |= self._moved(draw, planned, dealt, alike, places)
        return moved

    def _moved(
        self,
        draw: DrawPlan,
        planned: Callable[[int], Labels],
        dealt: array[int],
        weights: Sequence[int],
        among: Sequence[int],
    ) -> Relabelled:
        """The places among some that get another member, so that their counts follow from weights."""
        have = [0] * len(weights)
        for at in among:
            have[dealt[at]] += 1
        if not among:
            return {}
        wanted = largest_remainder(weights, len(among), have)
        surplus = [max(0, one - other) for one, other in zip(have, wanted, strict=True)]
        missing = [
            index
            for index, (one, other) in enumerate(zip(wanted, have, strict=True))
            for _ in range(one - other)
        ]
        if not missing:
            return {}
        a_row = places_a_row(self._cohort)

        def rank(at: int) -> tuple[int, int]:
            number, place = divmod(at, a_row)
            names = (name for _, name in planned(number))
            return keyed_number(self._plan.seed, self._cohort.name, draw.name, "exact", *names), place

        # Those of the lowest rank, which goes by the row's name: where rows are new or gone, most of them
        # are the same as before.
        chosen: list[tuple[tuple[int, int], int]] = []
        for member, many in enumerate(surplus):
            if many:
                places = (at for at in among if dealt[at] == member)
                chosen += nsmallest(many, ((rank(at), at) for at in places))
        chosen.sort()
        moved: dict[tuple[Labels, int], int] = {}
        for (_, at), member in zip(chosen, missing, strict=True):
            number, place = divmod(at, a_row)
            moved[planned(number), place] = member
        return moved
