"""Sets of samples, as their ids, and those of a lineage that are finished."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from synth.compiler.plan.strata import Labels, sample_version


class SampleIds:
    """A set of sample ids in eight bytes each, so that millions fit."""

    def __init__(self, sorted_numbers: array[int] | None = None) -> None:
        self._numbers = sorted_numbers if sorted_numbers is not None else array("Q")

    def __contains__(self, sample_id: str) -> bool:
        return self.has(int(sample_id, 16))

    def has(self, number: int) -> bool:
        """Whether the sample is among them whose id is this number in hex."""
        at = bisect_left(self._numbers, number)
        return at < len(self._numbers) and self._numbers[at] == number

    def covers(self, name: str, inputs: str) -> bool:
        """Whether a sample that is made of certain inputs is among them, by its version or by its name
        alone."""
        return name in self or (bool(inputs) and sample_version(name, inputs) in self)

    def __len__(self) -> int:
        return len(self._numbers)

    @classmethod
    def of(cls, names: Iterable[str]) -> SampleIds:
        return cls(array("Q", sorted(int(name, 16) for name in names)))

    def joined(self, other: SampleIds) -> SampleIds:
        """These and others."""
        return SampleIds(array("Q", sorted({*self._numbers, *other._numbers})))

    def without(self, other: SampleIds) -> SampleIds:
        return SampleIds(array("Q", (number for number in self._numbers if not other.has(number))))


@dataclass(slots=True)
class Finished:
    """The samples of one lineage that need nothing more.  The `forgotten` ones are among them: the log
    has nothing of them, and they are not made again.

    The loss of the `unbound` among the abandoned does not bind this run: a service failed, nothing
    passed in the run that lost them, or it ran with other settings.  `ordinals` has the last
    ordinal of each cell, by its labels in order; `values` gives those of a completed one's steps, by its
    name and inputs.
    """

    completed: SampleIds = field(default_factory=SampleIds)
    abandoned: SampleIds = field(default_factory=SampleIds)
    forgotten: SampleIds = field(default_factory=SampleIds)
    unbound: SampleIds = field(default_factory=SampleIds)
    ordinals: Callable[[], Mapping[Labels, int]] = dict
    values: Callable[[str, str], Mapping[str, Any]] = lambda name, inputs: {}

    def has(self, sample_id: str) -> bool:
        return sample_id in self.completed or sample_id in self.abandoned

    def reach(self, labels: Labels) -> int:
        """The last ordinal of a cell that is among them, or -1."""
        if self._reach is None:
            self._reach = self.ordinals()
        return self._reach.get(tuple(sorted(labels)), -1)

    _reach: Mapping[Labels, int] | None = field(default=None, init=False)
