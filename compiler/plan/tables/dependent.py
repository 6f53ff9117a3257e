"""Draws whose values depend on a set's member: `draw sub from category.subs`.

Such a draw's members are those of all lists together; each sample is dealt from the list of the member
that it has.  Counts are exact for each member that a list is of, and as even as can be in each row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any, Protocol

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.tables.draws import DrawPlan, Member

Labels = tuple[tuple[str, str], ...]


class Deal(Protocol):
    """Members' indexes in order."""

    def stretch(self, start: int, length: int) -> list[int]: ...


class Deck(Protocol):
    def counts(self, length: int) -> list[int]: ...


def choices(draw: DrawPlan, member: Member) -> tuple[int, ...]:
    """Which of a dependent draw's members a member of what it depends on has in its list."""
    values: Any = member.fields
    for name in draw.of[1:]:
        values = values[name]
    indexes = {_key(option.fields["value"]): index for index, option in enumerate(draw.members)}
    return tuple(indexes[_key(value)] for value in values)


def goes_with(cohort: CohortPlan, members: Mapping[str, Member]) -> bool:
    """Whether a sample can have some members of axes and draws, by name, together."""
    for draw in cohort.draws:
        if draw.of and draw.name in members and draw.of[0] in members:
            there = choices(draw, members[draw.of[0]])
            if draw.members.index(members[draw.name]) not in there:
                return False
    return True


def _key(value: object) -> tuple[bool, object]:
    # True is 1 in Python.
    return isinstance(value, bool), value


class DependentDeal:
    """A dependent draw over one row.

    `deals` are those of each member of what it depends on, over the samples of the row that have that
    member, and `chosen` the draw's members that each goes over.  `place` is that of the earlier draw which
    it depends on, None for an axis, of which a row has one member.
    """

    def __init__(
        self, place: int | None, deals: Mapping[int, Deal], chosen: Mapping[int, Sequence[int]]
    ) -> None:
        self._place, self._deals, self._chosen = place, deals, chosen
        self._at = dict.fromkeys(deals, 0)

    def stretch(self, length: int, earlier: Sequence[Sequence[int]]) -> list[int]:
        """The next members, below those of the earlier draws."""
        above = earlier[self._place] if self._place is not None else [next(iter(self._deals))] * length
        dealt: dict[int, Iterator[int]] = {}
        for member, count in Counter(above).items():
            dealt[member] = iter(self._deals[member].stretch(self._at[member], count))
            self._at[member] += count
        return [self._chosen[member][next(dealt[member])] for member in above]


class Dependent:
    """Deals the dependent draws of a cohort over its rows.

    `deck` makes the deck of a draw by labels, `deal` what of a deck comes to some counts of so many samples,
    `shares` has equal shares of a total, ties by what there is, and `counts` are those of an independent
    draw in a row.
    """

    def __init__(
        self,
        cohort: CohortPlan,
        deck: Callable[[DrawPlan, Labels], Deck],
        deal: Callable[[Any, Sequence[int], int], Deal],
        shares: Callable[[int, Sequence[int]], Sequence[int]],
        counts: Callable[[DrawPlan, int], Sequence[int]],
    ) -> None:
        self._cohort = cohort
        self._deck, self._deal, self._shares, self._independent = deck, deal, shares, counts
        self._known: dict[str, list[dict[int, list[int]]]] = {}

    @cached_property
    def _rows(self) -> list[tuple[int, ...]]:
        return list(product(*(range(len(axis.members)) for axis in self._cohort.axes)))

    def deal(self, draw: DrawPlan, row: int) -> DependentDeal:
        """A dependent draw over a row, whose earlier draws are dealt beside it."""
        above, place = self._above(draw)
        deals, chosen = {}, {}
        for member, counts in self._exact(draw)[row].items():
            chosen[member] = choices(draw, above[member])
            deck = self._deck(*self._below(draw, row, member))
            deals[member] = self._deal(deck, counts, sum(counts))
        return DependentDeal(place, deals, chosen)

    def counts(self, draw: DrawPlan, row: int) -> list[int]:
        """How many samples of a row have each member of a draw."""
        if not draw.of:
            return list(self._independent(draw, row))
        above, _ = self._above(draw)
        totals = [0] * len(draw.members)
        for member, counts in self._exact(draw)[row].items():
            for index, count in zip(choices(draw, above[member]), counts, strict=True):
                totals[index] += count
        return totals

    def total(self, draw: DrawPlan) -> tuple[int, ...]:
        """How many samples of the whole cohort have each member of a draw."""
        rows = [self.counts(draw, row) for row in range(len(self._rows))]
        return tuple(map(sum, zip(*rows, strict=True)))

    def _above(self, draw: DrawPlan) -> tuple[Sequence[Member], int | None]:
        """The members of what a draw depends on, and its place among the draws."""
        for place, other in enumerate(self._cohort.draws):
            if other.name == draw.of[0]:
                return other.members, place
        return next(axis for axis in self._cohort.axes if axis.name == draw.of[0]).members, None

    def _below(self, draw: DrawPlan, row: int, member: int) -> tuple[DrawPlan, Labels]:
        """A draw as it is below a member of what it depends on, and what it is dealt over there."""
        above, place = self._above(draw)
        chosen = tuple(draw.members[index] for index in choices(draw, above[member]))
        axes = zip(self._cohort.axes, self._rows[row], strict=True)
        labels = tuple((axis.name, axis.members[index].label) for axis, index in axes)
        if place is not None:
            labels += ((draw.of[0], above[member].label),)
        return draw.model_copy(update={"members": chosen}), labels

    def _exact(self, draw: DrawPlan) -> list[dict[int, list[int]]]:
        """For each row and each member of what a draw depends on, how many samples have each choice."""
        if draw.name not in self._known:
            rows = [self._of_row(draw, row) for row in range(len(self._rows))]
            for member in {member for row in rows for member in row}:
                _make_exact([row[member] for row in rows if member in row], self._shares)
            self._known[draw.name] = rows
        return self._known[draw.name]

    def _of_row(self, draw: DrawPlan, row: int) -> dict[int, list[int]]:
        _, place = self._above(draw)
        if place is None:
            axis = [other.name for other in self._cohort.axes].index(draw.of[0])
            samples = {self._rows[row][axis]: self._cohort.times}
        else:
            samples = dict(enumerate(self.counts(self._cohort.draws[place], row)))
        shares = {}
        for member, count in samples.items():
            if count:
                deck = self._deck(*self._below(draw, row, member))
                shares[member] = list(self._shares(count, deck.counts(count)))
        return shares


def _make_exact(counts: Sequence[list[int]], shares: Callable[[int, Sequence[int]], Sequence[int]]) -> None:
    """Makes the sums over rows of counts exact by moving as little as can be, in the last rows first."""
    sums = [sum(column) for column in zip(*counts, strict=True)]
    surplus = [have - want for have, want in zip(sums, shares(sum(sums), sums), strict=True)]
    # Rows stay within one of even while that goes.
    for least in (1, 0):
        moved = True
        while moved and any(surplus):
            moved = False
            for row in reversed(counts):
                few = min(range(len(row)), key=lambda index: (surplus[index] >= 0, row[index]))
                many = max(range(len(row)), key=lambda index: (surplus[index] > 0, row[index]))
                if surplus[many] > 0 > surplus[few] and row[many] and row[many] - row[few] >= least:
                    row[many] -= 1
                    row[few] += 1
                    surplus[many] -= 1
                    surplus[few] += 1
                    moved = True
