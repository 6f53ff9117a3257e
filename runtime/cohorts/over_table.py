"""What the samples of a conversation over a table have in common, be it rows or another conversation's
samples: they are counted by combinations of sets, and told apart by what they are made of."""

from __future__ import annotations

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Cell
from synth.compiler.plan.tables.row_deals import cells_of
from synth.runtime.cohorts.conversation import Cohort, Row
from synth.runtime.cohorts.source import SampleObserver, SampleRequest
from synth.runtime.events.progress import Progress
from synth.store.log.past.sample_ids import Finished


class TableCohort(Cohort):
    """A conversation over a table that is to have `wanted` samples, or as many as `limit` lets through."""

    def __init__(
        self,
        plan: Plan,
        cohort: CohortPlan,
        wanted: int,
        finished: Finished,
        observer: SampleObserver,
        progress: Progress,
        limit: int | None,
    ) -> None:
        super().__init__(plan, cohort, finished, observer, progress, limit)
        self._limit = wanted if limit is None else min(limit, wanted)
        self._counters.quota = self._limit
        self._counters.limited = self._limit < wanted
        self._grid = cells_of(cohort)
        self._rows = {number: Row() for number in range(self._grid)}

    def _not_replaced(self, cell: Cell) -> None:
        """Takes note that nothing takes the place of a sample that was just lost."""
        row = self._rows[cell.row]
        (self._due if row.through else row.owed).pop()
        for follower in self.followers:
            follower.not_replaced(cell.row)

    def _is_completed(self, request: SampleRequest) -> bool:
        # Of some that are forgotten no more than the name is known.
        return super()._is_completed(request) or request.name in self._finished.forgotten

    def _forget(self, number: int) -> None:
        """There are as few rows of the grid as sets have combinations, and spares are counted by them."""
