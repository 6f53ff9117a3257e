"""How a plan looks in a notebook: a line as text, a table as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth.base.html import html_table

if TYPE_CHECKING:
    from synth.compiler.plan.model import CohortPlan, Plan


def plan_line(plan: Plan) -> str:
    cohorts = (*plan.cohorts, *plan.pair_cohorts)
    quotas = [f"{cohort.name} {_quota(cohort)}" for cohort in cohorts]
    calls = sum(cohort.quota * len(cohort.asking) for cohort in cohorts)
    more = " and those of each row" if any(cohort.each for cohort in cohorts) else ""
    return f"{plan.recipe}: {', '.join(quotas)}; {calls:,} calls{more} without retries"


def _quota(cohort: CohortPlan) -> str:
    """How many samples a conversation is to have."""
    return f"each of {cohort.rows.table}" if cohort.each and cohort.rows is not None else f"{cohort.quota:,}"


def plan_html(plan: Plan) -> str:
    rows = [
        [cohort.name, _quota(cohort), step.name, step.model, ", ".join(check.name for check in step.checks)]
        for cohort in (*plan.cohorts, *plan.pair_cohorts)
        for step in cohort.asking
    ]
    return html_table(plan_line(plan), ("conversation", "quota", "step", "model", "checks"), rows)
