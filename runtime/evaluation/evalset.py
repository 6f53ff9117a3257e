"""The samples of an evaluation: one for each row that a model is asked about."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth.base.canonical import digest
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.plan.strata import Cell, Slot
from synth.runtime.cohorts.source import SampleObserver, SampleRequest
from synth.runtime.events.progress import Progress
from synth.runtime.samples.sample import Abandoned, Done, Outcome, Sample
from synth.store.log.past.sample_ids import Finished


@dataclass(frozen=True, slots=True)
class EvalEntry:
    """One row to ask about: its id and what the prompts can print.  A row whose text changed is
    another ask, so nothing of what was said of the old one is taken for the new."""

    row: str
    given: Mapping[str, Any]


def _tokens(steps: Sequence[StepPlan]) -> int:
    return max((step.sampling.max_tokens or 0 for step in steps), default=0)


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Steps, and the rows that they are put about."""

    cohort: CohortPlan
    entries: tuple[EvalEntry, ...]

    @classmethod
    def of(cls, name: str, steps: Sequence[StepPlan], entries: Iterable[EvalEntry]) -> EvalSet:
        """An evaluation set that asks about each row once."""
        found = tuple({entry.row: entry for entry in entries}.values())
        return cls(CohortPlan(name=name, quota=len(found), times=len(found), steps=tuple(steps)), found)

    def merged(self, other: EvalSet) -> EvalSet:
        """This set, about the rows of another of the same name as well; what may be said at most is
        the more of the two."""
        steps = max(self.cohort.steps, other.cohort.steps, key=_tokens)
        return EvalSet.of(self.name, steps, (*self.entries, *other.entries))

    def first(self, limit: int | None) -> EvalSet:
        """The set about so many rows at most: the same ones for every set, and some more when the
        limit grows."""
        if limit is None or len(self.entries) <= limit:
            return self
        chosen = sorted(self.entries, key=lambda entry: digest(entry.row))[:limit]
        return EvalSet.of(self.name, self.cohort.steps, chosen)

    @property
    def name(self) -> str:
        return self.cohort.name

    def named(self, plan: Plan) -> dict[str, EvalEntry]:
        """The asks by their names in the log, 16 hex digits each."""
        return {
            digest([plan.recipe, self.name, entry.row, entry.given])[:16]: entry for entry in self.entries
        }


class EvalSource:
    """Asks about each row once.  What fails for good is left unanswered; nothing replaces it.

    What is `outdated` is asked again, as far as the answers can be others now.
    """

    held = 0

    def __init__(
        self,
        plan: Plan,
        evalset: EvalSet,
        finished: Finished,
        outdated: Container[str],
        observer: SampleObserver,
        progress: Progress,
    ) -> None:
        self.plan = plan.cohort(evalset.name)
        self._entries = evalset.named(plan)
        self._finished = finished
        self._outdated = outdated
        self._observer = observer
        self._counters = progress.cohort(self.plan)
        self._rows = self._requests()

    def requests(self) -> Iterator[SampleRequest]:
        return self._rows

    def _requests(self) -> Iterator[SampleRequest]:
        cell = Cell(0, (), ())
        for position, (name, entry) in enumerate(self._entries.items()):
            current = name not in self._outdated
            if current and name in self._finished.completed:
                self._counters.completed += 1
                self._counters.in_log += 1
            elif current and name in self._finished.abandoned and name not in self._finished.unbound:
                self._lose()
            else:
                yield SampleRequest(
                    Slot(position, cell, position), name, (0, position, ()), given=entry.given
                )

    def replacements(self) -> Iterator[SampleRequest]:
        return iter(())

    def is_wanted(self, request: SampleRequest) -> bool:
        return True

    def opened(self) -> None:
        self._counters.open += 1

    def passed_over(self, request: SampleRequest) -> None:
        """It is asked about in the next run."""

    def close(self) -> None:
        deque(self._rows, maxlen=0)

    def ended(self, request: SampleRequest, sample: Sample, outcome: Outcome) -> None:
        self._counters.open -= 1
        match outcome:
            case Done():
                self._counters.completed += 1
                self._observer.completed(sample)
            case Abandoned(step, reason, lasting):
                self._observer.abandoned(sample, step, reason, lasting)
                self._lose()
            case _:
                self._observer.pending(sample, outcome.steps)

    def shortage(self) -> str | None:
        """An unanswered ask counts against the model that did not answer, not against the run."""
        return None

    def _lose(self) -> None:
        self._counters.abandoned += 1
        self._counters.quota -= 1
