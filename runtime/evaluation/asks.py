"""The books of an evaluation: one sample for each row that a model is asked about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compiler.plan import CohortPlan, digest
from compiler.strata import Cell, Slot
from runtime.books import Ledger, Opening
from runtime.progress import Progress
from runtime.sample import Abandoned, Done, Outcome, Sample
from store.history import Finished


@dataclass(frozen=True, slots=True)
class Ask:
    """One row to ask about: its id and what the prompts can print.  A row whose text changed is
    another ask, so nothing of what was said of the old one is taken for the new."""

    row: str
    given: Mapping[str, Any]

    def name(self, recipe: str, cohort: str) -> str:
        """16 hex digits that name the ask in the log."""
        return digest([recipe, cohort, self.row, self.given])[:16]


class Asks:
    """Asks each row once.  What fails for good is left unanswered; nothing replaces it."""

    base: str | None = None

    def __init__(
        self,
        recipe: str,
        cohort: CohortPlan,
        asks: Sequence[Ask],
        finished: Finished,
        ledger: Ledger,
        progress: Progress,
    ) -> None:
        self.plan = cohort
        self._recipe = recipe
        self._asks = asks
        self._finished = finished
        self._ledger = ledger
        self._counters = progress.cohort(cohort)

    def openings(self) -> Iterator[Opening]:
        cell = Cell(0, (), ())
        for position, ask in enumerate(self._asks):
            name = ask.name(self._recipe, self.plan.name)
            if name in self._finished.completed:
                self._counters.completed += 1
                self._counters.found += 1
            elif name in self._finished.abandoned and name not in self._finished.unlucky:
                self._lose()
            else:
                yield Opening(Slot(position, cell, position), name, (0, position, ()), given=ask.given)

    def replacements(self) -> Iterator[Opening]:
        return iter(())

    def opened(self) -> None:
        self._counters.open += 1

    def ended(self, opening: Opening, sample: Sample, outcome: Outcome) -> None:
        self._counters.open -= 1
        match outcome:
            case Done():
                self._counters.completed += 1
                self._ledger.completed(sample)
            case Abandoned(step, reason, lasting):
                self._ledger.abandoned(sample, step, reason, lasting)
                self._lose()
            case _:
                self._ledger.pending(sample, outcome.steps)

    def shortage(self) -> str | None:
        """An unanswered ask counts against the model that did not answer, not against the run."""
        return None

    def _lose(self) -> None:
        self._counters.abandoned += 1
        self._counters.quota -= 1
