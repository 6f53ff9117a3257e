"""Checks over many samples, judged in one fixed order whoever finishes first.

The order of a cohort: its slots first, in their order; then replacements, by how many came
before them in their cell.  A sample is judged once all before it are judged or lost, so the
verdicts are those of a judgement at the end of each round, yet no engine waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import CheckPlan, StepPlan
from synth.compiler.plan.strata import Labels
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.compiler.stdlib.verdict import parts_of
from synth.runtime.calls.validate import Rejected
from synth.runtime.samples.sample import Sample

# (round, place in the round, labels): slots are round 0, the k-th replacement of a cell is
# in round k + 1.
Order = tuple[int, int, Labels]


class Deduplicator:
    """Judges the set-wide checks of one cohort.  Without any it passes samples straight on.

    `held` slots' samples are at their end, but not yet judged: one before them is under way.
    """

    def __init__(self, cohort: CohortPlan) -> None:
        self._cohort = cohort
        self._indexes = [
            (step, check, NearDuplicates(float(str(check.arguments["similarity"]))))
            for step in cohort.steps
            for check in step.checks
            if check.name == "distinct"
        ]
        self._expected: list[Order] = []
        self._arrived: dict[Order, Sample | None] = {}
        self._sealed = False
        self.held = 0

    @property
    def sits(self) -> bool:
        """Whether there is anything to judge."""
        return bool(self._indexes)

    @property
    def waiting(self) -> int:
        """Samples that are finished and not yet judged."""
        return sum(1 for sample in self._arrived.values() if sample is not None)

    def remember(self, sample_id: str, values: dict[str, object]) -> None:
        """Takes a sample that an earlier run completed: later ones must differ from it."""
        for step, check, index in self._indexes:
            for text in _texts(step, check, values[step.name]):
                index.keep(sample_id, text)

    def expect(self, order: Order) -> None:
        """A sample with this place was opened."""
        if self.sits:
            heappush(self._expected, order)

    def seal(self) -> None:
        """All slots are opened: replacements may be judged when their turn comes."""
        self._sealed = True

    def lost(self, order: Order) -> None:
        """The sample with this place was abandoned for reasons of its own."""
        if self.sits:
            self._arrived[order] = None
            self.held += order[0] == 0

    def arrived(self, order: Order, sample: Sample) -> None:
        """The sample with this place passed its own checks."""
        self._arrived[order] = sample
        self.held += order[0] == 0

    def verdicts(self) -> list[tuple[Order, Sample, tuple[str, Rejected] | None]]:
        """Judges every sample whose turn has come: each with the step and reason of its refusal,
        or None where it stays."""
        judged: list[tuple[Order, Sample, tuple[str, Rejected] | None]] = []
        while self._expected and self._expected[0] in self._arrived:
            if self._expected[0][0] > 0 and not self._sealed:
                break
            order = heappop(self._expected)
            sample = self._arrived.pop(order)
            self.held -= order[0] == 0
            if sample is not None:
                judged.append((order, sample, self._judge(sample)))
        return judged

    def _judge(self, sample: Sample) -> tuple[str, Rejected] | None:
        for step, check, index in self._indexes:
            for text in _texts(step, check, sample.values[step.name]):
                match = index.find(text)
                if match is not None:
                    name, likeness = match
                    return step.name, Rejected(check.name, f"is {likeness:.0%} like that of sample {name}")
        for step, check, index in self._indexes:
            for text in _texts(step, check, sample.values[step.name]):
                index.keep(sample.sample_id, text)
        return None


def _texts(step: StepPlan, check: CheckPlan, value: Any) -> Iterator[str]:
    """What of a step's value is compared: all that is said, or what lies at the check's path;
    nothing of what conditions left out."""
    if value is None:
        return
    if check.of is None:
        yield step.said(value)
        return
    for part in parts_of(value, check.of):
        yield part if isinstance(part, str) else canonical_json(part)
