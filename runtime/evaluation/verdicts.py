"""What a measure says of each answer, and what it comes to in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from synth.compiler.plan.outputs import MetricPlan

# Enough to see what is wrong; the log and the dataset have the rest.
_EXAMPLES = 5
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measure comes to: its `value` (a percentage or a number, None where nothing could be
    measured), and whether its bounds hold.

    `of` says whose answers, `by` what or who judged them where there is a choice, `judged` how
    many; `examples` are rows that count against it, with reasons.
    """

    plan: MetricPlan
    of: str
    value: float | None
    unit: str
    judged: int
    by: str = ""
    note: str = ""
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def held(self) -> bool:
        """Nothing measured is nothing shown: it does not hold."""
        least, most = self.plan.at_least, self.plan.at_most
        return (
            self.value is not None
            and (most is None or self.value <= most)
            and (least is None or self.value >= least)
        )


@dataclass(slots=True)
class VerdictCounts:
    """Counts verdicts: how many answers were judged, and how many of them are `hits`.  Hits count
    against a measure with an upper bound, and the others against one with a lower bound alone."""

    metric: MetricPlan
    judged: int = 0
    hits: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, row: str, hit: bool, reason: str = "") -> None:
        """Counts one answer; `reason` is shown where it counts against the measure."""
        self.judged += 1
        self.hits += hit
        if hit == (self.metric.at_most is not None) and len(self.examples) < _EXAMPLES:
            self.examples.append((row, " ".join(reason.split())[:_LONGEST]))

    def measured(self, of: str, by: str = "", note: str = "") -> Measured:
        """Hits as a percentage."""
        value = 100 * self.hits / self.judged if self.judged else None
        return Measured(self.metric, of, value, "%", self.judged, by, note, tuple(self.examples))


def mean_of_marks(
    metric: MetricPlan, of: str, marks: Sequence[tuple[float, str, str]], note: str
) -> Measured:
    """The mean of some marks, each with its row and the reason for it."""
    value = sum(mark for mark, _, _ in marks) / len(marks) if marks else None
    least, most = metric.at_least, metric.at_most
    against = [
        (row, " ".join(why.split())[:_LONGEST])
        for mark, row, why in marks
        if (least is not None and mark < least) or (most is not None and mark > most)
    ]
    assert metric.rubric is not None
    judges, mark = metric.arguments["judges"], metric.arguments["mark"]
    which = metric.rubric.name if mark == "total" else f"{metric.rubric.name}.{mark}"
    by = f"{which} by {', '.join(f'`{judge}`' for judge in judges)}" if isinstance(judges, list) else which
    return Measured(metric, of, value, "", len(marks), by, note, tuple(against[:_EXAMPLES]))
