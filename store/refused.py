"""The rows of a `rejected` export: every attempt at a conversation's steps that was refused."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compiler.plan import StepPlan
from store.event import Kind
from store.messages import Message, attempted, before, said
from store.rows import Layout, Row
from store.select import Models, columns, completed, lineage_of, stream
from store.splits import Side, sides
from store.tally import Tally, members_of
from store.view import View

# Samples whose refused attempts are looked up together.
_CHUNK = 1024

_Attempt = tuple[StepPlan, Mapping[str, Any]]


class Refused:
    """The refused attempts of a conversation's samples, completed or abandoned, of the lineage
    that its dataset has.  Raises QuotaShort where it was never run.

    Samples are in the order of their cells and of their numbers there, attempts in that of the
    steps.  An empty answer makes no row, nor does what no model wrote.
    """

    unit = "sample"
    missing = 0

    def __init__(self, view: View, conversation: str) -> None:
        self._view = view
        self._cohort = view.plan.cohort(conversation)
        self._lineage, self._models = lineage_of(view.plan, self._cohort, view.cursor(), view.events)
        self._tally = Tally(self._cohort, (step.name for step in self._cohort.steps))
        self._refused: dict[str, Counter[str]] = {}
        self._empty = 0

    def incomplete(self) -> list[str]:
        """Nothing is: what was refused is what there is."""
        return []

    def prepare(self, *, partial: bool) -> None:
        """There is nothing to decide."""

    def rows(self, layout: Layout) -> Iterator[Row]:
        seqs = self._samples()
        for start in range(0, len(seqs), _CHUNK):
            samples = [
                (name, payload, list(self._attempts(payload)))
                for name, payload in completed(self._view.cursor(), seqs[start : start + _CHUNK])
            ]
            calls = array("q", (attempt["call"] for *_, found in samples for _, attempt in found))
            answers = columns(
                self._view.cursor(), calls, "payload ->> 'text', CAST(payload -> 'messages' AS VARCHAR)"
            )
            for name, payload, found in samples:
                yield from self._sample(layout, name, payload, found, answers)

    def sides(self, split: str | None) -> Side:
        return sides(split)

    def models(self) -> Models:
        return tuple(self._models.items())

    def manifest(self) -> dict[str, Any]:
        refused = {name: dict(sorted(counts.items())) for name, counts in self._refused.items()}
        counted = self._tally.manifest(self._view.cursor())
        counted["written_by"] = {name: counted["written_by"][name] for name in refused}
        return {
            "source": {
                "rejected": self._cohort.name,
                "lineage": self._lineage,
                "attempts": sum(counts.total() for counts in self._refused.values()),
                "empty": self._empty,
            },
            "refused": refused,
            **counted,
        }

    def _sample(
        self,
        layout: Layout,
        name: str,
        payload: Mapping[str, Any],
        found: Sequence[_Attempt],
        answers: Iterator[tuple[Any, ...]],
    ) -> Iterator[Row]:
        """The rows of one sample.  `answers` has the seq, text and messages of each call."""
        cell = payload["cell"]
        made = 0
        for step, attempt in found:
            seq, text, shown = next(answers)
            if not text.strip():
                self._empty += 1
                continue
            made += 1
            self._tally.call(step.name, seq)
            self._refused.setdefault(step.name, Counter())[attempt["check"]] += 1
            yield layout.refused(
                f"{name}-{step.name}-{attempt['attempt']}",
                name,
                self._prompt(step, payload, shown),
                attempted(step, text.strip()),
                {"step": step.name, "check": attempt["check"], "reason": attempt["reason"]},
                self._cohort.tags,
                {column: str(cell[column]) for column in layout.export.columns},
            )
        if made:
            self._tally.sample(cell)

    def _prompt(self, step: StepPlan, payload: Mapping[str, Any], shown: str) -> Sequence[Message]:
        """What a turn of the model's replies to.  For what is no part of the conversation, or is
        said by its user, and where an earlier turn is not known: what the model was shown."""
        values = payload.get("values", {})
        names = [turn.name for turn in self._cohort.turns]
        if step.role == "model" and all(name in values for name in names[: names.index(step.name)]):
            return before(self._cohort, values, step.name)
        return [said(each["role"], each["content"]) for each in json.loads(shown)]

    def _attempts(self, payload: Mapping[str, Any]) -> Iterator[_Attempt]:
        for step in self._cohort.steps:
            for attempt in payload["rejected"].get(step.name, ()):
                if attempt["call"] is not None:
                    yield step, attempt

    def _samples(self) -> array[int]:
        """The seqs of the samples' last events: of its completion where there is one."""
        rows = self._view.cursor().execute(
            """SELECT CAST(payload -> 'cell' AS VARCHAR) AS cell,
                      CAST(payload ->> 'ordinal' AS BIGINT) AS ordinal,
                      coalesce(min(seq) FILTER (WHERE kind = ?), max(seq))
               FROM events WHERE kind IN (?, ?) AND seq < ? AND (payload ->> 'lineage') = ?
               AND (payload -> 'rejected') IS NOT NULL
               GROUP BY cell, ordinal ORDER BY cell, ordinal""",
            [
                Kind.SAMPLE_COMPLETED.value,
                Kind.SAMPLE_COMPLETED.value,
                Kind.SAMPLE_ABANDONED.value,
                self._view.events,
                self._lineage,
            ],
        )
        found: dict[str, array[int]] = {}
        for cell, _, seq in stream(rows):
            found.setdefault(cell, array("q")).append(seq)
        ordered = array("q")
        for cell in sorted(found, key=self._place):
            ordered.extend(found[cell])
        return ordered

    def _place(self, cell: str) -> tuple[int, ...]:
        """Where a cell stands in the grid, by the places of its members."""
        labels = json.loads(cell)
        return tuple(
            [member.label for member in members].index(labels[name])
            for name, members in members_of(self._cohort).items()
        )
