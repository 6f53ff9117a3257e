"""One sample under way, how it can end, and who is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.plan.strata import Slot
from synth.runtime.calls.attempt import Answer, Place
from synth.runtime.calls.validate import Rejected
from synth.store.log.payloads import MarkedAttempt, RejectedAttempt


@dataclass(slots=True)
class Sample:
    """A sample under way.  `values` holds what was accepted, None for what conditions left out, and
    `thoughts` the thinking before it; `cut` names the steps whose text was kept although it was cut at
    the limit of tokens; `calls` the seq of each call; `rejected` each step's refused attempts, and
    `attempts` those of steps with candidates or a rubric that stood or were marked.

    `given` is what its templates can print besides the cell, and `of` the sample it is made
    from, when it is made from one.
    """

    cohort: CohortPlan
    slot: Slot
    sample_id: str
    priority: int
    given: Mapping[str, Any] = field(default_factory=dict)
    of: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    thoughts: dict[str, str] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, list[RejectedAttempt]] = field(default_factory=dict)
    attempts: dict[str, list[MarkedAttempt]] = field(default_factory=dict)

    @property
    def pending(self) -> Pending:
        """How it ends where it stands."""
        return Pending(tuple(step.name for step in self.cohort.steps if step.name not in self.values))

    def refuse(self, step: str, place: Place, call: int | None, why: Rejected) -> None:
        """Takes note of a refused attempt."""
        refused = RejectedAttempt(attempt=place.round, call=call, check=why.check, reason=why.reason)
        if place.candidate:
            refused["candidate"] = place.candidate
        self.rejected.setdefault(step, []).append(refused)

    def refuse_accepted(self, step: str, why: Rejected) -> None:
        """Takes note that a step's accepted value is refused after all."""
        place = Place(len(self.rejected.get(step, ())))
        for attempt in self.attempts.get(step, ()):
            if attempt.pop("picked", False):
                attempt["stood"] = False
                place = Place(attempt["attempt"], attempt.get("candidate", 0))
        # Otherwise its attempts were refused one after the other, and this is the last.
        self.refuse(step, place, self.calls.get(step), why)


@dataclass(frozen=True, slots=True)
class Done:
    """Every step was accepted."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A step failed for good; another sample takes this one's place."""

    step: str
    reason: str
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Pending:
    """The run stopped, or the log has no answer, before the steps named were accepted."""

    steps: tuple[str, ...]


Outcome = Done | Abandoned | Pending


class StepObserver(Protocol):
    """Is told of every verdict."""

    def accepted(self, sample: Sample, step: StepPlan, place: Place, answer: Answer) -> None: ...

    def rejected(
        self, sample: Sample, step: StepPlan, place: Place, answer: Answer, why: Rejected
    ) -> None: ...

    def unpicked(self, step: StepPlan) -> None:
        """A candidate stands, and another one is the value."""
        ...

    def refused(self, sample: Sample, step: str, why: Rejected, value: Any) -> None:
        """A set-wide check refused a value that had passed its own, or a composed one did not hold."""
        ...
