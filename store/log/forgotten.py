"""What a log has forgotten, for those who read it.

`synth forget` writes a log anew in which some payloads are tombstones: `forgotten` is the sha256 of the
payload as it was, beside it is what the log's structure needs, and the content is gone.  An event
`sample.forgotten` names each sample, or row of a source, of which nothing is to be had any more, so that
it is neither exported nor made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from synth.store.log.events import Kind
from synth.store.log.payloads import LogRewritten, SampleForgotten

MARK = "forgotten"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """`events` are the seqs of tombstones; `config_hashes` has, by lineage, how each forgotten sample of it
    had ended: `completed`, `abandoned` or `pending`."""

    events: frozenset[int] = frozenset()
    config_hashes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, config_hash: str | None, *outcomes: str) -> list[str]:
        """The forgotten samples of a lineage that had ended in one of some ways."""
        outcomes_of = self.config_hashes.get(config_hash or "", {})
        return [name for name, outcome in outcomes_of.items() if outcome in outcomes]


NOTHING = Forgotten()


def forgotten_of(cursor: duckdb.DuckDBPyConnection) -> Forgotten:
    """All that a log has forgotten, whatever the position that is looked at: it is gone at each."""
    rows = cursor.execute(
        "SELECT sample_id, payload FROM events WHERE kind = ?", [Kind.SAMPLE_FORGOTTEN.value]
    ).fetchall()
    if not rows:
        return NOTHING
    events: set[int] = set()
    config_hashes: dict[str, dict[str, str]] = {}
    for name, text in rows:
        payload: SampleForgotten = json.loads(text)
        events.update(payload["events"])
        for config_hash, outcome in payload["lineages"].items():
            config_hashes.setdefault(config_hash, {})[name] = outcome
    return Forgotten(frozenset(events), config_hashes)


def is_tombstone(payload: Mapping[str, Any]) -> bool:
    return MARK in payload


def earlier_heads(cursor: duckdb.DuckDBPyConnection, batch: int) -> set[str]:
    """The hashes that a batch had before something in the log was forgotten."""
    return {heads[str(batch)] for heads in _heads(cursor) if str(batch) in heads}


def all_earlier_heads(cursor: duckdb.DuckDBPyConnection) -> set[str]:
    """The hashes that any batch had before, in any of the logs that a log was written from."""
    return {head for heads in _heads(cursor) for head in heads.values()}


def _heads(cursor: duckdb.DuckDBPyConnection) -> list[Mapping[str, str]]:
    rows = cursor.execute("SELECT payload FROM events WHERE kind = ?", [Kind.LOG_REWRITTEN.value]).fetchall()
    payloads: list[LogRewritten] = [json.loads(text) for (text,) in rows]
    return [payload["heads"] for payload in payloads]
