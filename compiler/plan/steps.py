"""What a plan says of a step: who writes it, from what, and what it must satisfy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from synth.base.canonical import Frozen, canonical_json
from synth.compiler.plan.conditions import ConditionPlan
from synth.compiler.plan.judging.rubrics import RubricPlan
from synth.compiler.plan.models import Sampling

# Who says a turn; one of `messages` is several that somebody said before.
Role = Literal["user", "model", "system", "messages"]


class FilterPlan(Frozen):
    name: str
    arguments: tuple[JsonValue, ...] = ()


class RefPlan(Frozen):
    """A value looked up when a prompt is rendered: a draw, an earlier step, `nth`."""

    path: tuple[str, ...]
    filters: tuple[FilterPlan, ...] = ()


Template = tuple[str | RefPlan, ...]

# What a call's argument is: known now, or each sample's own.
ArgumentValue = Annotated[RefPlan | JsonValue, Field(union_mode="left_to_right")]


class CheckPlan(Frozen):
    """One check with its arguments by parameter name.

    `of` is what is checked: a path below the value that the check stands with (a row's record, a step's
    value), every item of a list on it and at its end; what is absent passes.  None is the value as a
    whole.  `source` says that it is a Python function, `name` as recipes write it, and which version
    (`FunctionPlan.source`); where its first parameter is not among the arguments, that is what is checked.
    `against` is a source, and the path of a field of its rows, with all of which the value is compared.
    """

    name: str
    of: tuple[str, ...] | None = None
    against: tuple[str, ...] = ()
    arguments: dict[str, ArgumentValue] = {}
    label: str = ""
    source: str = ""


class TextOutput(Frozen):
    kind: Literal["text"] = "text"


class JsonOutput(Frozen):
    kind: Literal["json"] = "json"
    schema_: dict[str, JsonValue] = Field(alias="schema")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    @property
    def thinks(self) -> bool:
        """Whether it is something said with the reasoning behind it: a record of the two texts
        `thought` and `content`, and of nothing else."""
        fields = self.schema_.get("properties")
        return (
            isinstance(fields, dict)
            and fields.keys() == {"thought", "content"}
            and all(isinstance(field, dict) and field.get("type") == "string" for field in fields.values())
        )


class CallPlan(Frozen):
    """A function of the language with its arguments by parameter name, or a Python function, whose
    version is its `source` (`FunctionPlan.source`)."""

    name: str
    arguments: dict[str, ArgumentValue] = {}
    source: str = ""


class PickPlan(Frozen):
    """Which of the candidates of a round that stand becomes the value: the first, the one with the best
    marks, or the first of the most common value.  Of the last, what is compared lies at the path `of`
    below a value, or is what a function gives."""

    by: Literal["first", "best", "most_common"] = "first"
    of: tuple[str, ...] = ()
    call: CallPlan | None = None


class ToolPlan(Frozen):
    """A tool that a turn's model may call: a Python function (`call`, its name and source), or what another
    model plays (`played`, a step that quotes the arguments by their names).

    `parameters` is the JSON Schema of the object of arguments that the model gives; `given` are those that
    the sample fills, by name.  A function with `sees_calls` is given the calls before in its parameter
    `calls`.
    """

    name: str
    description: str = ""
    parameters: dict[str, JsonValue]
    given: dict[str, ArgumentValue] = {}
    call: CallPlan | None = None
    sees_calls: bool = False
    played: StepPlan | None = None

    @cached_property
    def definition(self) -> dict[str, Any]:
        """What a model is told of it, in the form that services and chat templates take: the same text for
        a plan that was compiled and for one that a log registered, whose keys are sorted."""
        parameters = json.loads(canonical_json(self.parameters))
        about = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": about}


class StepPlan(Frozen):
    """A turn (it has a role and enters the transcript), a step or a let (they have none).

    One of `value` (composed text), `call` (a function, such as `retrieve`) and `model` is given.
    `needs` are the earlier steps that must be accepted before this one can start.  A user's turn that sees
    the `template` is written on where a chat template opens it.  An evaluation's
    step can see the `row` it is about; one that `scores` writes nothing: its value is how likely
    the model finds the row's last message, and one that only `calls_tools` has the calls of its first
    answer for its value.  `judged_by` asks a model for the verdict of each check
    that names one.  Each round of attempts has so many `candidates`, which judges mark by a `rubric`
    (`marked_by`, one step a judge) and of which one is the `pick`; a later round is shown `revise` below
    what the first was shown.  `on_length` says what becomes of text that was cut at the limit of tokens.
    A step under conditions, all of which must hold, is left out of the other samples: its value is null
    there.  A model's turn with `tools` may call them before it speaks, at most `max_tool_calls` times.
    """

    name: str
    role: Role | None = None
    model: str | None = None
    output: TextOutput | JsonOutput = Field(default=TextOutput(), discriminator="kind")
    value: Template | None = None
    call: CallPlan | None = None
    system: Template | None = None
    prompt: Template | None = None
    sees: Literal["prompt", "transcript", "template", "row"] = "prompt"
    scores: bool = False
    calls_tools: bool = False
    sampling: Sampling = Sampling()
    checks: tuple[CheckPlan, ...] = ()
    must_fail: tuple[CheckPlan, ...] = ()
    retry: Annotated[int, Field(ge=0)] = 0
    needs: tuple[str, ...] = ()
    judged_by: tuple[StepPlan, ...] = ()
    candidates: Annotated[int, Field(ge=1)] = 1
    rubric: RubricPlan | None = None
    marked_by: tuple[StepPlan, ...] = ()
    pick: PickPlan = PickPlan()
    revise: Template | None = None
    on_length: Literal["refuse", "keep"] = "refuse"
    when: tuple[ConditionPlan, ...] = ()
    tools: tuple[ToolPlan, ...] = ()
    max_tool_calls: Annotated[int, Field(ge=0)] = 0

    @property
    def thinks(self) -> bool:
        """Whether it is a turn whose value has the reasoning behind it besides what is said."""
        return self.role is not None and isinstance(self.output, JsonOutput) and self.output.thinks

    @property
    def exchanges(self) -> int:
        """How many calls an attempt is taken to make: one for each tool, and the one that speaks."""
        return 1 + min(len(self.tools), self.max_tool_calls)

    @cached_property
    def definitions(self) -> tuple[dict[str, Any], ...]:
        """What a model is told of its tools."""
        return tuple(tool.definition for tool in self.tools)

    @property
    def players(self) -> tuple[StepPlan, ...]:
        """The steps in which models play its tools."""
        return tuple(tool.played for tool in self.tools if tool.played is not None)

    def said(self, value: Any) -> str:
        """A value as text: what is said, where it `thinks`; of other JSON the canonical text."""
        if self.thinks:
            value = value["content"]
        return value if isinstance(value, str) else canonical_json(value)


def asking(steps: Iterable[StepPlan]) -> tuple[StepPlan, ...]:
    """Those of some steps that ask a model, and after each step those of the models that play its tools
    and of its judges."""
    return tuple(
        prompted
        for step in steps
        for prompted in (step, *step.players, *step.judged_by, *step.marked_by)
        if prompted.model is not None
    )


def comparing(steps: Iterable[StepPlan]) -> Iterator[CheckPlan]:
    """Those checks of some steps that compare a value with the rows of a source."""
    return (check for step in steps for check in step.checks if check.against)
