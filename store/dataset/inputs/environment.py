"""What the log knows of a sample under the names that its templates quote it by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.tables.draws import Member
from synth.compiler.stdlib.tool_definitions import definitions_of
from synth.store.log.payloads import EndedEitherWay

# The columns that define tools.
_DEFINITIONS = ("tools", "functions")


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


class Chat(list[Any]):
    """The messages of a row; `tools` are definitions of those that can be called in it."""

    __slots__ = ("tools",)

    def __init__(self, messages: Sequence[Any], tools: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(messages)
        self.tools = tools


def offered(row: Any) -> Sequence[Mapping[str, Any]]:
    """Definitions of the tools that can be called in what a row stands for: those beside its messages."""
    if isinstance(row, Chat):
        return row.tools
    if not isinstance(row, Record):
        return ()
    for column in _DEFINITIONS:
        try:
            if found := definitions_of(row.rest.get(column) or _there(row.get(column)) or []):
                return found
        except ValueError:
            # A column of that name may hold anything.
            continue
    return ()


def _there(value: Any) -> Any:
    """A field's value without the optional fields that are absent."""
    if isinstance(value, Mapping):
        return {name: _there(each) for name, each in value.items() if each is not None}
    return [_there(each) for each in value] if isinstance(value, list | tuple) else value


# What the rows that some samples are over stand for, by name, from their cohort and the payloads of their
# ends: a source's row is a Record with its `rest`, an item of a list its value, and a sample of another
# conversation its Environment.
RowLookup = Callable[[CohortPlan, Sequence[EndedEitherWay]], Sequence[Mapping[str, Any]]]


class Environment:
    """The environments of a cohort's logged samples: axes, draws, `nth`, its row and the steps that
    have a value, by name.  An optional field that is absent is null or is not there."""

    def __init__(self, cohort: CohortPlan) -> None:
        self._cohort = cohort.name
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

    def of(self, payload: EndedEitherWay, rows: Mapping[str, Any]) -> dict[str, Any]:
        """That of one sample, by the payload of the event of its end and what its rows stand for by name;
        what it has no value of is left out."""
        cell = payload["cell"]
        found: dict[str, Any] = {"nth": payload["ordinal"] + 1, **rows}
        for name, members in self._members.items():
            found[name] = members[cell[name]]
        for draw in self._in_parts:
            found[draw.name] = draw.value(found[draw.name], self._cohort, cell.items(), payload["ordinal"])
        return found | payload.get("values", {})


def _record(member: Member) -> Record:
    return Record({"name": member.label, **member.fields}, member.label)
