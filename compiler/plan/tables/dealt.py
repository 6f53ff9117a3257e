"""Draws from tables: a row of a source, several at once, or an item of a list that a row has.

A plan knows none of these, so they are no members of a grid.  They are dealt by the seed: what is drawn from
is gone through before anything of it comes twice, over each row that a conversation is over, else over the
conversation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import product
from random import Random
from typing import Any, Protocol

from synth.base.canonical import digest
from synth.compiler.plan.conditions import there
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Cell, Labels, Slot, keyed_number, slots
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.tables.environment import environment, inputs_of
from synth.compiler.plan.tables.table_plan import DealtPlan

# A row, or what is drawn for one sample: labels, and the members that they name.
Row = tuple[Labels, tuple[Member, ...]]
# So many are shuffled as a list; of more, an order is walked that is never held.
_SHUFFLED = 64
_ROUNDS = 4
# So many places are read together.
_AT_ONCE = 4096


class DrawnRows(Protocol):
    """The rows of a source that are drawn from."""

    def __len__(self) -> int: ...

    def row(self, index: int) -> tuple[str, Any]:
        """The name of a row, 16 hex digits, and its value."""
        ...

    def read(self, indexes: Iterable[int]) -> None:
        """Reads some rows together, which are asked for next."""
        ...


class Dealer:
    """Deals what the samples of a cohort draw from tables; `tables` are the rows of sources by the name of
    what draws from them."""

    def __init__(self, plan: Plan, cohort: CohortPlan, tables: Mapping[str, DrawnRows]) -> None:
        self._key = (plan.seed, plan.recipe, cohort.name)
        self._dealt = cohort.dealt
        self._tables = tables
        # Over rows each of them has a deck of its own.
        self._places = cohort.quota if cohort.rows is None else 0

    def is_empty(self, values: Mapping[str, Any]) -> bool:
        """Whether a row with these values has nothing in a list that is drawn from."""
        return any(draw.of and not there(draw.of, values) for draw in self._dealt)

    def read(self, over: Labels, places: range) -> None:
        """Reads what is drawn at some places together."""
        for draw in self._dealt:
            if draw.table:
                at = (index for place in places for index in self._rows(draw, over, place, None))
                self._tables[draw.name].read(at)

    def of(self, over: Labels, values: Mapping[str, Any], place: int, spare: Labels | None = None) -> Row:
        """What is drawn at a place, from 0, over a row of some labels and values by name, in which no list is
        empty; or by the `place`-th spare of a group."""
        labels: list[tuple[str, str]] = []
        members: list[Member] = []
        for draw in self._dealt:
            label, value = self._drawn(draw, over, values, place, spare)
            labels.append((draw.name, label))
            members.append(_member(label, value, draw.plain or draw.count is not None))
        return tuple(labels), tuple(members)

    def _drawn(
        self, dealt: DealtPlan, over: Labels, values: Mapping[str, Any], place: int, spare: Labels | None
    ) -> tuple[str, Any]:
        if dealt.of:
            items = there(dealt.of, values)
            at = permuted(place, len(items), *self._key, dealt.name, over)
            return f"{list(item_names(items))[at]:016x}", items[at]
        rows = [self._tables[dealt.name].row(index) for index in self._rows(dealt, over, place, spare)]
        if dealt.count is None:
            return rows[0]
        return "-".join(name for name, _ in rows), [value for _, value in rows]

    def _rows(self, dealt: DealtPlan, over: Labels, place: int, spare: Labels | None) -> list[int]:
        """The indexes of the rows that are drawn at a place."""
        key, size = (*self._key, dealt.name, over), len(self._tables[dealt.name])
        if dealt.count is not None:
            return [permuted(number, size, *key, place, spare) for number in range(dealt.count)]
        if spare is not None:
            # One that no place has, where there is any.
            others = size - self._places
            chance = keyed_number(*key, spare, place)
            place = self._places + chance % others if others > 0 else chance % size
        return [permuted(place, size, *key)]


class DealtSlots:
    """The slots of a conversation that is over sets alone, or over nothing, and draws from tables."""

    def __init__(self, plan: Plan, cohort: CohortPlan, dealer: Dealer) -> None:
        self._plan, self._cohort, self._dealer = plan, cohort, dealer

    def slots(self) -> Iterator[Slot]:
        """Those that are planned, in order."""
        for slot in slots(self._plan, self._cohort):
            if slot.position % _AT_ONCE == 0:
                last = min(slot.position + _AT_ONCE, self._cohort.quota)
                self._dealer.read((), range(slot.position, last))
            yield self._with(slot, self._dealer.of((), {}, slot.position))

    def spare(self, row: int, group: Labels, members: tuple[Member, ...], ordinal: int, number: int) -> Slot:
        """The `number`-th replacement, from 0, of a lost sample with these labels and members of sets and
        draws, which is the `ordinal`-th with them."""
        slot = Slot(-1, Cell(row, group, members), ordinal)
        return self._with(slot, self._dealer.of((), {}, number, group))

    def _with(self, slot: Slot, drawn: Row) -> Slot:
        (labels, members), was = drawn, slot.cell
        cell = Cell(was.row, labels + was.labels, members + was.members, was.labels)
        made = replace(slot, cell=cell)
        return replace(made, inputs=inputs_of(self._cohort, environment(self._cohort, made)))


def below(cohort: CohortPlan, parent: Row) -> Iterator[Row]:
    """A sample of another conversation with each combination of items of its lists; itself where a
    conversation goes through none."""
    assert cohort.rows is not None
    lists, (labels, members) = cohort.rows.lists, parent
    items = [there(listed.path, members[0].fields) or () for listed in lists]
    named = [zip(item_names(values), values, strict=True) for values in items]
    for combination in product(*named):
        pairs = list(zip(lists, combination, strict=True))
        yield (
            labels + tuple((listed.name, f"{name:016x}") for listed, (name, _) in pairs),
            members + tuple(_member(f"{name:016x}", item, listed.plain) for listed, (name, item) in pairs),
        )


def wants_values(plan: Plan, cohort: CohortPlan) -> bool:
    """Whether a list that steps of the parent write is gone through or drawn from."""
    return bool(_written_lists(plan, cohort))


def unknown_lists(plan: Plan, cohort: CohortPlan) -> dict[str, Any]:
    """Values of the parent's steps while nobody knows them: each list has one item, which is null."""
    values: dict[str, Any] = {}
    for first, *rest in _written_lists(plan, cohort):
        if not rest:
            values[first] = [None]
            continue
        inner = values.setdefault(first, {})
        for name in rest[:-1]:
            inner = inner.setdefault(name, {})
        inner[rest[-1]] = [None]
    return values


