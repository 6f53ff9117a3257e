"""How many calls a log holds that were answered, and about what they cost: for its witness."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from synth.store.log import payload_sql
from synth.store.log.events import Event, Kind

_COMPLETED, _FAILED, _STARTED = Kind.CALL_COMPLETED, Kind.CALL_FAILED, Kind.RUN_STARTED


@dataclass(slots=True)
class Spent:
    """Counters over a log's events.  `cost` is in the unit of the prices that runs recorded, by their
    plain rates: an estimate.  `rates` are those of the run that goes on, by model."""

    calls: int = 0
    cost: float = 0.0
    rates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, events: Iterable[Event]) -> None:
        """Counts events that are durable."""
        # A run counts thousands a second: names of the module are found sooner than those of a class.
        for event in events:
            kind = event.kind
            if kind is _COMPLETED:
                self.calls += 1
                if self.rates:
                    self._pay(event.model, event.prompt_tokens, event.completion_tokens, event.payload)
            elif kind is _FAILED:
                if self.rates:
                    self._pay(event.model, event.prompt_tokens, event.completion_tokens, event.payload)
            elif kind is _STARTED:
                self.rates = event.payload.get("prices") or {}

    def _pay(
        self, model: str | None, prompt: int | None, completion: int | None, payload: Mapping[str, Any]
    ) -> None:
        rates = self.rates.get(model or "")
        if rates is not None:
            self.cost += _money(rates, prompt or 0, completion or 0, payload) + payload.get("lost_cost", 0.0)


def spent_from(cursor: duckdb.DuckDBPyConnection, first: int) -> Spent:
    """What the events of a log come to from one on."""
    spent = Spent()
    counted = cursor.execute(
        "SELECT count(*) FROM events WHERE kind = ? AND seq >= ?", [Kind.CALL_COMPLETED.value, first]
    ).fetchone()
    spent.calls = 0 if counted is None else int(counted[0])
    started = cursor.execute(
        f"SELECT run_id, CAST({payload_sql.PRICES} AS VARCHAR) FROM events WHERE kind = ?",
        [Kind.RUN_STARTED.value],
    ).fetchall()
    prices = {run_id: json.loads(text) for run_id, text in started if text not in (None, "{}", "null")}
    if not prices:
        return spent
    rows = cursor.execute(
        """SELECT run_id, model, prompt_tokens, completion_tokens,
                  CAST(json_extract(payload, ['$.cached_tokens', '$.reasoning_tokens', '$.lost_cost'])
                       AS VARCHAR[])
           FROM events WHERE kind IN (?, ?) AND seq >= ? AND run_id IN (SELECT unnest(?))""",
        [Kind.CALL_COMPLETED.value, Kind.CALL_FAILED.value, first, list(prices)],
    )
    names = ("cached_tokens", "reasoning_tokens", "lost_cost")
    while chunk := rows.fetchmany(65_536):
        for run_id, model, prompt, completion, parts in chunk:
            spent.rates = prices[run_id]
            details = {name: json.loads(text) for name, text in zip(names, parts, strict=True) if text}
            spent._pay(model, prompt, completion, {name: value for name, value in details.items() if value})
    spent.rates = {}
    return spent


def _money(rates: Mapping[str, Any], prompt: int, completion: int, payload: Mapping[str, Any]) -> float:
    cached, reasoning = payload.get("cached_tokens", 0), payload.get("reasoning_tokens", 0)
    into, out = rates["input"], rates["output"]
    total = (
        (prompt - cached) * into
        + cached * rates.get("cached_input", into)
        + (completion - reasoning) * out
        + reasoning * rates.get("reasoning", out)
    )
    return float(rates.get("call", 0.0) + total / 1e6)
