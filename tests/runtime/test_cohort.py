"""The books of a cohort: losses, replacements and when a cell is given up."""

from __future__ import annotations

from array import array

import pytest

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.plan.strata import sample_id
from synth.runtime.cohorts.conversation import Cohort
from synth.runtime.cohorts.source import SampleRequest, most_losses, raise_losses
from synth.runtime.events.progress import Progress
from synth.runtime.samples.sample import Abandoned, Done, Sample
from synth.store.log.past.sample_ids import Finished, SampleIds

COHORT = CohortPlan(name="c", quota=1, times=1, steps=(StepPlan(name="s", role="user", value=("x",)),))
PLAN = Plan(edition=1, recipe="books", seed=1, cohorts=(COHORT,))


class Silent:
    """A ledger that remembers who stood."""

    def __init__(self) -> None:
        self.stood: list[int] = []

    def accepted(self, *_: object) -> None: ...

    def rejected(self, *_: object) -> None: ...

    def unpicked(self, *_: object) -> None: ...

    def refused(self, *_: object) -> None: ...

    def pending(self, *_: object) -> None: ...

    def abandoned(self, *_: object) -> None: ...

    def completed(self, sample: Sample) -> None:
        self.stood.append(sample.slot.ordinal)


def ids(ordinals: range) -> SampleIds:
    numbers = sorted(int(sample_id(PLAN, COHORT, (), ordinal), 16) for ordinal in ordinals)
    return SampleIds(array("Q", numbers))


def cohort(finished: Finished, observer: Silent) -> Cohort:
    return Cohort(PLAN, COHORT, finished, observer, Progress(PLAN, "run"), None)


def opened(sample_sources: Cohort) -> list[SampleRequest]:
    return [*sample_sources.requests(), *sample_sources.replacements()]


@pytest.mark.parametrize("lasting", [True, False])
def test_what_a_service_lost_does_not_use_up_a_cell_in_later_runs(lasting: bool) -> None:
    lost = range(most_losses(1, PLAN.losses) + 5)
    finished = Finished(
        abandoned=ids(lost),
        unbound=ids(range(0) if lasting else lost),
        ordinals=lambda: {(): len(lost) - 1},
    )
    sample_sources = cohort(finished, Silent())
    found = opened(sample_sources)
    if lasting:
        assert found == []
        assert sample_sources.shortage() == (
            f"`c` gave up on its samples after losing {len(lost)} for 1 to have; {raise_losses(PLAN.losses)}"
        )
    else:
        assert [each.slot.ordinal for each in found] == [len(lost)]
        assert sample_sources.shortage() is None


def test_a_cell_is_tried_in_order_until_it_stands_or_is_given_up() -> None:
    observer = Silent()
    sample_sources = cohort(Finished(), observer)
    tried = []
    pending = opened(sample_sources)
    while pending:
        request = pending.pop()
        tried.append(request.slot.ordinal)
        sample_sources.opened()
        sample = Sample(COHORT, request.slot, request.name, 0)
        sample_sources.ended(request, sample, Abandoned("s", "why") if len(tried) < 4 else Done())
        pending += sample_sources.replacements()
    assert tried == [0, 1, 2, 3]
    assert observer.stood == [3]
    assert sample_sources.shortage() is None
