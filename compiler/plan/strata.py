"""Which samples a cohort has: exact counts, seeded order, stable names.

A cohort is a grid of rows (one for each combination of its `over` axes, or one row when it
has none) with `times` slots each.  Every draw deals its members over a row's slots:

- counts are exact over the cohort by largest remainder, and in every row within one of exact;
- the order is a seeded permutation, dealt in blocks of the weights' period, so that a longer
  row begins as the shorter one did;
- where the last block is cut short, its last slots are relabelled until the counts are right.

A sample is named by its cell (axis and draw labels) and its ordinal within that cell.  Names
therefore do not depend on the quota: a larger quota has the smaller one's samples among its
own, save for the few relabelled in a row that the weights do not divide.

Long shuffles use `random.Random(int).random()` alone, whose sequence Python guarantees; short ones
the digits of a hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from hashlib import sha256
from itertools import chain, product
from math import factorial, gcd
from random import Random
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.allot import largest_remainder
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.tables.dependent import Dependent, DependentDeal
from synth.compiler.plan.tables.draws import DrawPlan, Member

# A block holds each member in proportion.  Weights with a longer period than this (say
# 12345 : 6789) are dealt in blocks that approximate them; the counts end exact all the same.
_LONGEST_PERIOD = 100_000

# So many slots are dealt at a time.
_STRETCH = 16_384

# Blocks of up to so many members are shuffled once for each of their orders, of which there are 720.
_REMEMBERED = 6

# A hash of 256 bits orders so many members without a generator, which costs more to seed than to
# use; 35! is 2**133, so the orders are as good as even.
_DIRECT = 35

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A combination of axis and draw members; `labels` are (name, member label) pairs.

    `group` are the labels by which samples are counted and replaced: all of them, or those of sets and
    draws where a row of a table is among them.
    """

    row: int
    labels: Labels
    members: tuple[Member, ...] = field(compare=False, repr=False)
    of_group: Labels | None = field(default=None, compare=False, repr=False)

    @property
    def group(self) -> Labels:
        return self.labels if self.of_group is None else self.of_group


@dataclass(frozen=True, slots=True)
class BaseSample:
    """The sample that another is made from: its cohort, what its name there is `shown_as`, what it could
    look up `outside` its steps, its accepted values, None where the log has them, and its own base."""

    cohort: str
    name: str
    inputs: str
    shown_as: str
    outside: Mapping[str, Any]
    values: Mapping[str, Any] | None = None
    base: BaseSample | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in the dataset: the `ordinal`-th sample (from 0) of a cell.  `inputs` is a digest of what
    the sample is made of besides the plan, empty where there is nothing; `base` is the sample of another
    conversation that it is made from, if any."""

    position: int
    cell: Cell
    ordinal: int
    inputs: str = ""
    base: BaseSample | None = field(default=None, compare=False, repr=False)


def sample_version(name: str, inputs: str) -> str:
    """16 hex digits that name a sample made of certain inputs; the sample's own name where it has none."""
    return f"{int(name, 16) ^ int(inputs, 16):016x}" if inputs else name


def sample_id(plan: Plan, cohort: CohortPlan, labels: Labels, ordinal: int) -> str:
    """16 hex digits that name a sample whatever its prompts and the quota are."""
    return f"{CellNames(plan, cohort, labels)[ordinal]:016x}"


class CellNames:
    """The names of one cell's samples, as the numbers that `sample_id` writes in hex."""

    def __init__(self, plan: Plan, cohort: CohortPlan, labels: Labels) -> None:
        self._numbers = _named(plan.recipe, cohort.name, labels)

    def __getitem__(self, ordinal: int) -> int:
        return self._numbers[ordinal] >> 192


@lru_cache(maxsize=4096)
def _named(recipe: str, cohort: str, labels: Labels) -> _Numbers:
    """What names the samples of a cell: by their ordinals, since they have all else in common."""
    return _Numbers(recipe, cohort, labels)


def pair_id(plan: Plan, pairs: CohortPlan, base: str) -> str:
    """The name of the pair that a preference makes from a sample."""
    return sha256(canonical_json([plan.recipe, pairs.name, base]).encode()).hexdigest()[:16]


def call_seed(plan: Plan, sample: str, step: str, attempt: int, candidate: int = 0) -> int:
    """The sampling seed of one attempt, in [0, 2**31): the range every backend accepts.

    The first candidate's is that of an attempt without others, and none depends on how many there are.
    """
    key = (plan.seed, sample, step, attempt)
    return keyed_number(*key, *([candidate] if candidate else ())) >> 225


def slots(plan: Plan, cohort: CohortPlan) -> Iterator[Slot]:
    """All slots of a cohort, row by row.  Never holds the list."""
    position = 0
    for cells, dealt in stretches(plan, cohort):
        if position % cohort.times == 0:
            counts: Counter[int] = Counter()
        for index in dealt:
            yield Slot(position, cells[index], counts[index])
            counts[index] += 1
            position += 1


