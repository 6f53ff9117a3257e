"""The samples of a preference that generates: which samples of its conversation get a pair.

Pairs are shared equally over the rows of the conversation's grid (`synth.compiler.plan.allot.allot`).
Within a row, samples are taken in the order they are judged in: its slots first, then
replacements.  A pair that is lost is replaced by the row's next sample, and once the
conversation is through, by any row's.  A sample is taken only when all before it in its row are
known to stand or to be lost, so which samples get a pair never depends on who finished first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from synth.compiler.plan.allot import allot
from synth.compiler.plan.model import CohortPlan, Plan, PreferencePlan
from synth.compiler.plan.strata import BaseSample, Slot, pair_id, sample_version
from synth.compiler.plan.tables.environment import environment
from synth.runtime.cohorts.dedup import Order
from synth.runtime.cohorts.source import SampleObserver, SampleRequest, most_losses, raise_losses
from synth.runtime.events.progress import Progress
from synth.runtime.samples.sample import Abandoned, Done, Outcome, Sample
from synth.store.log.past.sample_ids import Finished, SampleIds


@dataclass(slots=True)
class _Candidate:
    """A sample that stands.  `values` is None when they are in the log, or not known yet."""

    slot: Slot
    name: str
    values: Mapping[str, Any] | None
    pending: bool = False
    again: bool = False


@dataclass(slots=True)
class _Row:
    """`standing` pairs are completed, open or to be opened; `awaited` is how many of the
    conversation's losses here have no replacement announced yet; `room` is how many more
    samples are remembered, so that memory does not grow with the conversation's quota; `lost` are
    those whose loss does not bind this run."""

    share: int
    room: int
    standing: int = 0
    awaited: int = 0
    through: bool = False
    expected: list[Order] = field(default_factory=list)
    arrived: dict[Order, _Candidate | None] = field(default_factory=dict)
    spares: deque[_Candidate] = field(default_factory=deque)
    lost: deque[_Candidate] = field(default_factory=deque)


class Pairs:
    """The pairs of one preference.  `sizes` are how many samples each row of the base has, `gone` those
    of them that the log has forgotten, of which no pair can be made any more.

    The base cohort tells it of every sample (`expected`, then `stood`, `lost` or `waits`).
    """

    held = 0

    def __init__(
        self,
        plan: Plan,
        preference: PreferencePlan,
        cohort: CohortPlan,
        sizes: Sequence[int],
        finished: Finished,
        observer: SampleObserver,
        progress: Progress,
        limit: int | None,
        gone: SampleIds | None = None,
    ) -> None:
        self.plan = cohort
        self._base_plan = plan.cohort(preference.source)
        self._gone = gone or SampleIds()
        self._recipe = plan
        self._finished = finished
        self._observer = observer
        self._counters = progress.cohort(cohort)
        self._all = preference.quota is None
        quota = cohort.quota if limit is None else min(limit, cohort.quota)
        table = self._base_plan.rows
        if table is not None and table.kind == "conversation" and table.lists:
            # How long lists are is not known yet, and samples may be more than one for each parent.
            sizes = sizes if self._all else [quota] * len(sizes)
        shares = tuple(sizes) if self._all else allot(quota, sizes)
        self._rows = {
            number: _Row(share, share + most_losses(share, plan.losses))
            for number, share in enumerate(shares)
        }
        self._quota = self._counters.quota = sum(shares)
        self._due: deque[SampleRequest] = deque()
        self._base_through = False

    def requests(self) -> Iterator[SampleRequest]:
        """None of its own: pairs follow the samples they are made from."""
        return iter(())

    def replacements(self) -> Iterator[SampleRequest]:
        """The pairs that can be opened by now."""
        self._spill()
        while self._due:
            yield self._due.popleft()

    def is_wanted(self, request: SampleRequest) -> bool:
        return True

    def opened(self) -> None:
        self._counters.open += 1

    def passed_over(self, request: SampleRequest) -> None:
        """A pair that is owed stays owed."""

    def close(self) -> None:
        """The conversation tells of what the log has."""

    def ended(self, request: SampleRequest, sample: Sample, outcome: Outcome) -> None:
        """Takes note of how a pair ended."""
        self._counters.open -= 1
        match outcome:
            case Done():
                self._counters.completed += 1
                self._observer.completed(sample)
            case Abandoned(step, reason, lasting):
                self._observer.abandoned(sample, step, reason, lasting)
                self._lose(self._rows[request.slot.cell.row])
            case _:
                self._observer.pending(sample, outcome.steps)

    @property
    def unopened(self) -> int:
        """Pairs that are owed and have no sample yet."""
        return self._quota - sum(row.standing for row in self._rows.values())

    def shortage(self) -> str | None:
        """What is missing once the conversation is through, as a clause."""
        missing = self.unopened
        if self._all or not self._base_through or missing <= 0:
            return None
        return (
            f"`{self.plan.name}` has {self._quota - missing} of {self._quota} pairs, after losing "
            f"{self._counters.abandoned} from other samples of `{self._base_plan.name}`; "
            f"{raise_losses(self._recipe.losses)}"
        )

    # What the base cohort tells.

    def expected(self, row: int, order: Order) -> None:
        """A sample with this place is opened, or was finished by an earlier run."""
        if order[0] > 0:
            self._rows[row].awaited -= 1
        heappush(self._rows[row].expected, order)

    def stood(self, slot: Slot, order: Order, name: str, values: Mapping[str, Any] | None) -> None:
        """A sample is completed; `values` is None when an earlier run completed it."""
        self._arrive(slot.cell.row, order, _Candidate(slot, name, values))

    def waits(self, slot: Slot, order: Order, name: str) -> None:
        """A sample will not be finished by this run."""
        self._arrive(slot.cell.row, order, _Candidate(slot, name, None, pending=True))

    def lost(self, row: int, order: Order) -> None:
        """A sample is abandoned; its replacement is announced, or it is not replaced."""
        self._rows[row].awaited += 1
        self._arrive(row, order, None)

    def not_replaced(self, row: int) -> None:
        """The cell of a lost sample was given up."""
        self._rows[row].awaited -= 1
        if self._all and self._base_plan.each:
            # The sample is lost for good, and so is what would be made from it.
            self._quota -= 1
            self._counters.quota -= 1
        self._advance(self._rows[row])

    def grew(self, row: int) -> None:
        """There is one sample more than was said."""
        if self._all:
            self._rows[row].share += 1
            self._rows[row].room += 1
            self._quota += 1
            self._counters.quota += 1

    def passed(self, row: int) -> None:
        """All slots of a row are announced."""
        self._rows[row].through = True
        self._advance(self._rows[row])

    def base_through(self) -> None:
        """The conversation has no sample open or to be opened."""
        self._base_through = True

    def _arrive(self, row: int, order: Order, candidate: _Candidate | None) -> None:
        self._rows[row].arrived[order] = candidate
        self._advance(self._rows[row])

    def _advance(self, row: _Row) -> None:
        while row.expected and row.expected[0] in row.arrived:
            if row.expected[0][0] > 0 and (row.awaited or not row.through):
                break
            candidate = row.arrived.pop(heappop(row.expected))
            if candidate is None or row.room == 0:
                continue
            row.room -= 1
            if row.standing < row.share:
                self._take(row, candidate)
            else:
                # Its values can be had from the log again.
                candidate.values = None
                row.spares.append(candidate)

    def _take(self, row: _Row, candidate: _Candidate) -> None:
        row.standing += 1
        name = pair_id(self._recipe, self.plan, candidate.name)
        version = sample_version(name, candidate.slot.inputs)
        finished = self._finished
        if version in finished.completed:
            self._counters.completed += 1
            self._counters.in_log += 1
        elif version in finished.abandoned and version not in finished.unbound:
            self._lose(row)
        elif version in finished.abandoned and not self._all and not candidate.again:
            # Others may have taken its place by now; it is tried again where they do not reach.
            candidate.again = True
            row.lost.append(candidate)
            self._lose(row)
        elif self._gone.covers(candidate.name, candidate.slot.inputs):
            self._lose(row)
        elif candidate.pending:
            asked = tuple(step.name for step in self.plan.steps)
            self._observer.pending(Sample(self.plan, candidate.slot, name, 0, of=candidate.name), asked)
        else:
            slot = candidate.slot
            order: Order = (0, slot.position, slot.cell.labels)
            base = BaseSample(
                cohort=self._base_plan.name,
                name=candidate.name,
                inputs=slot.inputs,
                shown_as=self._base_plan.name,
                outside=environment(self._base_plan, slot),
                values=candidate.values,
                base=slot.base,
            )
            self._due.append(SampleRequest(slot, name, order, base))

    def _lose(self, row: _Row) -> None:
        self._counters.abandoned += 1
        row.standing -= 1
        if self._all:
            self._quota -= 1
            self._counters.quota -= 1
            row.share -= 1
        elif row.spares:
            self._take(row, row.spares.popleft())

    def _spill(self) -> None:
        """What some rows cannot give, once nothing else can come, comes from the others' spares."""
        if not self._base_through or self._due or self._counters.open:
            return
        for row in self._rows.values():
            while row.spares and self.unopened > 0:
                self._take(row, row.spares.popleft())
        for row in self._rows.values():
            while row.lost and self.unopened > 0:
                self._counters.abandoned -= 1
                self._take(row, row.lost.popleft())
