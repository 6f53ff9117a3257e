"""Which lineages a sample was under way in that has no end: runs say which they have, and their plans which
conversation has a sample of that name."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import duckdb

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import CellNames, stretches
from synth.store.log.events import Kind
from synth.store.log.forgotten import is_tombstone


class Runs:
    """The runs of a log and their plans."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        rows = cursor.execute(
            "SELECT kind, run_id, payload FROM events WHERE kind IN (?, ?)",
            [Kind.PLAN_REGISTERED.value, Kind.RUN_STARTED.value],
        ).fetchall()
        self._plans: dict[str, Any] = {}
        self._started: dict[str, dict[str, Any]] = {}
        self._names: dict[tuple[str, str], frozenset[int]] = {}
        for kind, run, text in rows:
            payload = json.loads(text)
            if kind == Kind.RUN_STARTED.value:
                self._started[run] = payload
            elif not is_tombstone(payload):
                self._plans[payload["plan_hash"]] = payload["plan"]

    def config_hashes(self, run: str, step: str | None = None, name: str = "") -> list[str]:
        """The lineages of a run; those that a sample of this name can have had a step under."""
        started = self._started.get(run, {"lineages": {}, "plan_hash": ""})
        by_cohort = {cohort: str(entry["lineage"]) for cohort, entry in started["lineages"].items()}
        if step is None:
            return list(by_cohort.values())
        plan = self._plans.get(started["plan_hash"], {})
        steps: dict[str, set[str]] = defaultdict(set)
        for entry in (*plan.get("cohorts", ()), *plan.get("preferences", ())):
            steps[entry["name"]] |= {one["name"] for one in entry["steps"]}
        those = [cohort for cohort in by_cohort if step in steps.get(cohort, {step})]
        if len(those) > 1:
            having = [cohort for cohort in those if self._has(started["plan_hash"], cohort, name)]
            those = having or those
        return [by_cohort[cohort] for cohort in those]

    def _has(self, plan_hash: str, cohort: str, name: str) -> bool:
        """Whether a slot of a conversation is that of a sample."""
        if (plan_hash, cohort) not in self._names:
            self._names[plan_hash, cohort] = self._slots(plan_hash, cohort)
        return int(name, 16) in self._names[plan_hash, cohort]

    def _slots(self, plan_hash: str, name: str) -> frozenset[int]:
        try:
            plan = Plan.model_validate(self._plans[plan_hash])
        except (KeyError, ValueError):
            return frozenset()
        cohort = next((entry for entry in plan.cohorts if entry.name == name), None)
        return frozenset() if cohort is None else frozenset(_slots(plan, cohort))


def _slots(plan: Plan, cohort: CohortPlan) -> list[int]:
    slots, row, counts = [], None, list[int]()
    for cells, dealt in stretches(plan, cohort):
        if cells is not row:
            row, counts = cells, []
        counts += [0] * (len(cells) - len(counts))
        for index in dealt:
            slots.append(CellNames(plan, cohort, cells[index].labels)[counts[index]])
            counts[index] += 1
    return slots
