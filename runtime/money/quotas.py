"""How many samples each conversation is to have, and what rows are like, before anything is generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.tables.environment import environment
from synth.compiler.plan.tables.row_deals import RowDeals, places_a_row
from synth.store.dataset.inputs.over_table import Tables

# Rows whose values stand for those of all.
_EXAMPLES = 32


def expected_quotas(plan: Plan, rows: Mapping[str, int | None]) -> dict[str, int]:
    """By conversation, and by preference that generates.  `rows` are how many there are of each source; of
    one that nobody counted, one row is."""
    quotas: dict[str, int] = {}
    for cohort in plan.cohorts:
        table, parent = cohort.rows, plan.parent_of(cohort)
        counted = rows.get(table.table) if table is not None else None
        if table is None:
            quotas[cohort.name] = cohort.quota
        elif cohort.each:
            above = quotas[parent.name] if parent is not None else (1 if counted is None else counted)
            quotas[cohort.name] = above * places_a_row(cohort)
        elif parent is not None and _lists(plan, cohort):
            quotas[cohort.name] = cohort.quota
        elif parent is not None:
            quotas[cohort.name] = min(cohort.quota, quotas[parent.name] * places_a_row(cohort))
        elif counted is None or table.lists or any(dealt.of for dealt in cohort.dealt):
            quotas[cohort.name] = cohort.quota
        else:
            # No more than all rows make, before any is lost.
            quotas[cohort.name] = min(cohort.quota, counted * places_a_row(cohort))
    for pairs in plan.pair_cohorts:
        quota = plan.preference(pairs.name).quota
        base = quotas[plan.preference(pairs.name).source]
        quotas[pairs.name] = base if quota is None else min(quota, base)
    return quotas


def _lists(plan: Plan, cohort: CohortPlan) -> bool:
    """Whether a conversation, or one that its samples are made of, goes through lists, of which nobody knows
    how long they are."""
    parent = plan.parent_of(cohort)
    return bool(cohort.rows and cohort.rows.lists) or (parent is not None and _lists(plan, parent))


def examples_of(plan: Plan, tables: Tables | None) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """What the first rows are, by the name of the conversation that is over them."""
    examples: dict[str, Sequence[Mapping[str, Any]]] = {}
    for cohort in plan.cohorts:
        if tables is None or cohort.rows is None or cohort.rows.kind != "source":
            continue
        table = tables.of(cohort.name)
        deals = RowDeals(plan, cohort, table.labels, 0, tables.dealer(cohort))
        entries = table.entries(range(min(_EXAMPLES, len(table))))
        examples[cohort.name] = [environment(cohort, slot) for row in entries for slot in deals.slots(row)]
    return examples
