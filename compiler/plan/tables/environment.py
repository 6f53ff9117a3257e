"""What templates, conditions and checks of one sample can look up before anything is generated."""

from __future__ import annotations

from typing import Any

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.presence import drawn, varying
from synth.compiler.plan.strata import Slot


def environment(cohort: CohortPlan, slot: Slot) -> dict[str, Any]:
    """A table's row and items of its lists, axes, draws and `nth`, by name.

    A member of a set is its fields and its `name`; a value drawn from a list is that value.  A row is its
    values by field, and a sample of another conversation what that can look up itself.
    """
    values: dict[str, Any] = {"nth": slot.ordinal + 1}
    rest = iter(slot.cell.members)
    table = cohort.rows
    if table is not None:
        for name, plain in ((table.name, table.plain), *((each.name, each.plain) for each in table.lists)):
            fields = next(rest).fields
            values[name] = fields["value"] if plain else fields
    members = dict(zip(varying(cohort), rest, strict=True))
    values |= drawn(cohort, members)
    for draw in cohort.draws:
        if draw.in_parts:
            values[draw.name] = draw.value(members[draw.name], cohort.name, slot.cell.labels, slot.ordinal)
    return values
