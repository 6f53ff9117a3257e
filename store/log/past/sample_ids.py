"""Sets of samples, as their ids."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable


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
