"""What of the language this version compiles and cannot run."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.checks import CHECKS
from compiler.plan import Plan, StepPlan
from dsl.errors import ConfigError


def require_runnable(plan: Plan) -> None:
    """Raises ConfigError, in one sentence, for a plan that asks for what cannot be run yet."""
    found = list(dict.fromkeys(_beyond(plan)))
    if found:
        raise ConfigError(
            f"`{plan.recipe}` compiles, and this version of synth does not run {', '.join(found)} yet"
        )


def _beyond(plan: Plan) -> Iterator[str]:
    for kind, things in (
        ("source", plan.sources),
        ("preference", plan.preferences),
        ("mix", plan.mixes),
    ):
        if things:
            yield f"`{kind}`"
    for cohort in plan.cohorts:
        if cohort.transcript is not None:
            yield "`transcript`"
        for step in cohort.steps:
            yield from _step(step)


def _step(step: StepPlan) -> Iterator[str]:
    if step.call is not None:
        yield f"`{step.call.name}`"
    for check in step.checks:
        known = CHECKS[check.name]
        if known.function is None and not known.many:
            yield f"the check `{check.name}`"
