"""Bound: what a recipe's names stand for, with types checked and places kept.

Between Syntax and Plan.  Declarations carry the spans that later passes point at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from synth.base.diagnostics.source import Span
from synth.compiler.bind.expressions.scope import Declared
from synth.compiler.bind.expressions.ways import Conditions, Ways
from synth.compiler.plan.functions import FunctionPlan
from synth.compiler.plan.judging.rubrics import RubricPlan
from synth.compiler.plan.model import SourcePlan
from synth.compiler.plan.models import ModelPlan, Sampling
from synth.compiler.plan.outputs import EvaluationPlan, ExportPlan, MixPlan
from synth.compiler.plan.steps import CallPlan, CheckPlan, PickPlan, RefPlan, Role, Template, ToolPlan
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.tables.spread import SpreadPlan
from synth.compiler.plan.tables.table_plan import DealtPlan, TablePlan
from synth.compiler.plan.types import TEXT, Schema, Type


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    type: Type
    value: Any
    span: Span


@dataclass(frozen=True, slots=True)
class Model:
    plan: ModelPlan
    type: Type
    span: Span
    type_span: Span
    call_span: Span

    @property
    def frozen(self) -> bool:
        return "frozen" in self.plan.capabilities


@dataclass(frozen=True, slots=True)
class Rubric:
    """Questions, and the models that answer them with marks."""

    plan: RubricPlan
    judges: tuple[Model, ...]
    span: Span
    judges_span: Span

    @property
    def marks(self) -> Type:
        """What marks are to templates, conditions, columns and checks: numbers, and the reasons for them."""
        asked, parts = self.plan.criteria, len(self.judges) or None
        marks = [
            (criterion.name, Type("number", low=criterion.low, high=criterion.high, steps=parts))
            for criterion in asked
        ]
        least, most = sum(criterion.low for criterion in asked), sum(criterion.high for criterion in asked)
        total = Type("number", low=least, high=most, steps=parts)
        return Type("record", schema=Schema(self.plan.name, (*marks, ("total", total), ("why", TEXT))))


@dataclass(frozen=True, slots=True)
class SetOf:
    """A set, personas or tiers: members in declared order, all of one schema.

    `what` is its keyword; `places` has the span of each member's field values; a set is not `whole`
    when a member of it was at fault and left out.
    """

    name: str
    what: str
    schema: Schema
    members: tuple[Member, ...]
    span: Span
    places: Mapping[tuple[str, str], Span]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """`type` is what each row is in a template."""

    plan: SourcePlan
    span: Span
    type: Type


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    set: SetOf
    span: Span


@dataclass(frozen=True, slots=True)
class Draw:
    """`record` is the type its name has in templates; `personas` says that it draws who speaks.  The members
    of a `spread` are values, or parts of what it spreads over; those of a list `of` a set's members are of
    all their lists."""

    name: str
    source: str
    personas: bool
    members: tuple[Member, ...]
    record: Type
    span: Span
    spread: SpreadPlan | None = None
    of: tuple[str, ...] = ()


# What a model is shown for a turn or step.
Sees = Literal["prompt", "transcript", "template"]


@dataclass(frozen=True, slots=True)
class Choosing:
    """How many answers there are to a step, how they are marked and which of them is taken.

    Judges are shown what is `given` besides, by its name; a `let` has them mark the text `of` a template.
    """

    candidates: int = 1
    rubric: Rubric | None = None
    given: Mapping[str, Template | RefPlan] = field(default_factory=dict)
    of: Template | None = None
    pick: PickPlan = field(default_factory=PickPlan)
    revise: Template | None = None
    # Of `candidates`.
    span: Span | None = None
    # Whether it is known what there is beside the value.
    whole: bool = True

    @property
    def may_be_marked(self) -> bool:
        """Whether judges mark, or would if all of it were understood."""
        return self.rubric is not None or not self.whole


@dataclass(frozen=True, slots=True)
class ToolArgument:
    """What a tool is called with, and what a model is told of it."""

    name: str
    type: Type
    required: bool = True
    about: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """What a turn's model may call: a Python function by its `call`, or what another model has `played`.

    `about` is what a model is told of it.  A function that `sees_calls` is given those before, which are
    none of the arguments.  Of what is played, `unused` are arguments that no prompt quotes.
    """

    name: str
    about: str
    arguments: tuple[ToolArgument, ...]
    span: Span
    call: CallPlan | None = None
    sees_calls: bool = False
    played: Step | None = None
    unused: tuple[Declared, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool as a turn has it: in its `plan`, what the sample fills in is none of the model's arguments."""

    plan: ToolPlan
    tool: Tool


