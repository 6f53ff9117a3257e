"""The samples of a conversation that is over sets alone, or over nothing, and draws from tables.

They are counted and replaced by their members of sets, as without.  What is drawn from a table is each
sample's own, so what takes the place of a lost one draws something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Cell, Labels
from synth.compiler.plan.tables.dealt import DealtSlots
from synth.runtime.cohorts.conversation import Cohort, Row
from synth.runtime.cohorts.source import SampleObserver, SampleRequest
from synth.runtime.events.progress import Progress
from synth.store.log.past.sample_ids import Finished


class DealtCohort(Cohort):
    """Such a conversation; `slots` are those of its samples."""

    def __init__(
        self,
        plan: Plan,
        cohort: CohortPlan,
        slots: DealtSlots,
        finished: Finished,
        observer: SampleObserver,
        progress: Progress,
        limit: int | None,
    ) -> None:
        self._dealt_slots = slots
        names = frozenset(draw.name for draw in cohort.dealt)
        within = finished.ordinals

        def ordinals() -> Mapping[Labels, int]:
            """The last ordinal of each group, whatever its samples drew."""
            ordinal_of: dict[Labels, int] = {}
            for labels, last in within().items():
                group = tuple(label for label in labels if label[0] not in names)
                ordinal_of[group] = max(last, ordinal_of.get(group, -1))
            return ordinal_of

        counted = replace(finished, ordinals=ordinals)
        super().__init__(plan, cohort, counted, observer, progress, limit)

    def _requests(self) -> Iterator[SampleRequest]:
        last: int | None = None
        in_row = taken = 0
        for slot in self._dealt_slots.slots():
            number, group = slot.cell.row, slot.cell.group
            if number != last:
                if last is not None:
                    self._pass(last)
                last, in_row = number, 0
            row = self._rows.setdefault(number, Row())
            row.planned[group] += 1
            in_row += 1
            if in_row > self._per_row or taken >= self._limit:
                continue
            taken += 1
            row.wanted[group] += 1
            request = self._request(slot, (0, slot.position, slot.cell.labels))
            if self._is_open(request):
                yield request
        if last is not None:
            self._pass(last)
        self.deduplicator.seal()
        self._judge()
        self._dealt = True
        self._tell_if_through()

    def _spare(self, cell: Cell, number: int) -> SampleRequest | None:
        row = self._rows[cell.row]
        members = cell.members[len(cell.labels) - len(cell.group) :]
        ordinal = row.planned[cell.group] + number
        slot = self._dealt_slots.spare(cell.row, cell.group, members, ordinal, number)
        return self._request(slot, (1 + number, cell.row, slot.cell.labels))

    def _is_completed(self, request: SampleRequest) -> bool:
        # Of some that are forgotten no more than the name is known.
        return super()._is_completed(request) or request.name in self._finished.forgotten
