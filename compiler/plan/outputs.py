"""What a plan makes of samples and rows: mixes, exports and measures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from synth.base.canonical import Frozen


class MixPart(Frozen):
    """`share` is relative to the sum over the parts."""

    name: str
    share: Annotated[int, Field(ge=0)]
    sources: tuple[str, ...]


class MixPlan(Frozen):
    name: str
    parts: tuple[MixPart, ...]
    total: int | None = None
    when_short: Literal["fail", "shrink", "repeat"] = "fail"


class MetricPlan(Frozen):
    """Bounds are ratios as percentages, or numbers; None is no bound."""

    name: str
    arguments: dict[str, JsonValue] = {}
    at_most: float | None = None
    at_least: float | None = None


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
    "rejected",
]


class ExportPlan(Frozen):
    """One dataset.  `split` is the percentage of rows that train, None for no split.

    `thought` says what becomes of private reasoning; `context` names the step whose passages open
    each row.  `rejected` rows are the refused attempts of a conversation, `unpaired` ones its trained
    turns and what was refused of them.  `licence` and `languages`
    are for the card, as dataset hubs write them."""

    name: str
    type: Form = "messages"
    source: str
    to: str
    split: str | None = None
    columns: tuple[str, ...] = ()
    roles: Literal["assistant", "model"] = "assistant"
    format: Literal["jsonl", "parquet"] = "jsonl"
    thought: Literal["strip", "keep", "wrap"] = "strip"
    context: str | None = None
    licence: str | None = None
    languages: tuple[str, ...] = ()
