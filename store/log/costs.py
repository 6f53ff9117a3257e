"""What the runs of a recipe cost, as their log says."""

from __future__ import annotations

import json
from typing import Any

import duckdb

from synth.compiler.plan.model import Plan
from synth.store.log import payload_sql
from synth.store.log.events import Kind


def costs(plan: Plan, cursor: duckdb.DuckDBPyConnection, events: int) -> dict[str, Any] | None:
    """`prices` (whose, by model) and the money `spent` by the runs of a recipe that ended before a
    position of the log; None where no price was known.  What a run spent that was killed is in no event."""
    rows = cursor.execute(
        f"""SELECT r.kind, json_extract(r.payload, CASE r.kind WHEN $started THEN '$.prices' ELSE
                  '$.counts.models' END)
           FROM events r WHERE r.kind IN ($started, $stopped) AND r.seq < $events AND r.run_id IN (
               SELECT s.run_id FROM events s JOIN events p
               ON p.kind = $registered AND (p.{payload_sql.PLAN_HASH}) = (s.{payload_sql.PLAN_HASH})
               WHERE s.kind = $started AND (p.{payload_sql.PLAN_RECIPE}) = $recipe)
           ORDER BY r.seq""",
        {
            "started": Kind.RUN_STARTED.value,
            "stopped": Kind.RUN_STOPPED.value,
            "registered": Kind.PLAN_REGISTERED.value,
            "recipe": plan.recipe,
            "events": events,
        },
    ).fetchall()
    prices: dict[str, str] = {}
    spent = 0.0
    for kind, text in rows:
        recorded = json.loads(text) if text is not None else None
        if kind == Kind.RUN_STARTED.value:
            prices |= {name: price["by"] for name, price in (recorded or {}).items()}
        else:
            spent += sum((model["cost"] or 0.0) + (model["lost_cost"] or 0.0) for model in recorded or ())
    return {"prices": dict(sorted(prices.items())), "spent": round(spent, 6)} if prices else None
