"""What a measure says of each answer, and what it comes to in all."""

from __future__ import annotations

from dataclasses import dataclass, field

# Enough to see what is wrong; the log and the dataset have the rest.
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure: its `value` (a percentage or a number, None where nothing could be measured),
    its bounds and whether they hold.  `of` says whose answers; `judged` how many; `examples` are
    rows that count against it, with reasons."""

    measure: str
    of: str
    value: float | None
    unit: str
    at_most: float | None
    at_least: float | None
    judged: int
    note: str = ""
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def held(self) -> bool:
        """Nothing measured is nothing shown: it does not hold."""
        return (
            self.value is not None
            and (self.at_most is None or self.value <= self.at_most)
            and (self.at_least is None or self.value >= self.at_least)
        )


@dataclass(slots=True)
class Tally:
    """Counts verdicts: how many answers were judged, how many of them are `hits`."""

    judged: int = 0
    hits: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, row: str, hit: bool, reason: str = "", *, example: bool | None = None) -> None:
        """Counts one answer; it is shown as an example when it is a hit, or as `example` says."""
        self.judged += 1
        self.hits += hit
        if (hit if example is None else example) and len(self.examples) < _EXAMPLES:
            self.examples.append((row, reason))

    @property
    def share(self) -> float | None:
        """Hits as a percentage."""
        return 100 * self.hits / self.judged if self.judged else None
