"""Which events behind a gap still say what they said: those of which nothing that they need is lost.

A sample that ended is kept where the log has its run, its answers, its passages and, of a pair, the
sample that it was made from.  Otherwise the next run ends it anew, of the answers that are there.  Of a
version of a source of which rows are lost, those behind them go too, and its end: the next run reads
them again from there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth.store.log.chain import COLUMNS
from synth.store.log.events import Kind
from synth.store.log.payloads import EndedEitherWay

_SEQ, _RUN, _SAMPLE, _STEP, _KIND = map(COLUMNS.index, ("seq", "run_id", "sample_id", "step", "kind"))
_ENDS = (Kind.SAMPLE_COMPLETED.value, Kind.SAMPLE_ABANDONED.value)
_VERDICTS = (Kind.STEP_ACCEPTED.value, Kind.STEP_REJECTED.value)

Row = Sequence[Any]


class Needed:
    """Looks at events in order.  `sources` are those of which rows were lost."""

    def __init__(self) -> None:
        self.sources: set[str] = set()
        self._lost: set[int] = set()
        self._runs: set[str] = set()
        self._completed: set[str] = set()
        self._retrieved: set[tuple[str, str]] = set()
        self._rows: dict[tuple[str, str], int] = {}
        # Of a sample and its turn, the answers of tools.
        self._tool_answers: Counter[tuple[str, str]] = Counter()

    def lose(self, seqs: range) -> None:
        """These are lost."""
        self._lost.update(seqs)

    def missed(self, row: Row) -> str | None:
        """What an event needs that is lost, in a clause; None where nothing is."""
        why = self._missed(row)
        if why is not None:
            self._lost.add(row[_SEQ])
        return why

    def _missed(self, row: Row) -> str | None:
        kind, run, sample = row[_KIND], row[_RUN], row[_SAMPLE]
        if kind.startswith("source."):
            return self._source(kind, json.loads(row[-1]))
        if kind == Kind.RUN_STARTED.value:
            self._runs.add(run)
        elif kind in (Kind.RETRIEVAL_DONE.value, Kind.FUNCTION_DONE.value):
            self._retrieved.add((sample, row[_STEP]))
        elif kind == Kind.TOOL_DONE.value:
            if self._lost and json.loads(row[-1]).get("call") in self._lost:
                return "the answer that calls it is lost"
            self._tool_answers[sample, row[_STEP]] += 1
        elif kind in _VERDICTS and self._lost:
            if json.loads(row[-1]).get("call") in self._lost:
                return "the answer that it judges is lost"
        elif kind in _ENDS:
            if self._lost and (why := self._ending(run, sample, json.loads(row[-1]))) is not None:
                return why
            if kind == Kind.SAMPLE_COMPLETED.value:
                self._completed.add(sample)
        return None

    def _ending(self, run: str, sample: str, payload: EndedEitherWay) -> str | None:
        if run not in self._runs:
            return "the beginning of its run is lost"
        if any(call in self._lost for call in _calls(payload)):
            return "an answer that it was made of is lost"
        if "of" in payload and payload["of"] not in self._completed:
            return "the sample that it was made from is lost"
        calls = payload.get("calls", {})
        for step, value in payload.get("values", {}).items():
            turn, _, beside = step.rpartition(".")
            if beside == "calls" and turn:
                if len(value) > self._tool_answers[sample, turn]:
                    return "what tools told it is lost"
            elif isinstance(value, list) and step not in calls and (sample, step) not in self._retrieved:
                return "passages that it was made of are lost"
        return None

    def _source(self, kind: str, payload: Mapping[str, Any]) -> str | None:
        version = (payload["source"], payload["version"])
        there = self._rows.get(version, 0)
        if kind == Kind.SOURCE_INGESTED.value:
            if payload["row"] == there or not self._lost:
                self._rows[version] = max(there, payload["row"] + 1)
                return None
        elif not self._lost or there >= payload["rows"]:
            return None
        self.sources.add(payload["source"])
        return "rows of its source before it are lost"


def _calls(payload: EndedEitherWay) -> Iterator[int | None]:
    yield from payload.get("calls", {}).values()
    for refused in payload.get("rejected", {}).values():
        yield from (attempt["call"] for attempt in refused)
    for marked in payload.get("attempts", {}).values():
        yield from (attempt["call"] for attempt in marked)
