"""What a plan says of a draw, and of what it draws from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, JsonValue

from synth.base.canonical import Frozen
from synth.compiler.plan.tables.spread import SpreadPlan


class Member(Frozen):
    """One member of a set, or one value of a list that is drawn from."""

    label: str
    weight: Annotated[int, Field(ge=0)]
    fields: dict[str, JsonValue]


class DrawPlan(Frozen):
    """A stratified draw.  A drawn list's members have the one field `value`.  Those of a `spread` are its
    values, or its parts with an example of each.  `of` is the path of the list that each sample's value is
    from, below an axis or an earlier draw: the members are then those of all such lists."""

    name: str
    set: str
    members: tuple[Member, ...]
    spread: SpreadPlan | None = None
    of: tuple[str, ...] = ()

    @property
    def in_parts(self) -> bool:
        """Whether a member stands for many values, of which each sample has one of its own."""
        return self.spread is not None and self.spread.in_parts

    def value(self, member: Member, cohort: str, labels: Iterable[tuple[str, str]], ordinal: int) -> Any:
        """What the name of a draw that is of no set stands for, in the sample of these labels and ordinal."""
        if self.spread is None or not self.spread.in_parts:
            return member.fields["value"]
        part = next(index for index, other in enumerate(self.members) if other.label == member.label)
        return self.spread.value(part, (cohort, sorted(labels), ordinal, self.name))
