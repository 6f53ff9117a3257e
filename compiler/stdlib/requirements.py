"""What a plan needs before it can run."""

from __future__ import annotations

from collections.abc import Iterator

from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.stdlib.checks import prepare_checks


def require_runnable(plan: Plan) -> None:
    """Raises ConfigError, in one sentence, for a plan whose checks need a package that is not
    installed."""
    prepare_checks(_checks(plan))


def _checks(plan: Plan) -> Iterator[CheckPlan]:
    for cohort in (*plan.cohorts, *plan.pair_cohorts):
        yield from cohort.keep
        for step in cohort.steps:
            yield from (*step.checks, *step.must_fail)
    for source in plan.sources:
        yield from source.keep
