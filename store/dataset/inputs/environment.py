"""What the log knows of a sample under the names that its templates quote it by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synth.base.errors import LogError
from synth.compiler.plan.model import CohortPlan, Member, TablePlan
from synth.store.log.payloads import EndedEitherWay


class Record(dict[str, Any]):
    """The fields of a set's member, or of a row of a table.

    `label` is the member's name, None for a row; `rest` are a row's other columns.
    """

    __slots__ = ("label", "rest")

    def __init__(
        self, fields: Mapping[str, Any], label: str | None = None, rest: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(fields)
        self.label = label
        self.rest = rest or {}


# From what a conversation is over and the name of one of its rows, which is its label in a sample's
# cell, to the row: the record of a source's row with its `rest`, or the environment of a parent.
RowLookup = Callable[[TablePlan, str], Mapping[str, Any]]


def no_rows(table: TablePlan, name: str) -> Mapping[str, Any]:
    """The lookup of who has no rows at hand.  Raises LogError."""
    raise LogError(f"the row {name} of `{table.table}` is not in the log")


class Environment:
    """The environments of a cohort's logged samples: axes, draws, `nth`, its row and the steps that
    have a value, by name.  An optional field that is absent is null or is not there."""

    def __init__(self, cohort: CohortPlan, rows: RowLookup = no_rows) -> None:
        self._table, self._rows, self._cohort = cohort.rows, rows, cohort.name
        self._members: dict[str, dict[str, Any]] = {
            axis.name: {member.label: _record(member) for member in axis.members} for axis in cohort.axes
        }
        self._in_parts = [draw for draw in cohort.draws if draw.in_parts]
        for draw in cohort.draws:
            self._members[draw.name] = {
                member.label: member
                if draw.in_parts
                else _record(member)
                if draw.set
                else member.fields["value"]
                for member in draw.members
            }

    def of(self, payload: EndedEitherWay) -> dict[str, Any]:
        """That of one sample, by the payload of the event of its end; what it has no value of is left out."""
        cell = payload["cell"]
        found: dict[str, Any] = {"nth": payload["ordinal"] + 1}
        for name, members in self._members.items():
            found[name] = members[cell[name]]
        for draw in self._in_parts:
            found[draw.name] = draw.value(found[draw.name], self._cohort, cell.items(), payload["ordinal"])
        if self._table is not None:
            found[self._table.name] = self._rows(self._table, cell[self._table.name])
        return found | payload.get("values", {})


def _record(member: Member) -> Record:
    return Record({"name": member.label, **member.fields}, member.label)
