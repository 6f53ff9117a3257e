"""Whether the model that a service says it answered with is the one that it was asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import duckdb

from synth.store.log import payload_sql

# What services put behind a name: a date, a version, in whatever notation.
_DATED = re.compile(r"(?:[-@:](?:preview|exp|latest))?(?:[-@:]v?(?:\d{4}-\d\d-\d\d|\d\d-\d{2,4}|\d{3,8}))?")


@lru_cache(maxsize=1024)
def is_another(asked: str, served: str) -> bool:
    """Whether the names are of two models: a dated name is of the one that it begins with."""
    wanted, answered = (_short(name) for name in (asked, served))
    wanted = wanted.removesuffix("-latest")
    return not (answered.startswith(wanted) and _DATED.fullmatch(answered[len(wanted) :]))


def _short(name: str) -> str:
    """A name without who offers it, which some services leave out."""
    return name.rstrip("/").rpartition("/")[2].casefold()


def others(
    cursor: duckdb.DuckDBPyConnection, condition: str, parameters: Iterable[Any], runs: Iterable[str]
) -> dict[tuple[str, str], Counter[str]]:
    """Models that answered in the place of those asked for, by the model's name and the run: how many
    of the calls that a condition chooses."""
    suspected = _suspected(cursor, list(runs))
    answers: dict[tuple[str, str], Counter[str]] = {}
    if suspected:
        rows = cursor.execute(
            f"""SELECT model, run_id, {payload_sql.IDENTITY_ID}, {payload_sql.SERVED_BY}, count(*)
                FROM events WHERE {condition} AND run_id IN (SELECT unnest(?)) GROUP BY ALL""",
            [*parameters, suspected],
        )
        for model, run, asked, served, count in rows.fetchall():
            if served is not None and is_another(asked, served):
                answers.setdefault((model, run), Counter())[served] += count
    return answers


def _suspected(cursor: duckdb.DuckDBPyConnection, runs: list[str]) -> list[str]:
    """Runs that said so when they ended, and those that did not end: of the others no answer need be
    read."""
    ended = cursor.execute(
        f"""SELECT run_id, ({payload_sql.COUNTS_SERVED}) IS NOT NULL FROM events
           WHERE kind = 'run.stopped' AND run_id IN (SELECT unnest(?))""",
        [runs],
    )
    silent = {run for run, says_so in ended.fetchall() if not says_so}
    return sorted(set(runs) - silent)


def in_words(served: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[str]:
    """A sentence for each model of a run's counts whose calls another one answered."""
    return [
        f"`{model}` asked for {asked}, and {_listed(answers)}"
        for model, by_name in served.items()
        for asked, answers in by_name.items()
    ]


def _listed(answers: Mapping[str, int]) -> str:
    parts = [f"{name} answered {n:,} call{'s' * (n != 1)}" for name, n in answers.items()]
    return " and ".join(parts[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")
