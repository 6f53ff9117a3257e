"""What of the language this version compiles and cannot run."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.checks import prepare_checks
from compiler.plan import CheckPlan, Plan, StepPlan
from dsl.errors import ConfigError


def require_runnable(plan: Plan) -> None:
    """Raises ConfigError, in one sentence, for a plan that asks for what cannot be run yet, or
    whose checks need a package that is not installed."""
    found = list(dict.fromkeys(_beyond(plan)))
    if found:
        raise ConfigError(
            f"`{plan.recipe}` compiles, and this version of synth does not run {', '.join(found)} yet"
        )
    prepare_checks(_checks(plan))


def _beyond(plan: Plan) -> Iterator[str]:
    if any(source.type == "chunk" for source in plan.sources):
        yield "a `source` of chunks"
    for cohort in plan.cohorts:
        for step in cohort.steps:
            yield from _step(step)


def _step(step: StepPlan) -> Iterator[str]:
    if step.call is not None:
        yield f"`{step.call.name}`"


def _checks(plan: Plan) -> Iterator[CheckPlan]:
    for cohort in (*plan.cohorts, *plan.pair_cohorts):
        for step in cohort.steps:
            yield from (*step.checks, *step.must_fail)
    for source in plan.sources:
        yield from source.keep