def stretches(plan: Plan, cohort: CohortPlan) -> Iterator[tuple[Sequence[Cell], list[int]]]:
    """The same slots, a stretch of one row at a time: the row's cells so far, and for each slot the
    index of its cell.  A row's first slot begins a stretch, and its cells keep their indexes."""
    rows = list(product(*(range(len(axis.members)) for axis in cohort.axes)))
    dependent = dependent_draws(plan, cohort)
    for number, row in enumerate(rows):
        fixed = tuple(axis.members[i] for axis, i in zip(cohort.axes, row, strict=True))
        cells = _Cells(cohort, number, fixed)
        deals = [
            dependent.deal(draw, number)
            if draw.of
            else _row_deal(plan, cohort, draw, number, len(rows), cells.fixed_labels)
            for draw in cohort.draws
        ]
        for start in range(0, cohort.times, _STRETCH):
            length = min(_STRETCH, cohort.times - start)
            drawn: list[list[int]] = []
            for deal in deals:
                if isinstance(deal, DependentDeal):
                    drawn.append(deal.stretch(length, drawn))
                else:
                    drawn.append(deal.stretch(start, length))
            together = zip(*drawn, strict=True)
            yield cells.listed, [cells[drawn] for drawn in together] if deals else [cells[()]] * length


def dependent_draws(plan: Plan, cohort: CohortPlan) -> Dependent:
    """What deals the draws of a cohort whose values depend on other members."""

    def counts(draw: DrawPlan, row: int) -> Sequence[int]:
        rows = list(product(*(axis.members for axis in cohort.axes)))
        labels = tuple((axis.name, m.label) for axis, m in zip(cohort.axes, rows[row], strict=True))
        return row_counts(plan, cohort, draw, row, len(rows), Deck(plan, cohort, draw, labels))

    return Dependent(
        cohort,
        lambda draw, labels: Deck(plan, cohort, draw, labels),
        _Deal,
        lambda total, there: largest_remainder([1] * len(there), total, there),
        counts,
    )


class _Cells(dict[tuple[int, ...], int]):
    """The cells of a row by what was drawn: each gets its index when it is first asked for."""

    def __init__(self, cohort: CohortPlan, row: int, fixed: tuple[Member, ...]) -> None:
        self.listed: list[Cell] = []
        self.fixed_labels = tuple(
            (axis.name, member.label) for axis, member in zip(cohort.axes, fixed, strict=True)
        )
        self._draws = cohort.draws
        self._row, self._fixed = row, fixed

    def __missing__(self, drawn: tuple[int, ...]) -> int:
        members = tuple(draw.members[i] for draw, i in zip(self._draws, drawn, strict=True))
        labels = tuple((draw.name, member.label) for draw, member in zip(self._draws, members, strict=True))
        self[drawn] = len(self.listed)
        self.listed.append(Cell(self._row, self.fixed_labels + labels, self._fixed + members))
        return self[drawn]


def member_counts(plan: Plan, cohort: CohortPlan, draw: DrawPlan) -> tuple[int, ...]:
    """How many samples of the whole cohort draw each member."""
    if draw.of:
        return dependent_draws(plan, cohort).total(draw)
    if all(len(axis.members) == 1 for axis in cohort.axes):
        only = tuple((axis.name, axis.members[0].label) for axis in cohort.axes)
        return row_counts(plan, cohort, draw, 0, 1, Deck(plan, cohort, draw, only))
    return largest_remainder([member.weight for member in draw.members], cohort.quota)


def count_rows(plan: Plan, cohort: CohortPlan, draw: DrawPlan) -> list[tuple[int, ...]]:
    """The different counts that rows have of a draw's members, as far as the first two."""
    rows = list(product(*(axis.members for axis in cohort.axes)))
    different: list[tuple[int, ...]] = []
    for number, row in enumerate(rows):
        labels = tuple((axis.name, m.label) for axis, m in zip(cohort.axes, row, strict=True))
        counts = row_counts(plan, cohort, draw, number, len(rows), Deck(plan, cohort, draw, labels))
        if counts not in different:
            different.append(counts)
        if len(different) == 2:
            break
    return different


