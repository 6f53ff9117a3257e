"""The models of a plan, and how each picks tokens."""

from __future__ import annotations

from typing import Literal

from synth.base.canonical import Frozen
from synth.compiler.plan.types import Capability


class Sampling(Frozen):
    """How a model picks tokens.  None leaves the choice to the engine's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


class ModelPlan(Frozen):
    """A model as the recipe declares it; `--model` and synth.toml may map it elsewhere.

    `reasoning` is how much it is to think before it answers.
    """

    name: str
    capabilities: tuple[Capability, ...]
    backend: str
    id: str
    revision: str | None = None
    adapter: str | None = None
    sampling: Sampling = Sampling()
    reasoning: Literal["none", "minimal", "low", "medium", "high"] | None = None
