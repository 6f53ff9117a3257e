"""What is measured: the trained answers of a dataset's rows, and what they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from synth.compiler.plan.model import AxisPlan, CohortPlan, Plan
from synth.compiler.plan.outputs import ExportPlan
from synth.compiler.plan.steps import JsonOutput
from synth.compiler.plan.tables.draws import DrawPlan
from synth.store.dataset.inputs.messages import Message, trained_turns
from synth.store.dataset.inputs.select import WrittenBy, config_hash_of
from synth.store.dataset.materialize import exported
from synth.store.dataset.rows.layout import Conversation, Layout
from synth.store.dataset.rows.tool_calls import TOOLS
from synth.store.log.log import Log

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.  `schema` is given where it must be JSON of that schema."""

    text: str
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Calling:
    """A trained message that calls tools, or that answers a user and might: what is said before it, and its
    calls (`name`, `arguments`)."""

    id: str
    asked: Sequence[Mapping[str, Any]]
    calls: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Item:
    """One row.  `answers` are the trained ones, without their thoughts; `calling` are trained messages in
    which tools are called, or could have been in place of an answer to a user, and `tools` the definitions of
    those that can be.

    `said` are its messages, by role (system, user, model or tool) and content; `asked` those that a
    student is shown, and `given` what the row then answers, all as it is trained on.  Nothing is
    asked where nothing is said before a trained answer.  `columns` say what the row's sample was
    made from.
    """

    id: str
    said: Sequence[Mapping[str, Any]]
    answers: Sequence[Answer]
    asked: Sequence[Mapping[str, Any]]
    given: str
    columns: Mapping[str, str] = field(default_factory=dict)
    calling: Sequence[Calling] = ()
    tools: Sequence[Mapping[str, Any]] = ()

    @property
    def beside(self) -> dict[str, Any]:
        """What a student is given of the row beside its messages."""
        return {"tools": self.tools} if self.tools else {}


class Items:
    """The rows of an export, as the log gives them now.  `columns` are those of the export that an item is to
    have as well."""

    def __init__(
        self,
        plan: Plan,
        log: Log,
        export: str,
        *,
        partial: bool = False,
        written_by: WrittenBy | None = None,
        columns: Sequence[str] = (),
    ) -> None:
        self._columns = columns
        self._written_by = written_by
        self._plan = plan
        self._log = log
        self._export = export_of(plan, export)
        self._partial = partial
        self._cohorts = {cohort.name: cohort for cohort in plan.cohorts}

    @property
    def split(self) -> bool:
        """Whether some rows are kept from training."""
        return self._export.split is not None

    def read(self) -> Iterator[tuple[Item, bool]]:
        """Every row in the order of the dataset, and whether students are asked about it: about
        those of the `eval` split, all where there is none, and of copies about the first."""
        names = tuple(each.name for each in _varies(self._plan, self._export))
        more = [
            each
            for each in self._export.columns
            if (name := each if isinstance(each, str) else each.name) in self._columns and name not in names
        ]
        wrapped = self._export.thought == "wrap"
        export = self._export.model_copy(
            update={
                "type": "messages",
                "roles": "model",
                "thought": "wrap" if wrapped else "strip",
                "columns": (*names, *more),
            }
        )
        layout = Layout(export)
        for side, said in exported(
            self._plan, self._log, export, partial=self._partial, written_by=self._written_by
        ):
            item = _item(said, layout, self._cohorts.get(said.source or ""))
            yield item, said.copy == 1 and (side == "eval" or not self.split)

    def simulated(self) -> list[str]:
        """The conversations among the rows that simulated models wrote."""
        mixed = {mix.name: [name for part in mix.parts for name in part.sources] for mix in self._plan.mixes}
        found = []
        for name in mixed.get(self._export.source, [self._export.source]):
            if name in self._cohorts:
                cursor, events = self._log.cursor(), self._log.next_seq
                _, models = config_hash_of(self._plan, self._cohorts[name], cursor, events, self._written_by)
                if any(identity["backend"] == "simulated" for identity in models.values()):
                    found.append(name)
        return found


def export_of(plan: Plan, name: str) -> ExportPlan:
    return next(export for export in plan.exports if export.name == name)


def voices_of(plan: Plan, export: ExportPlan) -> tuple[str, dict[str, str]]:
    """The draw or axis that says whose voice the user's side has, and the voices by name."""
    for each in _varies(plan, export):
        if all("voice" in member.fields for member in each.members):
            return each.name, {member.label: str(member.fields["voice"]) for member in each.members}
    return "", {}


def without_thought(text: str, export: ExportPlan) -> str:
    """What a student says, without the thought that rows with `thought = wrap` taught it to say
    first."""
    return _THOUGHT.sub("", text, count=1) if export.thought == "wrap" else text


def _varies(plan: Plan, export: ExportPlan) -> tuple[AxisPlan | DrawPlan, ...]:
    cohort = next((each for each in plan.cohorts if each.name == export.source), None)
    return () if cohort is None else (*cohort.draws, *cohort.axes)


def _item(said: Conversation, layout: Layout, cohort: CohortPlan | None) -> Item:
    shown = [_shown(each, layout) for each in said.messages]
    taught = [index for index, message in enumerate(said.messages) if message["weight"]]
    # What calls tools is no answer yet.
    trained = [index for index in taught if not said.messages[index].get("calls")]
    columns = dict(said.columns or {})
    tools = columns.pop(TOOLS, None)
    schemas = _schemas(cohort) if cohort is not None else []
    answers = [
        Answer(said.messages[index]["content"], schemas[place] if place < len(schemas) else None)
        for place, index in enumerate(trained)
    ]
    last = trained[-1] if trained else 0
    given = shown[last]["content"] if trained else ""
    return Item(
        said.id,
        shown,
        answers,
        shown[:last],
        given,
        {name: value for name, value in columns.items() if value is not None},
        [
            Calling(f"{said.id}.{index}", shown[:index], said.messages[index].get("calls", ()))
            for index in taught
            if said.messages[index].get("calls")
            or (tools and index and said.messages[index - 1]["role"] == "user")
        ],
        tools or (),
    )


def _shown(message: Message, layout: Layout) -> dict[str, Any]:
    found = {key: layout.message(message)[key] for key in ("role", "content")}
    return found | {key: message[key] for key in ("calls", "name") if message.get(key)}


def _schemas(cohort: CohortPlan) -> list[Mapping[str, Any] | None]:
    """The schema of each trained turn, in order; none in a transcript, whose turns are text."""
    if cohort.transcript is not None:
        return []
    trained = trained_turns(cohort)
    if any(turn.when for turn in cohort.turns if turn.name in trained):
        # Which of them a row has does not show in its messages.
        return []
    return [
        turn.output.schema_ if isinstance(turn.output, JsonOutput) else None
        for turn in cohort.turns
        if turn.name in trained
    ]
