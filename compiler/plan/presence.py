"""Which steps that stand under conditions are in a sample, as far as it is known by now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from math import prod
from typing import Any

from synth.compiler.plan.conditions import ConditionPlan, holds, there
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.plan.strata import stretches
from synth.compiler.plan.tables.dependent import goes_with
from synth.compiler.plan.tables.draws import Member

# So many samples are counted one by one, and so many combinations of members are weighed.
_COUNTED = 50_000
_WEIGHED = 10_000


def varying(cohort: CohortPlan) -> list[str]:
    """The names of its axes and draws, in the order of a cell's members."""
    return [axis.name for axis in cohort.axes] + [draw.name for draw in cohort.draws]


def drawn(cohort: CohortPlan, members: Mapping[str, Member]) -> dict[str, Any]:
    """Members of axes and draws, by name, as templates see them: a record is its fields and its `name`,
    a value drawn from a list is that value."""
    plain = {draw.name for draw in cohort.draws if not draw.set}
    return {
        name: member.fields["value"] if name in plain else {"name": member.label, **member.fields}
        for name, member in members.items()
    }


def may_be_there(cohort: CohortPlan, step: StepPlan, known: Mapping[str, Any]) -> bool:
    """Whether nothing that is known of a sample leaves a step out.  `known` has draws, axes and the
    values of steps, those that have one."""
    return all(_may_hold(cohort, condition, known) for condition in step.when)


def _may_hold(cohort: CohortPlan, condition: ConditionPlan, known: Mapping[str, Any]) -> bool:
    first, *rest = condition.path
    if first in known:
        return holds(condition, there(rest, known[first]))
    step = next((step for step in cohort.steps if step.name == first), None)
    if step is not None and step.when and not may_be_there(cohort, step, known):
        return holds(condition, None)
    return True


def samples_with(plan: Plan, cohort: CohortPlan, step: StepPlan, samples: int) -> int:
    """Of so many samples of a cohort, in how many a step is: exactly where draws alone decide and all
    are meant, by their weights where fewer are or there are too many.  What a model or a row
    decides is taken to hold."""
    if not step.when:
        return samples
    names = _decided_by(cohort, step)
    if not names:
        return samples
    if cohort.rows is None and samples == cohort.quota <= _COUNTED:
        return sum(count for members, count in _counted(plan, cohort) if _is_in(cohort, step, members))
    total = present = 0
    for members, weight in _weighed(cohort, names):
        total += weight
        present += weight * _is_in(cohort, step, members)
    return round(samples * present / total) if total else 0


def _is_in(cohort: CohortPlan, step: StepPlan, members: Mapping[str, Member]) -> bool:
    return may_be_there(cohort, step, drawn(cohort, members))


def _decided_by(cohort: CohortPlan, step: StepPlan) -> set[str]:
    """The axes and draws that a step's conditions go by, also those of the steps that they name."""
    varies = set(varying(cohort))
    names: set[str] = set()
    for condition in step.when:
        first = condition.path[0]
        other = next((other for other in cohort.steps if other.name == first), None)
        names |= {first} & varies if other is None else _decided_by(cohort, other)
    return names


def _counted(plan: Plan, cohort: CohortPlan) -> Iterator[tuple[dict[str, Member], int]]:
    names = varying(cohort)
    for cells, dealt in stretches(plan, cohort):
        for index, count in Counter(dealt).items():
            yield dict(zip(names, cells[index].members, strict=True)), count


def _weighed(cohort: CohortPlan, names: set[str]) -> Iterator[tuple[dict[str, Member], int]]:
    """Combinations of members with how often they go together, in proportion."""
    members: dict[str, Sequence[Member]] = {axis.name: axis.members for axis in cohort.axes}
    members |= {draw.name: [member for member in draw.members if member.weight] for draw in cohort.draws}
    members = {name: choices for name, choices in members.items() if name in names}
    drawn_names = {draw.name for draw in cohort.draws}
    for combination in islice(product(*members.values()), _WEIGHED):
        chosen = dict(zip(members, combination, strict=True))
        if not goes_with(cohort, chosen):
            continue
        yield chosen, prod(member.weight for name, member in chosen.items() if name in drawn_names)
