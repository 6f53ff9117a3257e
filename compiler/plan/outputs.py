"""What a plan makes of samples and rows: mixes, exports and measures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from synth.base.canonical import Frozen
from synth.compiler.plan.judging.rubrics import RubricPlan
from synth.compiler.plan.value_types import ValueType


class MixPart(Frozen):
    """`share` is relative to the sum over the parts."""

    name: str
    share: Annotated[int, Field(ge=0)]
    sources: tuple[str, ...]


class MixPlan(Frozen):
    """With `whole` all rows of all parts are taken, and shares say nothing.  `order` has the names of all
    parts, of which one comes after another; without it they are interleaved."""

    name: str
    parts: tuple[MixPart, ...]
    total: int | None = None
    when_short: Literal["fail", "shrink", "repeat"] = "fail"
    whole: bool = False
    order: tuple[str, ...] = ()

    def share(self, part: MixPart) -> str:
        """A part's share of the rows in words: `40%`, or `all` of what it has."""
        if self.whole:
            return "all"
        return f"{100 * part.share / sum(other.share for other in self.parts):.4g}%"


class MetricPlan(Frozen):
    """Bounds are ratios as percentages, or numbers; None is no bound.  What is `marked` is so by a rubric,
    whose `judges` are among the arguments, and `mark`, the question whose marks are meant or `total`."""

    name: str
    arguments: dict[str, JsonValue] = {}
    at_most: float | None = None
    at_least: float | None = None
    rubric: RubricPlan | None = None


class EvaluationPlan(Frozen):
    name: str
    of: str
    measures: tuple[MetricPlan, ...]


Form = Literal[
    "messages",
    "prompt_completion",
    "sharegpt",
    "preference",
    "sharegpt_preference",
    "unpaired",
    "ranked",
    "rejected",
]


class ColumnPlace(Frozen):
    """Where the samples of a conversation have a value: `path` begins with an axis, a draw, a step, `nth`
    or what the conversation is over."""

    source: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join((self.source, *self.path))


class ColumnPlan(Frozen):
    """A column with its type.  It has one place for each conversation that has it, and is null in rows of
    others.  With `rest` its place is a row, and it holds the JSON of the row's other columns."""

    name: str
    type: ValueType
    places: tuple[ColumnPlace, ...]
    rest: bool = False


class ExportPlan(Frozen):
    """One dataset.  `split` is the percentage of rows that train, None for no split.

    `thought` says what becomes of private reasoning; `context` names the step whose passages open
    each row.  `rejected` rows are the refused attempts of a conversation, `unpaired` ones its trained
    turns and what was refused of them, `ranked` ones the marked candidates of its `step`, or of the only
    one that has marks.  `licence` and `languages` are for the card, as dataset hubs write them.  A column
    that is a name alone is that axis, draw or step of the one conversation, as text."""

    name: str
    type: Form = "messages"
    source: str
    to: str
    split: str | None = None
    columns: tuple[str | ColumnPlan, ...] = ()
    roles: Literal["assistant", "model"] = "assistant"
    format: Literal["jsonl", "parquet"] = "jsonl"
    thought: Literal["strip", "keep", "wrap"] = "strip"
    context: str | None = None
    step: str | None = None
    licence: str | None = None
    languages: tuple[str, ...] = ()
