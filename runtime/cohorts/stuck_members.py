"""Members of axes and draws with which no sample is ever completed.

A check may ask of one member what its model never does, while the others pass: then the step is not
stuck, and each of the member's cells would be tried until it has lost all that it may.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from synth.compiler.plan.strata import Labels
from synth.runtime.calls.breaker import MOST_JUDGED

# One sample's attempts are of one prompt, and say little of the others.
_SAMPLES = 5


class StuckMembers:
    """Counts by member what became of a cohort's samples.  Losses that the log had decide nothing."""

    def __init__(self) -> None:
        self._completed: set[tuple[str, str]] = set()
        self._lost: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()

    def completed(self, labels: Labels) -> None:
        self._completed.update(labels)

    def lost(self, labels: Labels, refused: int) -> None:
        """A sample was lost after so many refused attempts."""
        for member in labels:
            self._lost[member] += 1
            self._refused[member] += refused

    def among(self, labels: Iterable[tuple[str, str]]) -> bool:
        """Whether no further sample with these labels is worth a call."""
        return bool(self._lost) and any(
            self._refused[member] >= MOST_JUDGED
            and self._lost[member] >= _SAMPLES
            and member not in self._completed
            for member in labels
        )
