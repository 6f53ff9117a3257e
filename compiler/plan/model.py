"""The plan: what a recipe asks for, ready to run and independent of its text.

A plan is intensional: it holds cohorts, quotas, axes, draws and steps, never a list of
samples.  It is frozen, its JSON is canonical, and `plan_hash` names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, PrivateAttr

from synth.base.canonical import Frozen, canonical_json, digest
from synth.compiler.plan.functions import FunctionPlan
from synth.compiler.plan.models import ModelPlan
from synth.compiler.plan.outputs import EvaluationPlan, ExportPlan, MixPlan
from synth.compiler.plan.shown import plan_html, plan_line
from synth.compiler.plan.steps import CallPlan, CheckPlan, Role, StepPlan, asking, comparing
from synth.compiler.plan.tables.draws import DrawPlan, Member
from synth.compiler.plan.tables.table_plan import DealtPlan, TablePlan
from synth.compiler.plan.value_types import ValueType

PLAN_FORMAT = 1


class AxisPlan(Frozen):
    """`over name in set`: the grid's cells, one for each member."""

    name: str
    set: str
    members: tuple[Member, ...]


class CohortPlan(Frozen):
    """One conversation declaration: how many samples, what varies, what is generated.

    A conversation over `rows` asks for `quota` samples, or for those of every row where `each` is set,
    and then nobody knows before the rows are read how many there are: `quota` is 0.  What is `dealt` is drawn
    from tables.  `keep` are checks of the finished sample, with whose values their paths begin.
    """

    name: str
    quota: Annotated[int, Field(ge=0)]
    rows: TablePlan | None = None
    each: bool = False
    axes: tuple[AxisPlan, ...] = ()
    times: Annotated[int, Field(ge=0)]
    draws: tuple[DrawPlan, ...] = ()
    dealt: tuple[DealtPlan, ...] = ()
    steps: tuple[StepPlan, ...]
    keep: tuple[CheckPlan, ...] = ()
    transcript: str | None = None
    train_on: tuple[str, ...] = ()
    train_every: Role | None = None
    tags: tuple[str, ...] = ()

    @property
    def of_tables(self) -> bool:
        """Whether samples are made of rows that no plan holds."""
        return self.rows is not None or bool(self.dealt)

    @property
    def turns(self) -> tuple[StepPlan, ...]:
        return tuple(step for step in self.steps if step.role is not None)

    @property
    def asking(self) -> tuple[StepPlan, ...]:
        """The steps that ask a model, and those of the judges."""
        return asking(self.steps)

    @property
    def calls(self) -> int:
        """How many calls a sample takes, as far as it is known: of one candidate each, and of each tool
        once."""
        return sum(step.exchanges for step in self.asking)

    @property
    def kept(self) -> StepPlan:
        """What judges the finished sample, as a step that makes nothing."""
        return StepPlan(name="keep", checks=self.keep)

    def step(self, name: str) -> StepPlan:
        return next(step for step in (*self.steps, self.kept) if step.name == name)


class SourcePlan(Frozen):
    """Rows or documents from outside.  `keep` are the checks that rows must pass; `bad_rows` says
    whether rows that do not fit end the run or are left out.  `row` is the record that each row of a
    source of rows is."""

    name: str
    type: Literal["messages", "chunk", "rows"]
    row: ValueType | None = None
    reader: CallPlan
    split: CallPlan | None = None
    index: CallPlan | None = None
    keep: tuple[CheckPlan, ...] = ()
    bad_rows: Literal["fail", "skip"] = "fail"


class PreferencePlan(Frozen):
    """Pairs from the samples of a cohort.  `chosen` and `rejected` name a step of this block
    (`padded`), a turn of the cohort (`direct.answer`), its refused attempts, or the best and the worst
    marked candidates of a step; these are a pair where their marks are `margin` apart at least, and where
    it is None more than none."""

    name: str
    quota: int | None
    source: str
    steps: tuple[StepPlan, ...]
    chosen: CallPlan
    rejected: CallPlan
    margin: Annotated[float, Field(gt=0)] | None = None


# Of a cohort, what decides how much and what for, not what is generated; `uses` follows from that.
_NOT_GENERATED: Mapping[str, Any] = {
    **dict.fromkeys(("quota", "each", "times", "train_on", "train_every", "transcript", "tags"), True),
    "rows": {"uses"},
    "dealt": {"__all__": {"uses"}},
}


