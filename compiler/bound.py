"""Bound: what a recipe's names stand for, with types checked and places kept.

Between Syntax and Plan.  Declarations carry the spans that later passes point at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from compiler.plan import (
    CheckPlan,
    ExportPlan,
    Member,
    ModelPlan,
    Role,
    Sampling,
    Template,
)
from compiler.types import Schema, Type
from dsl.source import Span


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
class SetOf:
    """A set, personas or tiers: members in declared order, all of one schema."""

    name: str
    schema: Schema
    members: tuple[Member, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    set: SetOf
    span: Span


@dataclass(frozen=True, slots=True)
class Draw:
    """`record` is the type its name has in templates."""

    name: str
    source: str
    members: tuple[Member, ...]
    record: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Step:
    """A turn or a step.  `role` is None for a step; `model` is None for a composed turn."""

    name: str
    role: Role | None
    model: Model | None
    output: Type
    value: Template | None
    system: Template | None
    prompt: Template | None
    sees: str
    sampling: Sampling
    checks: tuple[CheckPlan, ...]
    retry: int
    needs: tuple[str, ...]
    span: Span
    role_span: Span
    model_span: Span | None
    sees_span: Span | None


@dataclass(frozen=True, slots=True)
class Conversation:
    name: str
    quota: int
    times: int
    axes: tuple[Axis, ...]
    draws: tuple[Draw, ...]
    steps: tuple[Step, ...]
    train_on: tuple[str, ...]
    train_on_spans: tuple[Span, ...]
    tags: tuple[str, ...]
    span: Span
    # Names inside that failed to be declared; rules over all turns do not hold without them.
    poisoned: frozenset[str] = frozenset()


@dataclass(slots=True)
class Bound:
    """A whole recipe.  Dictionaries are in declared order."""

    edition: int = 1
    recipe: str = ""
    docs: str = ""
    seed: int = 0
    params: dict[str, Param] = field(default_factory=dict)
    schemas: dict[str, Schema] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    sets: dict[str, SetOf] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    exports: dict[str, ExportPlan] = field(default_factory=dict)
