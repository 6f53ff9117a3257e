"""What is counted while rows are written, for the manifest: who wrote them, and what varies."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.tables.draws import Member
from synth.store.dataset.inputs.select import among, stream
from synth.store.log import payload_sql
from synth.store.log.served import others as served_by_others

_CHUNK = 50_000
# So many values of a spread are listed one by one.
_MOST_LISTED = 12


class ProvenanceCounts:
    """Counts samples by the members they drew, and remembers the calls behind them.

    `written` are the names that authors are listed under, such as those of the steps.
    """

    def __init__(self, cohort: CohortPlan, written: Iterable[str]) -> None:
        self._members = members_of(cohort)
        # What is spread over many values counts as one.
        self._spread = {
            draw.name: draw.spread.text
            for draw in cohort.draws
            if draw.spread is not None and len(draw.members) > _MOST_LISTED
        }
        self._cells: Counter[tuple[str, ...]] = Counter()
        self._calls = {name: array("q") for name in written}
        self._cut: Counter[str] = Counter()

    def sample(self, cell: Mapping[str, str], count: int = 1) -> None:
        """Counts one sample, or one pair, of a cell; or so many of them."""
        self._cells[tuple(self._spread.get(name) or cell[name] for name in self._members)] += count

    def call(self, name: str, seq: int | None) -> None:
        """Takes note of the call behind what is listed under a name; None is no call."""
        self.calls(name, [seq])

    def calls(self, name: str, seqs: Iterable[int | None]) -> None:
        """The same of many."""
        self._calls[name].extend([seq for seq in seqs if seq is not None])

    def cut(self, names: Iterable[str]) -> None:
        """Counts what of one sample was kept although it was cut at the limit of tokens."""
        self._cut.update(names)

    def manifest(self, cursor: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        """`written_by`, `counts` and `cells`; `cut`, where texts were kept that had been cut."""
        labels = sorted(self._cells)
        counts: dict[str, dict[str, int]] = {}
        for place, (name, members) in enumerate(self._members.items()):
            found: Counter[str] = Counter()
            for cell in labels:
                found[cell[place]] += self._cells[cell]
            labels_of = [self._spread[name]] if name in self._spread else [m.label for m in members]
            counts[name] = {label: found[label] for label in labels_of if label in found}
        return {
            "written_by": {name: _authors(cursor, seqs) for name, seqs in self._calls.items()},
            "counts": counts,
            "cells": [
                {"cell": dict(zip(self._members, cell, strict=True)), "samples": self._cells[cell]}
                for cell in labels
            ],
            **({"cut": dict(sorted(self._cut.items()))} if self._cut else {}),
        }


def members_of(cohort: CohortPlan) -> dict[str, tuple[Member, ...]]:
    """What varies in a cohort by name, its axes and then its draws, with the members of each."""
    axes = {axis.name: axis.members for axis in cohort.axes}
    return axes | {draw.name: draw.members for draw in cohort.draws}


def _authors(cursor: duckdb.DuckDBPyConnection, seqs: array[int]) -> list[dict[str, Any]]:
    """Which model, identity and engine wrote how many of some calls' answers."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], int] = {}
    others: dict[tuple[str, str], Counter[str]] = {}
    for start in range(0, len(seqs), _CHUNK):
        condition, parameters = among(seqs[start : start + _CHUNK])
        rows = cursor.execute(
            f"SELECT model, run_id, count(*), min(seq) FROM events WHERE {condition} GROUP BY ALL", parameters
        )
        here = list(stream(rows))
        for model, run, count, seq in here:
            counts[model, run] += count
            examples.setdefault((model, run), seq)
        for key, found in served_by_others(
            cursor, condition, parameters, {run for _, run, _, _ in here}
        ).items():
            others.setdefault(key, Counter()).update(found)
    # A model has one engine and one identity for the length of a run, so one call tells for all.
    rows = cursor.execute(
        f"""SELECT seq, CAST({payload_sql.IDENTITY} AS VARCHAR), {payload_sql.ENGINE}
           FROM events WHERE seq IN (SELECT unnest(?))""",
        [list(examples.values())],
    )
    told = {seq: (identity, engine) for seq, identity, engine in stream(rows)}
    authors: Counter[tuple[str, str, str]] = Counter()
    served: dict[tuple[str, str, str], Counter[str]] = {}
    for (model, run), count in counts.items():
        author = (model, *told[examples[model, run]])
        authors[author] += count
        served.setdefault(author, Counter()).update(others.get((model, run), {}))
    return [
        {"model": model, "identity": json.loads(identity), "engine": engine, "rows": n}
        | ({"served_by": dict(sorted(found.items()))} if (found := served[model, identity, engine]) else {})
        for (model, identity, engine), n in sorted(authors.items())
    ]
