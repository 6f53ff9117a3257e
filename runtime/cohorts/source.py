"""What the scheduler asks of who keeps the samples of a cohort, and is told by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Protocol

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.strata import BaseSample, Slot, sample_version
from synth.runtime.cohorts.dedup import Order
from synth.runtime.samples.sample import Outcome, Sample, StepObserver

# A cell is taken to have so many samples more, so that small ones have room for bad luck.
_ROOM = 4


def most_losses(planned: int, percent: float) -> int:
    """How many samples a cell of `planned` slots may lose before it is given up: `percent` of them and
    of four more.  With 1000%, and one answer in five that passes, a cell of one sample is given up
    once in 80,000 times, a larger one more seldom."""
    return ceil((planned + _ROOM) * percent / 100)


def raise_losses(percent: float) -> str:
    """What to do about a quota that is short for samples that were lost."""
    allowed = f"`losses = {percent:g}%` of the recipe block allows no more"
    return f"{allowed}: raise it, or try again with --retry-lost"


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A sample to open, and its place in the jury's order.

    `base` is the sample it is made from, if any.  `given` is what its prompts can print besides.
    """

    slot: Slot
    name: str
    order: Order
    base: BaseSample | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Its name with what it is made of."""
        return sample_version(self.name, self.slot.inputs)


class SampleObserver(StepObserver, Protocol):
    """Is told how each sample ended."""

    def completed(self, sample: Sample) -> None: ...

    def abandoned(self, sample: Sample, step: str, reason: str, lasting: bool) -> None: ...

    def pending(self, sample: Sample, steps: tuple[str, ...]) -> None: ...


class Follower(Protocol):
    """What is made from the samples of a cohort, which tells it of every one: it is `expected`, and then
    it `stood`, was `lost` or `waits` for another run."""

    def expected(self, row: int, order: Order) -> None:
        """A sample with this place is opened, or was finished by an earlier run."""
        ...

    def stood(self, slot: Slot, order: Order, name: str, values: Mapping[str, Any] | None) -> None:
        """A sample is completed; `values` is None when an earlier run completed it."""
        ...

    def waits(self, slot: Slot, order: Order, name: str) -> None:
        """A sample will not be finished by this run."""
        ...

    def lost(self, row: int, order: Order) -> None:
        """A sample is abandoned; its replacement is announced, or it is not replaced."""
        ...

    def not_replaced(self, row: int) -> None:
        """What took the place of a lost sample, or was to, was given up."""
        ...

    def grew(self, row: int) -> None:
        """There is one sample more than was said: a list is longer than one item."""
        ...

    def passed(self, row: int) -> None:
        """All slots of a row of the grid are announced."""
        ...

    def base_through(self) -> None:
        """The cohort has no sample open or to be opened."""
        ...


class SampleSource(Protocol):
    """Which samples of one cohort to open.  No awaiting here: the scheduler asks what to open
    and tells how it ended."""

    plan: CohortPlan

    @property
    def held(self) -> int:
        """Samples that are at their end and wait in memory for one before them."""
        ...

    def requests(self) -> Iterator[SampleRequest]:
        """The slots that need a sample, in order."""
        ...

    def replacements(self) -> Iterator[SampleRequest]:
        """What else can be opened by now."""
        ...

    def is_wanted(self, request: SampleRequest) -> bool:
        """Whether a sample is still to be opened, now that there is room for it."""
        ...

    def opened(self) -> None: ...

    def passed_over(self, request: SampleRequest) -> None:
        """It was not opened, and will not be in this run."""
        ...

    def ended(self, request: SampleRequest, sample: Sample, outcome: Outcome) -> None: ...

    def close(self) -> None:
        """Nothing more will be opened: counts what the log has of the rest of the quota."""
        ...

    def shortage(self) -> str | None:
        """What can never be had of the quota, and what to do, as a clause, or None."""
        ...
