"""What judges made of samples: candidates, rounds and marks, for the manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from synth.compiler.plan.judging.rubrics import RubricPlan
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import StepPlan
from synth.store.dataset.inputs.select import columns

# Digits of a mean.
_DIGITS = 4


def judged_steps(cohort: CohortPlan) -> list[StepPlan]:
    """The steps with candidates to choose from, or with marks."""
    return [step for step in cohort.steps if step.candidates > 1 or step.rubric is not None]


def judged(
    cohort: CohortPlan, cursor: duckdb.DuckDBPyConnection, seqs: Sequence[int], models: Mapping[str, Any]
) -> dict[str, Any]:
    """`judged`: by step how answers were chosen and marked in samples by the events of their ends.
    Nothing where no step of the cohort has candidates or marks.

    `models` are the identities of models by their names.
    """
    steps = {step.name: _Counts() for step in judged_steps(cohort)}
    if not steps:
        return {}
    parts = "json_extract(payload, ['$.attempts', '$.rejected', '$.values'])"
    for _, (attempts, rejected, values) in columns(cursor, seqs, parts):
        told = [json.loads(part or "{}") for part in (attempts, rejected, values)]
        for name, counts in steps.items():
            counts.add(cohort.step(name), *(part.get(name) for part in told[:2]), values=told[2])
    return {"judged": {name: counts.told(cohort.step(name), models) for name, counts in steps.items()}}


@dataclass(slots=True)
class _Counts:
    """What is counted of a step's attempts.  `picked` and `all` hold the sums of marks by criterion."""

    answers: int = 0
    stood: int = 0
    rounds: Counter[int] = field(default_factory=Counter)
    marked: int = 0
    values: int = 0
    all: Counter[str] = field(default_factory=Counter)
    picked: Counter[str] = field(default_factory=Counter)
    agreement: list[float] = field(default_factory=list)

    def add(
        self,
        step: StepPlan,
        attempts: Sequence[Mapping[str, Any]] | None,
        rejected: Sequence[Mapping[str, Any]] | None,
        *,
        values: Mapping[str, Any],
    ) -> None:
        """Counts one sample."""
        if step.call is not None:
            # Marks of a text, which are the step's value.
            self._mark(values.get(step.name), picked=True)
            return
        refused = {(each["attempt"], each.get("candidate", 0)) for each in rejected or ()}
        told = {(each["attempt"], each.get("candidate", 0)) for each in attempts or ()}
        self.answers += len(refused | told)
        for each in attempts or ():
            self.stood += each.get("stood", True)
            self._mark(each.get("marks"), picked=each.get("picked", False))
            if each.get("picked", False):
                self.rounds[each["attempt"] + 1] += 1
        agreement = values.get(f"{step.name}.agreement")
        if agreement is not None:
            self.agreement.append(agreement)

    def _mark(self, marks: Mapping[str, Any] | None, *, picked: bool) -> None:
        if marks is None:
            return
        numbers = {name: mark for name, mark in marks.items() if name != "why"}
        self.marked += 1
        self.all.update(numbers)
        if picked:
            self.values += 1
            self.picked.update(numbers)

    def told(self, step: StepPlan, models: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if step.call is None:
            found = {
                "candidates": step.candidates,
                "pick": step.pick.by,
                "answers": self.answers,
                "stood": self.stood,
                "rounds": {str(number): self.rounds[number] for number in sorted(self.rounds)},
            }
        if self.agreement:
            found["agreement"] = _mean(sum(self.agreement), len(self.agreement))
        if step.rubric is not None:
            judges = [str(each.model) for each in step.marked_by]
            found |= {
                "rubric": step.rubric.name,
                "judges": [{"model": name, "identity": models.get(name)} for name in judges],
                "marked": self.marked,
                "marks": self._means(step.rubric),
            }
        return found

    def _means(self, rubric: RubricPlan) -> dict[str, Any]:
        """By criterion and for the total its bounds, and the means of what was picked and of all."""
        bounds = {each.name: (each.low, each.high) for each in rubric.criteria}
        low, high = (sum(ends) for ends in zip(*bounds.values(), strict=True))
        return {
            name: {
                "low": ends[0],
                "high": ends[1],
                "picked": _mean(self.picked[name], self.values),
                "all": _mean(self.all[name], self.marked),
            }
            for name, ends in (*bounds.items(), ("total", (low, high)))
        }


def _mean(total: float, count: int) -> float | None:
    return round(total / count, _DIGITS) if count else None
