"""Rubrics: the marks that judges give, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from synth.base.canonical import Frozen

# Digits of a mark that is a mean of several judges'.
_DIGITS = 4


class CriterionPlan(Frozen):
    """A question of a rubric, answered by a whole number from `low` to `high`."""

    name: str
    low: int
    high: int
    question: str


class RubricPlan(Frozen):
    """Marks as a step has them: what the rubric is called, and its criteria."""

    name: str
    criteria: Annotated[tuple[CriterionPlan, ...], Field(min_length=1)]


def marks_of(rubric: RubricPlan, said: Sequence[Mapping[str, Any]], judges: Sequence[str]) -> dict[str, Any]:
    """The marks of a rubric from what each of its judges said: a number for each criterion, their sum as
    `total` and the reasons as `why`."""
    marks: dict[str, Any] = {}
    for each in rubric.criteria:
        marks[each.name] = _mean([one[each.name]["mark"] for one in said])
    marks["total"] = _plain(round(sum(marks.values()), _DIGITS))
    marks["why"] = "\n".join(
        f"{each.name}{f' ({judge})' if len(said) > 1 else ''}: {one[each.name]['why'].strip()}"
        for each in rubric.criteria
        for judge, one in zip(judges, said, strict=True)
    )
    return marks


def _mean(marks: Sequence[int]) -> int | float:
    return _plain(round(sum(marks) / len(marks), _DIGITS))


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else number
