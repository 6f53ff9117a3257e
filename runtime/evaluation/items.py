"""What is measured: the trained answers of a dataset's rows, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from compiler.plan import AxisPlan, CohortPlan, DrawPlan, JsonOutput, Plan
from store.dataset import exported
from store.log import Log
from store.messages import trained_turns


@dataclass(frozen=True, slots=True)
class Answer:
    """One trained answer.  `schema` is given where it must be JSON of that schema."""

    text: str
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One row.  `messages` have roles system, user and model; `asked` are those before the last
    trained one, and `columns` what the row's sample was made from, by name."""

    id: str
    messages: Sequence[Mapping[str, Any]]
    answers: Sequence[Answer]
    asked: Sequence[Mapping[str, Any]]
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> Answer:
        """The answer that a student is asked for in its place."""
        return self.answers[-1]


class Items:
    """The rows of an export, as the log gives them now.

    `held_out` are those of the `eval` split; all of them where the export has no split.
    """

    def __init__(self, plan: Plan, log: Log, export: str) -> None:
        self._plan = plan
        self._log = log
        self._export = next(each for each in plan.exports if each.name == export)
        self._cohorts = {cohort.name: cohort for cohort in plan.cohorts}

    def all(self) -> Iterator[Item]:
        """Every row, in the order of the dataset."""
        return (item for _, item in self._read())

    @cached_property
    def held_out(self) -> list[Item]:
        return [item for split, item in self._read() if split == "eval" or self._export.split is None]

    @property
    def persona_column(self) -> str:
        """The draw or axis that says whose voice the user's side has."""
        return self._persona[0]

    @cached_property
    def personas(self) -> Mapping[str, str]:
        """The voices that are drawn from, by name."""
        return self._persona[1]

    @cached_property
    def _persona(self) -> tuple[str, dict[str, str]]:
        for each in self._varies:
            if all("voice" in member.fields for member in each.members):
                return each.name, {member.label: str(member.fields["voice"]) for member in each.members}
        return "", {}

    @property
    def _varies(self) -> tuple[AxisPlan | DrawPlan, ...]:
        cohort = self._cohorts.get(self._export.source)
        return () if cohort is None else (*cohort.draws, *cohort.axes)

    def _read(self) -> Iterator[tuple[str, Item]]:
        names = tuple(each.name for each in self._varies)
        neutral = self._export.model_copy(
            update={"type": "messages", "roles": "model", "thought": "strip", "columns": names}
        )
        for split, row in exported(self._plan, self._log, neutral):
            made_by = self._cohorts.get(row.get("source", self._export.source))
            yield split, _item(row, made_by, names)


def _item(row: Mapping[str, Any], cohort: CohortPlan | None, names: Sequence[str]) -> Item:
    messages = row["messages"]
    trained = [index for index, message in enumerate(messages) if message["weight"]]
    schemas = _schemas(cohort) if cohort is not None else []
    answers = [
        Answer(messages[index]["content"], schemas[place] if place < len(schemas) else None)
        for place, index in enumerate(trained)
    ]
    asked = messages[: trained[-1]] if trained else messages
    return Item(row["id"], messages, answers, asked, {name: row[name] for name in names})


def _schemas(cohort: CohortPlan) -> list[Mapping[str, Any] | None]:
    """The schema of each trained turn, in order; none in a transcript, whose turns are text."""
    if cohort.transcript is not None:
        return []
    return [
        turn.output.schema_ if isinstance(turn.output, JsonOutput) else None
        for turn in cohort.turns
        if turn.name in trained_turns(cohort)
    ]
