"""What templates, conditions and checks of one sample can look up before anything is generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from synth.base.canonical import digest
from synth.compiler.plan.conditions import there
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.presence import drawn, varying
from synth.compiler.plan.strata import Slot
from synth.compiler.plan.tables.draws import Member


def environment(cohort: CohortPlan, slot: Slot) -> dict[str, Any]:
    """A table's row and items of its lists, what is drawn from tables, axes, draws and `nth`, by name.

    A member of a set is its fields and its `name`; a value drawn from a list is that value.  A row is its
    values by field, and a sample of another conversation what that can look up itself.
    """
    values: dict[str, Any] = {"nth": slot.ordinal + 1}
    rest = iter(slot.cell.members)
    values |= row_values(cohort, rest)
    for dealt in cohort.dealt:
        fields = next(rest).fields
        values[dealt.name] = fields["value"] if dealt.plain or dealt.count is not None else fields
    members = dict(zip(varying(cohort), rest, strict=True))
    values |= drawn(cohort, members)
    for draw in cohort.draws:
        if draw.in_parts:
            values[draw.name] = draw.value(members[draw.name], cohort.name, slot.cell.labels, slot.ordinal)
    return values


def row_values(cohort: CohortPlan, members: Iterable[Member]) -> dict[str, Any]:
    """What a table's row and the items of its lists are by name, of the members that begin with theirs."""
    table, values = cohort.rows, dict[str, Any]()
    if table is not None:
        rest = iter(members)
        for name, plain in (
            (table.name, table.plain),
            *((listed.name, listed.plain) for listed in table.lists),
        ):
            fields = next(rest).fields
            values[name] = fields["value"] if plain else fields
    return values


def inputs_of(cohort: CohortPlan, environment: Mapping[str, Any], beneath: str = "") -> str:
    """A digest, 16 hex digits, of what a sample is made of besides its plan: the values of rows that its
    steps use, and the inputs of the sample `beneath` it.  Empty where that is nothing."""
    uses = cohort.rows.uses if cohort.rows is not None else ()
    uses += tuple(path for dealt in cohort.dealt for path in dealt.uses)
    if not uses and not beneath:
        return ""
    values = [there(path, environment) for path in uses]
    return digest([values, beneath] if beneath else values)[:16]
