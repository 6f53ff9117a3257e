"""Rows that are text all through, put together by the database as lines of JSON.

Most datasets are conversations whose turns are text.  Their rows are one constant with JSON strings
in its gaps, and those lie ready in the log.  What the constant is, `Layout` says: it is given a
sample of marks, and where the marks come out are the gaps.  So the form of a row is written down
once, for rows that are put together here and for all others.

A row in which a turn is no text, or holds a control character, which DuckDB escapes in a way of its
own, or that shows a thought, comes back without lines, and is made as any other row is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from secrets import token_hex

import duckdb

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.outputs import ExportPlan
from synth.compiler.stdlib.folds import FOLDS
from synth.store.dataset.inputs.provenance import ProvenanceCounts, members_of
from synth.store.dataset.inputs.select import chunks, completed
from synth.store.dataset.rows.layout import Line
from synth.store.log.payloads import EndedEitherWay

# Lines are all that is made of a row, so more of them are read at a time than elsewhere: enough to
# give every core some row groups.
_CHUNK = 16_384

# From the id and the payload of a sample to its rows, as lines.
Laid = Callable[[str, EndedEitherWay], list[Line]]


def is_plain(cohort: CohortPlan, export: ExportPlan) -> bool:
    """Whether an export shows the texts of a cohort's samples as they stand."""
    if export.context is not None or export.thought == "wrap" or cohort.transcript is not None:
        return False
    if not all(isinstance(column, str) for column in export.columns):
        return False
    if any(
        step.when or step.tools or (step.call is not None and step.call.name in FOLDS)
        for step in cohort.steps
    ):
        return False
    return all(turn.output.kind == "text" for turn in cohort.turns)


def plain_lines(
    cohort: CohortPlan,
    export: ExportPlan,
    laid: Laid,
    cursor: duckdb.DuckDBPyConnection,
    seqs: Sequence[int],
    provenance: ProvenanceCounts,
) -> Iterator[list[Line]]:
    """The rows of samples by the events of their ends, in the order of `seqs`, some at a time.

    The calls behind the samples' steps are noted in the tally, and what was cut; the samples are not
    counted there.
    """
    asked = [step.name for step in cohort.steps if step.model is not None]
    parts = [f"calls.{name}" for name in asked]
    found = [f"CAST(part[{number}] AS BIGINT)" for number in range(1, len(parts) + 1)]
    kept = any(step.on_length == "keep" for step in cohort.steps)
    if kept:
        parts.append("cut")
        found.append(f"CAST(part[{len(parts)}] AS VARCHAR)")
    conditions = []
    if export.thought == "keep":
        parts.append("thoughts")
        conditions.append(f"part[{len(parts)}] IS NULL")
    condition, lines = _lines(cohort, laid, parts, conditions)
    # One look into a payload for all of its parts: each look parses all of it.
    source = f"(SELECT seq, sample_id, json_extract(payload, {_paths(parts)}) AS part FROM events)"
    plain, first = 2 + len(found), 3 + len(found)
    for rows in chunks(cursor, seqs, ", ".join(["sample_id", *found, condition, *lines]), source, _CHUNK):
        for place, name in enumerate(asked, 2):
            provenance.calls(name, [row[place] for row in rows])
        if kept:
            for row in rows:
                provenance.cut(json.loads(row[plain - 1] or "[]"))
        others = [row[0] for row in rows if not row[plain]]
        if not others and len(lines) == 1:
            yield [(row[1], row[first]) for row in rows]
            continue
        made = (laid(*sample) for sample in completed(cursor, others))
        otherwise = dict(zip(others, made, strict=True))
        for row in rows:
            yield otherwise[row[0]] if row[0] in otherwise else [(row[1], text) for text in row[first:]]


def _lines(cohort: CohortPlan, laid: Laid, parts: list[str], conditions: list[str]) -> tuple[str, list[str]]:
    """Expressions for the lines of a sample, and for whether they are right, which is also bound to
    some `conditions`; adds what they take from a payload to its `parts`."""
    # Nothing that a recipe says can hold this, so it comes out where it was put and nowhere else.
    mark = token_hex(16)
    marks: EndedEitherWay = {
        "lineage": "",
        "cohort": cohort.name,
        "ordinal": 0,
        "cell": {name: f"{mark}cell.{name};" for name in members_of(cohort)},
        "values": {step.name: f"{mark}values.{step.name};" for step in cohort.steps},
    }
    gap = re.compile(f'"{mark}(?P<part>[^;"]+);"|{mark}')
    lines = []
    for _, text in laid(mark, marks):
        terms, end = [], 0
        for found in gap.finditer(text):
            terms.append(_quoted(text[end : found.start()]))
            if found["part"] is None:
                terms.append("sample_id")
            else:
                parts.append(found["part"])
                terms.append(f"CAST(part[{len(parts)}] AS VARCHAR)")
                conditions.append(f"starts_with({terms[-1]}, '\"')")
            end = found.end()
        lines.append(" || ".join([*terms, _quoted(text[end:])]))
        conditions.append(f"NOT contains({lines[-1]}, '\\u')")
    return " AND ".join(conditions) or "true", lines


def _paths(parts: Sequence[str]) -> str:
    """The parts of a payload, each written `place` or `place.name`, as DuckDB's JSON paths."""
    places = (part.partition(".") for part in parts)
    paths = (f'$.{place}."{name}"' if name else f"$.{place}" for place, _, name in places)
    return "[" + ", ".join(map(_quoted, paths)) + "]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