@dataclass(frozen=True, slots=True)
class Calling:
    """The tools that a turn's model may call, `most` times in all.  `span` is of the list."""

    uses: tuple[ToolUse, ...] = ()
    most: int = 0
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A turn or a step.  `role` is None for a step; `model` is None for a composed turn."""

    name: str
    role: Role | None
    output: Type
    span: Span
    role_span: Span
    needs: tuple[str, ...] = ()
    model: Model | None = None
    value: Template | None = None
    call: CallPlan | None = None
    system: Template | None = None
    prompt: Template | None = None
    sees: Sees = "prompt"
    sampling: Sampling = field(default_factory=Sampling)
    checks: tuple[CheckPlan, ...] = ()
    must_fail: tuple[CheckPlan, ...] = ()
    retry: int = 0
    choosing: Choosing = field(default_factory=Choosing)
    calling: Calling = field(default_factory=Calling)
    on_length: Literal["refuse", "keep"] = "refuse"
    model_span: Span | None = None
    sees_span: Span | None = None
    when: Conditions = ()
    # The conditions as written.
    written: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """`declared` is the quota as written, which an override may have rescaled to `quota`.

    One over a `table` asks for `each` of its rows, or for `quota` samples; `outside` are the types of the
    row, of the items of its lists and of what is `dealt` from tables, by name.
    """

    name: str
    quota: int
    declared: int
    times: int
    axes: tuple[Axis, ...]
    draws: tuple[Draw, ...]
    steps: tuple[Step, ...]
    train_on: tuple[str, ...]
    train_on_spans: tuple[Span, ...]
    train_every: Role | None
    transcript: str | None
    tags: tuple[str, ...]
    span: Span
    table: TablePlan | None = None
    dealt: tuple[DealtPlan, ...] = ()
    keep: tuple[CheckPlan, ...] = ()
    outside: tuple[tuple[str, Type], ...] = ()
    each: bool = False
    # The conversation whose samples it is over.
    parent: Conversation | None = None
    # What is drawn, looked up or written inside and quoted by nothing inside.
    unused: tuple[Declared, ...] = ()
    # Names inside that failed to be declared; rules over all turns do not hold without them.
    poisoned: frozenset[str] = frozenset()
    # How its conditions can fall.
    ways: Ways = field(default_factory=Ways)


@dataclass(frozen=True, slots=True)
class Preference:
    """Pairs from a conversation; `steps` are what its block generates."""

    name: str
    quota: int | None
    source: str
    steps: tuple[Step, ...]
    chosen: CallPlan
    rejected: CallPlan
    span: Span
    margin: float | None = None
    # The sides that have marks.
    marked: tuple[str, ...] = ()
    # The names of the conversation's steps that are quoted here.
    quoted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures of an export; `places` has the span of each."""

    plan: EvaluationPlan
    span: Span
    places: tuple[Span, ...]


@dataclass(slots=True)
class Bound:
    """A whole recipe.  Dictionaries are in declared order."""

    edition: int = 1
    recipe: str = ""
    docs: str = ""
    seed: int = 0
    losses: float = 1000
    # What each name of the file is declared as, known before it is bound.
    kinds: dict[str, str] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    schemas: dict[str, Schema] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    rubrics: dict[str, Rubric] = field(default_factory=dict)
    tools: dict[str, Tool] = field(default_factory=dict)
    sets: dict[str, SetOf] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    preferences: dict[str, Preference] = field(default_factory=dict)
    mixes: dict[str, MixPlan] = field(default_factory=dict)
    exports: dict[str, ExportPlan] = field(default_factory=dict)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    functions: list[FunctionPlan] = field(default_factory=list)
