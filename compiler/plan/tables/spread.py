"""Draws of numbers and days in a range: what is dealt, and which value a sample has.

Up to 64 values are dealt as those of a list are.  Of more, or of a normal distribution, 64 parts are
dealt, and where in its part a sample's value lies follows from what names the sample.
"""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from math import floor, log10
from statistics import NormalDist
from typing import Literal

from synth.base.canonical import Frozen, canonical_json

PARTS = 64
# So many bits say where in a part a value lies: with the part's number they fit a float exactly.
_BITS = 40


class SpreadPlan(Frozen):
    """`uniform`: the numbers (low + i) / 10**digits for i from 0 to count - 1, each as likely; `dates`: the
    days after `low`, a proleptic Gregorian ordinal; `normal`: numbers of so many digits around `mean`.
    `text` is how a recipe writes it."""

    kind: Literal["uniform", "dates", "normal"]
    text: str
    low: int = 0
    count: int = 0
    digits: int = 0
    mean: float = 0
    sd: float = 1

    @property
    def in_parts(self) -> bool:
        """Whether parts are dealt, and not values."""
        return self.kind == "normal" or self.count > PARTS

    @property
    def labels(self) -> list[str]:
        """What each value, or each part, is called."""
        if not self.in_parts:
            return [str(self._at(index)) for index in range(self.count)]
        if self.kind == "normal":
            bounds = [f"{self._quantile(part / PARTS):.{self._sharp}f}" for part in range(1, PARTS)]
            return [f"{a}..{b}" for a, b in zip(["", *bounds], [*bounds, ""], strict=True)]
        ends = ((part * self.count // PARTS, ((part + 1) * self.count - 1) // PARTS) for part in range(PARTS))
        return [f"{self._at(first)}..{self._at(last)}" for first, last in ends]

    @property
    def examples(self) -> list[str | int | float]:
        """Each value, or one in the middle of each part."""
        if not self.in_parts:
            return [self._at(index) for index in range(self.count)]
        return [self._in(part, 1 << (_BITS - 1)) for part in range(PARTS)]

    def value(self, part: int, sample: tuple[object, ...]) -> str | int | float:
        """The value of a sample in one of the parts; what names the sample names the value."""
        key = canonical_json(sample).encode("utf-8", "surrogatepass")
        return self._in(part, int.from_bytes(sha256(key).digest()[:8], "big") >> (64 - _BITS))

    def _in(self, part: int, place: int) -> str | int | float:
        """The value at a place in a part, of 2**40 places."""
        if self.kind != "normal":
            return self._at(((part << _BITS) + place) * self.count // (PARTS << _BITS))
        value = self._quantile(((part << _BITS) + place + 0.5) / (PARTS << _BITS))
        # No number is written `-0.0`.
        return (round(value, self.digits) + 0.0) if self.digits else round(value)

    def _at(self, index: int) -> str | int | float:
        if self.kind == "dates":
            return date.fromordinal(self.low + index).isoformat()
        scaled = self.low + index
        return scaled / 10**self.digits if self.digits else scaled

    def _quantile(self, probability: float) -> float:
        return NormalDist(self.mean, self.sd).inv_cdf(probability)

    @property
    def _sharp(self) -> int:
        """Digits that tell the bounds of parts apart: the narrowest part is 0.039 of the deviation."""
        return max(0, 3 - floor(log10(self.sd)))
