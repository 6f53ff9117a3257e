"""How a plan looks in a notebook: a line as text, a table as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth.base.html import html_table

if TYPE_CHECKING:
    from synth.compiler.plan.model import Plan


def plan_line(plan: Plan) -> str:
    cohorts = (*plan.cohorts, *plan.pair_cohorts)
    quotas = [f"{cohort.name} {cohort.quota:,}" for cohort in cohorts]
    calls = sum(cohort.quota * len(cohort.asking) for cohort in cohorts)
    return f"{plan.recipe}: {', '.join(quotas)}; {calls:,} calls without retries"


def plan_html(plan: Plan) -> str:
    rows = [
        [cohort.name, cohort.quota, step.name, step.model, ", ".join(check.name for check in step.checks)]
        for cohort in (*plan.cohorts, *plan.pair_cohorts)
        for step in cohort.asking
    ]
    return html_table(plan_line(plan), ("conversation", "quota", "step", "model", "checks"), rows)
