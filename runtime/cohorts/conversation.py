"""The bookkeeping of one cohort: which samples to open, which stand, what replaces the lost.

No awaiting here: the scheduler asks what to open and tells how it ended.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Cell, CellNames, Labels, Slot, sample_id, stretches
from synth.runtime.cohorts.dedup import Deduplicator, Order
from synth.runtime.cohorts.source import Follower, SampleObserver, SampleRequest, most_losses, raise_losses
from synth.runtime.cohorts.stuck_members import StuckMembers
from synth.runtime.events.progress import Progress
from synth.runtime.samples.sample import Abandoned, Done, Outcome, Sample
from synth.store.log.past.sample_ids import Finished, SampleIds

# Cells that a shortage is told of one by one.
_MOST_TOLD = 3


@dataclass(slots=True)
class Row:
    """The counts of one row, by cell, and why each lost its last sample.  `planned` are all slots,
    `wanted` those within the limit.  Forgotten once the row is through and nothing is open."""

    planned: Counter[Labels] = field(default_factory=Counter)
    wanted: Counter[Labels] = field(default_factory=Counter)
    lost: Counter[Labels] = field(default_factory=Counter)
    spares: Counter[Labels] = field(default_factory=Counter)
    why: dict[Labels, str] = field(default_factory=dict)
    owed: list[Cell] = field(default_factory=list)
    open: int = 0
    through: bool = False


def _some(cells: Sequence[str]) -> str:
    more = len(cells) - _MOST_TOLD
    others = f"; and on {more:,} other cell{'s' * (more > 1)}" if more > 0 else ""
    return "; ".join(cells[:_MOST_TOLD]) + others


class Cohort:
    """One cohort of a run.  `limit` keeps to that many slots, spread over the rows.

    `followers` are the preferences made from its samples; each is told of every sample.  One that
    is `patient` gives no cell up: it goes by what a log has, where each replacement comes to an end.
    """

    patient = False

    def __init__(
        self,
        plan: Plan,
        cohort: CohortPlan,
        finished: Finished,
        observer: SampleObserver,
        progress: Progress,
        limit: int | None,
    ) -> None:
        self.plan = cohort
        self.deduplicator = Deduplicator(cohort)
        self.followers: list[Follower] = []
        self._given_up: list[tuple[Labels, int, int, str]] = []
        self._stuck = StuckMembers()
        self._recipe = plan
        self._finished = finished
        self._observer = observer
        self._counters = progress.cohort(cohort)
        self._rows: dict[int, Row] = {}
        self._due: deque[Cell] = deque()
        self._limit = cohort.quota if limit is None else min(limit, cohort.quota)
        self._counters.quota = self._limit
        self._counters.limited = self._limit < cohort.quota
        self._grid = prod(len(axis.members) for axis in cohort.axes)
        self._per_row = -(-self._limit // self._grid) if self._grid else 0
        self._dealt = False
        self._closing = False
        self._found_lost = 0
        self._slots = self._requests()

    @property
    def held(self) -> int:
        return self.deduplicator.held

    @property
    def gone(self) -> SampleIds:
        """The samples that the log has forgotten: of those nothing more can be made."""
        return self._finished.forgotten

    @property
    def sizes(self) -> list[int]:
        """How many samples each row of the grid is to have."""
        full = [min(self._per_row, self.plan.times)] * self._grid
        return [max(0, min(size, self._limit - row * size)) for row, size in enumerate(full)]

    def logged_values(self, name: str, inputs: str) -> Mapping[str, Any]:
        """The values of the steps of a sample that an earlier run completed."""
        return self._finished.values(name, inputs)

    def remember(self, values: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Takes the samples that earlier runs completed: later ones are judged beside them."""
        for name, sample_values in values:
            self.deduplicator.remember(name, sample_values)

    def shortage(self) -> str | None:
        """Which cells were given up, what they lost, and what to do."""
        stuck, unlucky = list[str](), list[str]()
        for labels, lost, wanted, why in self._given_up:
            cell = ", ".join(f"{name} {label}" for name, label in labels) or "its samples"
            cell_text = f"{cell} after losing {lost:,} for {wanted:,} to have{f' ({why})' if why else ''}"
            (stuck if self._stuck.among(labels) else unlucky).append(cell_text)
        remedies = [
            f"`{self.plan.name}` gave up on {_some(cells)}; {remedy}"
            for cells, remedy in (
                (stuck, "nothing passes there: change the check, or what is asked for"),
                (unlucky, raise_losses(self._recipe.losses)),
            )
            if cells
        ]
        return "; ".join(remedies) or None

    def requests(self) -> Iterator[SampleRequest]:
        """The slots that need a sample, in order; those the log has are counted on the way."""
        return self._slots

    def _requests(self) -> Iterator[SampleRequest]:
        completed, counters = self._finished.completed, self._counters
        names: list[CellNames] = []
        counts: list[int] = []
        last: int | None = None
        position = in_row = taken = 0
        limited = self._limit < self.plan.quota
        for cells, dealt in stretches(self._recipe, self.plan):
            number = cells[dealt[0]].row
            if number != last:
                if last is not None:
                    self._pass(last)
                last, in_row = number, 0
                names, counts = [], []
            row = self._rows.setdefault(number, Row())
            for cell in cells[len(names) :]:
                names.append(CellNames(self._recipe, self.plan, cell.labels))
                counts.append(0)
            reported = set[int]()
            for index in dealt:
                ordinal = counts[index]
                counts[index] += 1
                position += 1
                in_row += 1
                if in_row > self._per_row or taken >= self._limit:
                    continue
                taken += 1
                if limited:
                    row.wanted[cells[index].group] += 1
                if not self.followers and completed.has(names[index][ordinal]):
                    # All that is told of it below comes to this: it is done, and nobody asks which.
                    counters.completed += 1
                    counters.in_log += 1
                    if index not in reported:
                        reported.add(index)
                        self._stuck.completed(cells[index].group)
                    continue
                slot = Slot(position - 1, cells[index], ordinal)
                request = self._request(slot, (0, slot.position, slot.cell.labels))
                if self._is_open(request):
                    yield request
            # Asked for once the row is through, and its last stretch has them all.
            row.planned.clear()
            for cell, count in zip(cells, counts, strict=True):
                row.planned[cell.group] += count
            if not limited:
                row.wanted = row.planned
        if last is not None:
            self._pass(last)
        self.deduplicator.seal()
        self._judge()
        self._dealt = True
        self._tell_if_through()

    def replacements(self) -> Iterator[SampleRequest]:
        """The samples that take the place of lost ones and can be opened by now."""
        while self._due:
            cell = self._due.popleft()
            row, group = self._rows[cell.row], cell.group
            request: SampleRequest | None
            if self._closing or self._lost_too_much(row, group):
                request = self._further(cell, row)
            elif self.patient and row.spares[group] > self._finished.reach(group):
                # What is composed is refused without a call, and so no log lacks an answer to it.
                request = None
            else:
                request = self._spare(cell, row.spares[group])
            if request is None:
                self._give_up(cell, row)
                continue
            row.spares[group] += 1
            if self._is_open(request):
                yield request

    def _spare(self, cell: Cell, number: int) -> SampleRequest | None:
        """The replacement of this number, from 0, in a cell; None where there are no more."""
        slot = Slot(-1, cell, self._rows[cell.row].planned[cell.group] + number)
        return self._request(slot, (1 + number, cell.row, cell.labels))

    def _further(self, cell: Cell, row: Row) -> SampleRequest | None:
        """The next replacement that the log has finished, where no other will be tried: a run that was
        cut off may have left some out before it."""
        labels = cell.group
        for number in range(row.spares[labels], self._finished.reach(labels) - row.planned[labels] + 1):
            request = self._spare(cell, number)
            if request is not None and self._is_finished(request):
                row.spares[labels] = number
                return request
        return None

    def _lost_too_much(self, row: Row, labels: Labels) -> bool:
        return not self.patient and (
            row.lost[labels] > most_losses(row.wanted[labels], self._recipe.losses)
            or self._stuck.among(labels)
        )

    def _give_up(self, cell: Cell, row: Row) -> None:
        """A sample that a cell lost is not replaced in this run."""
        self._note_shortage(cell.group, row)
        self._leave_short(cell)

    def _leave_short(self, cell: Cell) -> None:
        self._forget(cell.row)
        for follower in self.followers:
            follower.not_replaced(cell.row)
        self._tell_if_through()

    def _note_shortage(self, labels: Labels, row: Row) -> None:
        if not self._closing and not any(labels == known for known, *_ in self._given_up):
            self._given_up.append((labels, row.lost[labels], row.wanted[labels], row.why.get(labels, "")))

    def close(self) -> None:
        """Counts what the log has of the slots that were not come to, and of their replacements."""
        finished = self._finished
        if self._counters.in_log + self._found_lost == len(finished.completed) + len(finished.abandoned):
            return
        self._closing = True
        for source in (self._slots, self.replacements()):
            deque(source, maxlen=0)

    def is_wanted(self, request: SampleRequest) -> bool:
        cell = request.slot.cell
        if self.patient or not self._stuck.among(cell.group):
            return True
        self._note_shortage(cell.group, self._rows[cell.row])
        self.passed_over(request)
        self._leave(cell.row)
        self.deduplicator.lost(request.order)
        self._judge()
        self._tell_if_through()
        return False

    def opened(self) -> None:
        self._counters.open += 1

    def passed_over(self, request: SampleRequest) -> None:
        for follower in self.followers:
            follower.waits(request.slot, request.order, request.name)

    def ended(self, request: SampleRequest, sample: Sample, outcome: Outcome) -> None:
        """Takes note of how a sample ended and judges those whose turn it is."""
        self._counters.open -= 1
        match outcome:
            case Done():
                if self.deduplicator.sits:
                    self.deduplicator.arrived(request.order, sample)
                    self._judge()
                else:
                    self._complete(request.order, sample)
            case Abandoned(step, reason, lasting):
                self._observer.abandoned(sample, step, reason, lasting)
                self._lose(request.order, request.slot.cell, f"{step}: {reason}", sample)
                self.deduplicator.lost(request.order)
                self._judge()
            case _:
                self._observer.pending(sample, outcome.steps)
                for follower in self.followers:
                    follower.waits(request.slot, request.order, request.name)
        self._tell_if_through()

    def _request(self, slot: Slot, order: Order) -> SampleRequest:
        return SampleRequest(slot, sample_id(self._recipe, self.plan, slot.cell.labels, slot.ordinal), order)

    def _is_open(self, request: SampleRequest) -> bool:
        """False for a sample that the log has finished, after counting it."""
        row = self._rows[request.slot.cell.row]
        row.open += 1
        for follower in self.followers:
            follower.expected(request.slot.cell.row, request.order)
        if self._is_completed(request):
            self._counters.completed += 1
            self._counters.in_log += 1
            self._stood(request.slot, request.order, request.name, None)
            return False
        if request.version in self._finished.abandoned and not self._is_tried_again(request):
            self._found_lost += 1
            counts = request.version not in self._finished.unbound
            self._lose(request.order, request.slot.cell, counts=counts)
            return False
        if self._closing:
            row.open -= 1
            self.passed_over(request)
            return False
        self.deduplicator.expect(request.order)
        return True

    def _is_completed(self, request: SampleRequest) -> bool:
        return request.version in self._finished.completed

    def _is_finished(self, request: SampleRequest) -> bool:
        return self._is_completed(request) or request.version in self._finished.abandoned

    def _is_tried_again(self, request: SampleRequest) -> bool:
        """Whether a sample that was lost is tried again, where no other takes its place."""
        return False

    def _judge(self) -> None:
        for order, sample, refusal in self.deduplicator.verdicts():
            if refusal is None:
                self._complete(order, sample)
            else:
                step, why = refusal
                self._observer.refused(sample, step, why, sample.values[step])
                reason = f"{why.check}: {why.reason}"
                self._observer.abandoned(sample, step, reason, True)
                self._lose(order, sample.slot.cell, f"{step}: {reason}", sample)

    def _complete(self, order: Order, sample: Sample) -> None:
        self._counters.completed += 1
        self._observer.completed(sample)
        self._stood(sample.slot, order, sample.sample_id, sample.values)

    def _stood(self, slot: Slot, order: Order, name: str, values: Mapping[str, Any] | None) -> None:
        self._stuck.completed(slot.cell.group)
        for follower in self.followers:
            follower.stood(slot, order, name, values)
        self._leave(slot.cell.row)

    def _lose(
        self, order: Order, cell: Cell, why: str = "", sample: Sample | None = None, *, counts: bool = True
    ) -> None:
        if sample is not None:
            refused = sum(map(len, sample.rejected.values()))
            self._stuck.lost(cell.group, max(refused, 1))
        for follower in self.followers:
            follower.lost(cell.row, order)
        self._counters.abandoned += 1
        row = self._rows[cell.row]
        row.lost[cell.group] += counts
        if why:
            row.why[cell.group] = why
        if row.through:
            self._due.append(cell)
        else:
            row.owed.append(cell)
        row.open -= 1

    def _pass(self, number: int) -> None:
        """A row's slots are all known, so the ordinals of its replacements are too."""
        row = self._rows[number]
        row.through = True
        self._due.extend(row.owed)
        row.owed.clear()
        for follower in self.followers:
            follower.passed(number)
        self._forget(number)

    def _tell_if_through(self) -> None:
        if (
            self._dealt
            and not self._closing
            and not self._due
            and not self._counters.open
            and not self.deduplicator.waiting
        ):
            for follower in self.followers:
                follower.base_through()

    def _leave(self, number: int) -> None:
        self._rows[number].open -= 1
        self._forget(number)

    def _forget(self, number: int) -> None:
        row = self._rows[number]
        if row.through and row.open == 0 and not any(cell.row == number for cell in self._due):
            del self._rows[number]
