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


def marks_of(
    rubric: RubricPlan, replies: Sequence[Mapping[str, Any]], judges: Sequence[str]
) -> dict[str, Any]:
    """The marks of a rubric from what each of its judges said: a number for each criterion, their sum as
    `total` and the reasons as `why`."""
    marks: dict[str, Any] = {}
    for criterion in rubric.criteria:
        marks[criterion.name] = _mean([one[criterion.name]["mark"] for one in replies])
    marks["total"] = _plain(round(sum(marks.values()), _DIGITS))
    marks["why"] = "\n".join(
        f"{criterion.name}{f' ({judge})' if len(replies) > 1 else ''}: {one[criterion.name]['why'].strip()}"
        for criterion in rubric.criteria
        for judge, one in zip(judges, replies, strict=True)
    )
    return marks


def _mean(marks: Sequence[int]) -> int | float:
    return _plain(round(sum(marks) / len(marks), _DIGITS))


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else number