def row_counts(
    plan: Plan, cohort: CohortPlan, draw: DrawPlan, row: int, rows: int, deck: Deck
) -> tuple[int, ...]:
    """How many samples of one row draw each member: within one of exact, and over all rows
    summing to `member_counts`.

    In a single row, ties go to the members that the deck has dealt more of.  Over several, what
    each member has beyond its whole share is laid end to end and dealt round the rows, so every
    row gets equally many extras and no member twice (controlled rounding).
    """
    weights = [member.weight for member in draw.members]
    if rows == 1:
        return largest_remainder(weights, cohort.times, deck.counts(cohort.times))
    whole = sum(weights)
    base = [cohort.times * weight // whole for weight in weights]
    totals = largest_remainder(weights, cohort.times * rows)
    turn = (row + keyed_number(plan.seed, cohort.name, draw.name, "rows")) % rows
    start = 0
    for index, total in enumerate(totals):
        extra = total - rows * base[index]
        if (turn - start) % rows < extra:
            base[index] += 1
        start += extra
    return tuple(base)


def _row_deal(plan: Plan, cohort: CohortPlan, draw: DrawPlan, row: int, rows: int, labels: Labels) -> _Deal:
    deck = Deck(plan, cohort, draw, labels)
    return _Deal(deck, row_counts(plan, cohort, draw, row, rows, deck), cohort.times)


class _Deal:
    """The member index of each of so many samples: the deck's, relabelled from the end where its counts
    are not yet the `wanted` ones."""

    def __init__(self, deck: Deck, wanted: Sequence[int], samples: int) -> None:
        self._deck = deck
        surplus = [have - want for have, want in zip(deck.counts(samples), wanted, strict=True)]
        missing = [index for index, more in enumerate(surplus) for _ in range(-more)]
        self._relabelled: dict[int, int] = {}
        position = samples
        while missing:
            position -= 1
            member = deck.at(position)
            if surplus[member] > 0:
                surplus[member] -= 1
                self._relabelled[position] = missing.pop()

    def stretch(self, start: int, length: int) -> list[int]:
        dealt = self._deck.stretch(start, length)
        for position, member in self._relabelled.items():
            if start <= position < start + length:
                dealt[position - start] = member
        return dealt


class Deck:
    """An endless sequence of member indices: blocks of the weights' period, each shuffled.  `row` are the
    labels of what the draw is dealt over."""

    def __init__(self, plan: Plan, cohort: CohortPlan, draw: DrawPlan, row: Labels) -> None:
        self._numbers = _Numbers(plan.seed, plan.recipe, cohort.name, row, draw.name)
        self._members = len(draw.members)
        self._content = _block_content(tuple(member.weight for member in draw.members))
        # A short block has few orders, and each is made once.
        period = len(self._content)
        self._orders = factorial(period) if period <= _REMEMBERED else None
        self._known: dict[int, list[int]] = {}
        self._latest: tuple[int, list[int]] = (-1, [])

    def at(self, position: int) -> int:
        block, place = divmod(position, len(self._content))
        return self._block(block)[place]

    def stretch(self, start: int, length: int) -> list[int]:
        """The members of so many positions from `start` on."""
        first, skipped = divmod(start, len(self._content))
        last = (start + length - 1) // len(self._content)
        dealt = list(chain.from_iterable(map(self._block, range(first, last + 1))))
        return dealt[skipped : skipped + length]

    def counts(self, length: int) -> list[int]:
        """How many of the first `length` are each member."""
        blocks, rest = divmod(length, len(self._content))
        totals = [0] * self._members
        for member in self._content:
            totals[member] += blocks
        for member in self._block(blocks)[:rest]:
            totals[member] += 1
        return totals

    def _block(self, number: int) -> list[int]:
        if self._orders is not None:
            # The picks for a shuffle are the digits of the number modulo the count of orders.
            seed = self._numbers[number] % self._orders
            if seed not in self._known:
                self._known[seed] = self._shuffled(seed)
            return self._known[seed]
        # The latest block is kept, since neighbours ask for the same one.
        if self._latest[0] != number:
            self._latest = (number, self._shuffled(self._numbers[number]))
        return self._latest[1]

    def _shuffled(self, seed: int) -> list[int]:
        order = list(self._content)
        picks = _picks(seed, len(order))
        for last in range(len(order) - 1, 0, -1):
            other = next(picks)
            order[last], order[other] = order[other], order[last]
        return order


@cache
def _block_content(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Member indices of one block, unshuffled."""
    divisor = gcd(*weights)
    period = sum(weights) // divisor
    counts: Sequence[int]
    if period <= _LONGEST_PERIOD:
        counts = [weight // divisor for weight in weights]
    else:
        counts = largest_remainder(weights, min(_LONGEST_PERIOD, 100 * len(weights)))
    return tuple(index for index, count in enumerate(counts) for _ in range(count))


def _picks(seed: int, length: int) -> Iterator[int]:
    """Numbers in [0, length), [0, length - 1) ... [0, 2), for a shuffle from the end."""
    if length <= _DIRECT:
        for size in range(length, 1, -1):
            seed, pick = divmod(seed, size)
            yield pick
        return
    random = Random(seed)
    for size in range(length, 1, -1):
        yield int(random.random() * size)


def keyed_number(*key: object) -> int:
    """A 256-bit number from a key."""
    return int.from_bytes(sha256(canonical_json(key).encode("utf-8", "surrogatepass")).digest(), "big")


class _Numbers:
    """The numbers of keys that differ in their last part, a whole number, alone."""

    def __init__(self, *key: object) -> None:
        begun = canonical_json([*key, 0]).removesuffix("0]")
        self._begun = sha256(begun.encode("utf-8", "surrogatepass"))

    def __getitem__(self, last: int) -> int:
        digest = self._begun.copy()
        digest.update(b"%d]" % last)
        return int.from_bytes(digest.digest(), "big")