class Plan(Frozen):
    format: int = PLAN_FORMAT
    edition: int
    recipe: str
    docs: str = ""
    seed: int
    # How much of each cell may be lost, in percent of its samples (`synth.runtime.cohorts.source`).
    losses: Annotated[int | float, Field(ge=0)] = 1000
    params: dict[str, JsonValue] = {}
    models: tuple[ModelPlan, ...] = ()
    sources: tuple[SourcePlan, ...] = ()
    cohorts: tuple[CohortPlan, ...] = ()
    preferences: tuple[PreferencePlan, ...] = ()
    mixes: tuple[MixPlan, ...] = ()
    exports: tuple[ExportPlan, ...] = ()
    evaluations: tuple[EvaluationPlan, ...] = ()
    functions: tuple[FunctionPlan, ...] = ()

    # Where the recipe's file lies: what its paths are relative to.  Not part of what the plan says.
    _folder: Path = PrivateAttr(default_factory=Path)

    @property
    def folder(self) -> Path:
        """The folder that the plan's paths are relative to; the current one for a plan from JSON."""
        return self._folder

    def below(self, folder: Path) -> Plan:
        """The same plan with its paths relative to a folder."""
        plan = self.model_copy()
        plan._folder = folder
        return plan

    def __repr__(self) -> str:
        return f"<Plan {plan_line(self)}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return plan_html(self)

    def function(self, called: CallPlan | CheckPlan) -> FunctionPlan:
        """The Python function that a call or check is of."""
        wanted = (called.name, called.source)
        return next(function for function in self.functions if (function.name, function.source) == wanted)

    def preference(self, name: str) -> PreferencePlan:
        return next(preference for preference in self.preferences if preference.name == name)

    def source(self, name: str) -> SourcePlan:
        return next(source for source in self.sources if source.name == name)

    @cached_property
    def plan_hash(self) -> str:
        """sha256 of the canonical JSON without what is at its default, in hex: a field that a later
        version adds changes no plan that does not set it."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))

    def to_json(self) -> str:
        """Canonical JSON with a line end."""
        return canonical_json(self.model_dump(mode="json")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        return cls.model_validate_json(text)

    def cohort(self, name: str) -> CohortPlan:
        return next(cohort for cohort in self.cohorts if cohort.name == name)

    def model(self, name: str) -> ModelPlan:
        return next(model for model in self.models if model.name == name)

    @cached_property
    def pair_cohorts(self) -> tuple[CohortPlan, ...]:
        """The preferences that generate, each as a cohort over the grid of the one it is made
        from.  Its quota is the number of pairs; without one, every sample gets a pair."""
        cohorts = []
        for pair in self.preferences:
            if pair.steps:
                base, quota = self.cohort(pair.source), pair.quota
                quota = base.quota if quota is None else quota
                update = {"name": pair.name, "quota": quota, "steps": pair.steps, "keep": (), "tags": ()}
                # Made by copying, so that its steps stay the very ones of the preference.
                cohorts.append(base.model_copy(update={**update, "transcript": None, "train_on": ()}))
        return tuple(cohorts)

    def fingerprint(self, cohort: CohortPlan) -> str:
        """Names what is generated for a cohort: everything but how much and what is exported.

        Two plans with the same fingerprint share samples, so a larger quota, another split
        or other columns reuse what the log holds.  Where the models run is not part of it.
        """
        # Defaults are left out, so that what a later version adds renames nothing.
        body = cohort.model_dump(mode="json", exclude_defaults=True, exclude=dict(_NOT_GENERATED))
        parts = {
            "recipe": self.recipe,
            "seed": self.seed,
            "cohort": body,
            "models": self._asked(cohort.steps),
        }
        parent = self.parent_of(cohort)
        return digest(parts if parent is None else {**parts, "over": self.fingerprint(parent)})

    @cached_property
    def tables(self) -> frozenset[str]:
        """The names of the sources that conversations are over or draw from, or that checks compare with."""
        rows = (cohort.rows for cohort in self.cohorts if cohort.rows is not None)
        over = {table.table for table in rows if table.kind == "source"}
        over |= {draw.table for cohort in self.cohorts for draw in cohort.dealt if draw.table}
        return frozenset(over | {check.against[0] for check in self.comparing})

    @cached_property
    def over_rows(self) -> frozenset[str]:
        """The names of the conversations and preferences whose samples are made of tables' rows."""
        return frozenset(cohort.name for cohort in (*self.cohorts, *self.pair_cohorts) if cohort.of_tables)

    @cached_property
    def comparing(self) -> tuple[CheckPlan, ...]:
        """The checks that compare a value with the rows of a source."""
        made: tuple[CohortPlan | PreferencePlan, ...] = (*self.cohorts, *self.preferences)
        return tuple(check for cohort in made for check in comparing(cohort.steps))

    def parent_of(self, cohort: CohortPlan) -> CohortPlan | None:
        """The conversation whose samples a conversation is over."""
        table = cohort.rows
        return self.cohort(table.table) if table is not None and table.kind == "conversation" else None

    def pair_fingerprint(self, pair: PreferencePlan) -> str:
        """Names what a preference generates, as `fingerprint` does for a conversation."""
        steps = [step.model_dump(mode="json", exclude_defaults=True) for step in pair.steps]
        parts = {"of": self.fingerprint(self.cohort(pair.source)), "preference": pair.name, "steps": steps}
        return digest({**parts, "models": self._asked(pair.steps)})

    def _asked(self, steps: tuple[StepPlan, ...]) -> dict[str, Any]:
        names = sorted({str(step.model) for step in asking(steps)})
        return {name: {"capabilities": sorted(self.model(name).capabilities)} for name in names}