def _written_lists(plan: Plan, cohort: CohortPlan) -> list[tuple[str, ...]]:
    parent = plan.parent_of(cohort)
    if parent is None or cohort.rows is None:
        return []
    paths = [listed.path for listed in cohort.rows.lists]
    paths += [draw.of[1:] for draw in cohort.dealt if draw.of and draw.of[0] == cohort.rows.name]
    steps = {step.name for step in parent.steps}
    return [path for path in paths if path[0] in steps]


def permuted(place: int, size: int, *key: object) -> int:
    """The index, below `size`, that an endless deck has at a place: all of them come before any comes again,
    in another order each time.

    >>> sorted(permuted(place, 100, "deck") for place in range(100, 200)) == list(range(100))
    True
    """
    block, at = divmod(place, size)
    number = keyed_number(*key, block)
    if size <= _SHUFFLED:
        order, random = list(range(size)), Random(number)
        for last in range(size - 1, 0, -1):
            other = int(random.random() * (last + 1))
            order[last], order[other] = order[other], order[last]
        return order[at]
    # A Feistel network over a power of four, walked until it leads to an index.
    half = ((size - 1).bit_length() + 1) // 2
    mask, keyed = (1 << half) - 1, number.to_bytes(32)
    while True:
        left, right = at >> half, at & mask
        for turn in range(_ROUNDS):
            mixed = sha256(b"%b%d %d" % (keyed, turn, right)).digest()
            left, right = right, left ^ (int.from_bytes(mixed[:8]) & mask)
        at = left << half | right
        if at < size:
            return at


def item_names(items: Sequence[Any]) -> Iterator[int]:
    """The names of a list's items: their content, and their number among equals."""
    seen = Counter[str]()
    for item in items:
        content = digest(item)
        yield int(digest([content, seen[content]])[:16], 16)
        seen[content] += 1


def item_of(items: Sequence[Any] | None, name: str) -> Any:
    """The item of a list that has a name; None where none has it."""
    known = items or ()
    return next(
        (item for number, item in zip(item_names(known), known, strict=True) if f"{number:016x}" == name),
        None,
    )


def _member(label: str, value: Any, plain: bool) -> Member:
    return Member.model_construct(label=label, weight=1, fields={"value": value} if plain else value)
