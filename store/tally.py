"""What is counted while rows are written, for the manifest: who wrote them, and what varies."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from compiler.plan import CohortPlan, Member
from store.select import stream

_CHUNK = 50_000


class Tally:
    """Counts samples by the members they drew, and remembers the calls behind them.

    `written` are the names that authors are listed under, such as those of the steps.
    """

    def __init__(self, cohort: CohortPlan, written: Iterable[str]) -> None:
        self._members = members_of(cohort)
        self._cells: Counter[tuple[str, ...]] = Counter()
        self._calls = {name: array("q") for name in written}

    def sample(self, cell: Mapping[str, str]) -> None:
        """Counts one sample, or one pair, of a cell."""
        self._cells[tuple(cell[name] for name in self._members)] += 1

    def call(self, name: str, seq: int | None) -> None:
        """Takes note of the call behind what is listed under a name; None is no call."""
        if seq is not None:
            self._calls[name].append(seq)

    def manifest(self, cursor: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        """`written_by`, `counts` and `cells`."""
        labels = sorted(self._cells)
        counts: dict[str, dict[str, int]] = {}
        for place, (name, members) in enumerate(self._members.items()):
            found: Counter[str] = Counter()
            for cell in labels:
                found[cell[place]] += self._cells[cell]
            counts[name] = {m.label: found[m.label] for m in members if m.label in found}
        return {
            "written_by": {name: _authors(cursor, seqs) for name, seqs in self._calls.items()},
            "counts": counts,
            "cells": [
                {"cell": dict(zip(self._members, cell, strict=True)), "samples": self._cells[cell]}
                for cell in labels
            ],
        }


def members_of(cohort: CohortPlan) -> dict[str, tuple[Member, ...]]:
    """What varies in a cohort by name, its axes and then its draws, with the members of each."""
    axes = {axis.name: axis.members for axis in cohort.axes}
    return axes | {draw.name: draw.members for draw in cohort.draws}


def _authors(cursor: duckdb.DuckDBPyConnection, seqs: array[int]) -> list[dict[str, Any]]:
    """Which model, identity and engine wrote how many of some calls' answers."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for start in range(0, len(seqs), _CHUNK):
        some = seqs[start : start + _CHUNK].tolist()
        rows = cursor.execute(
            """SELECT model, CAST(payload -> 'identity' AS VARCHAR), payload ->> 'engine', count(*)
               FROM events WHERE seq BETWEEN ? AND ? AND seq IN (SELECT unnest(?)) GROUP BY ALL""",
            [min(some), max(some), some],
        )
        counts.update({(model, identity, engine): n for model, identity, engine, n in stream(rows)})
    return [
        {"model": model, "identity": json.loads(identity), "engine": engine, "rows": n}
        for (model, identity, engine), n in sorted(counts.items())
    ]
