"""The rows of a `ranked` export: all candidates that judges marked at a step of a conversation's samples,
the best first."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.outputs import ExportPlan
from synth.compiler.plan.steps import StepPlan
from synth.store.dataset.inputs.messages import (
    Message,
    before,
    marked,
    shown_messages,
    tried,
    with_passages,
)
from synth.store.dataset.inputs.provenance import ProvenanceCounts
from synth.store.dataset.inputs.select import Models, columns
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.judging.candidates import first_shown, ranked, total
from synth.store.dataset.judging.judged import judged
from synth.store.dataset.judging.losses import Losses
from synth.store.dataset.rows.apportion import Side, sides
from synth.store.dataset.rows.columns import SampleColumns
from synth.store.dataset.rows.layout import Layout, Row
from synth.store.log import payload_sql
from synth.store.log.payloads import EndedEitherWay, MarkedAttempt

# Samples whose candidates are looked up together.
_CHUNK = 1024

# The candidates of a sample by their rank, each with its text, its thought and, as JSON, what its model was
# shown.
_Ranked = list[tuple[MarkedAttempt, str, str | None, str]]


class Ranked:
    """The samples of a conversation with the candidates of the round that the step's value was picked from,
    also those that were refused for their marks.  Those without any are left out.  Raises QuotaShort where
    the conversation was never run.
    """

    unit = "sample"

    def __init__(self, snapshot: LogSnapshot, export: ExportPlan) -> None:
        self._snapshot = snapshot
        self._selection = snapshot.selection(export.source)
        self._cohort = self._selection.cohort
        self._step = ranked_step(self._cohort, export)
        self._provenance = ProvenanceCounts(self._cohort, [self._step.name])
        self._taken = array("q")
        self._responses = 0
        self._unshown = 0

    @property
    def missing(self) -> int:
        return self._selection.missing

    @property
    def forgotten(self) -> int:
        return self._selection.forgotten

    def incomplete(self) -> list[str]:
        there, missing = len(self._selection.seqs), self.missing
        return [f"`{self._cohort.name}` has {there} of {there + missing} samples"] if missing else []

    def prepare(self, *, partial: bool) -> None:
        """There is nothing to decide."""

    def rows(self, layout: Layout) -> Iterator[Row]:
        shown = SampleColumns(layout.export, self._cohort, self._snapshot.rows_of)
        keyed = self._snapshot.keyed(
            self._cohort,
            shown.along(self._samples()),
            layout.export.split is not None,
            lambda along: along[0][:2],
        )
        for ((name, payload, (prompt, found)), columns_of_it), key in keyed:
            self._provenance.sample(payload["cell"])
            self._provenance.calls(self._step.name, [attempt["call"] for attempt, *_ in found])
            self._responses += len(found)
            yield layout.ranked(
                name,
                key,
                self._prompt(layout.export, payload, prompt),
                [self._response(text, thought, shown) for _, text, thought, shown in found],
                [total(attempt) for attempt, *_ in found],
                self._cohort.tags,
                columns_of_it,
            )

    def sides(self, split: str | None) -> Side:
        return sides(split)

    def models(self) -> Models:
        return tuple(self._selection.models.items())

    def manifest(self) -> dict[str, Any]:
        cursor = self._snapshot.cursor()
        return {
            "source": {
                "ranked": self._cohort.name,
                "step": self._step.name,
                "lineage": self._selection.config_hash,
                "quota": self._selection.quota,
                "samples": len(self._selection.seqs),
                "responses": self._responses,
                "without_marks": len(self._selection.seqs) - len(self._taken) - self._unshown,
                **({"unshown": self._unshown} if self._unshown else {}),
            },
            **self._provenance.manifest(cursor),
            **judged(self._cohort, cursor, self._taken, self._selection.models),
        }

    def _samples(self) -> Iterator[tuple[str, EndedEitherWay, tuple[str, _Ranked]]]:
        """Id and payload of samples in order, the messages that the step's model was shown before anything
        was refused, as JSON, and the candidates."""
        seqs = self._selection.seqs
        losses = Losses(self._snapshot, self._selection.config_hash)
        for start in range(0, len(seqs), _CHUNK):
            some = []
            for seq, name, text in columns(
                self._snapshot.cursor(), seqs[start : start + _CHUNK], "sample_id, payload"
            ):
                payload: EndedEitherWay = json.loads(text)
                attempts = payload.get("attempts", {}).get(self._step.name, ())
                if not (order := [attempts[index] for index in ranked(attempts)]):
                    continue
                first: int | None = order[0]["call"]
                if self._step.revise is not None:
                    refused = payload.get("rejected", {}).get(self._step.name, ())
                    earlier = losses.tried(
                        self._cohort, self._step.name, name, payload.get("inputs", ""), seq
                    )
                    first = first_shown(first, refused, attempts, earlier)
                if first is None:
                    self._unshown += 1
                    continue
                some.append((name, payload, first, order))
                self._taken.append(seq)
            calls = array("q")
            for *_, first, order in some:
                calls.extend((first, *(attempt["call"] for attempt in order)))
            answers = columns(
                self._snapshot.cursor(),
                calls,
                f"{payload_sql.TEXT}, {payload_sql.THOUGHT}, CAST({payload_sql.MESSAGES} AS VARCHAR)",
            )
            for name, payload, _, order in some:
                *_, shown = next(answers)
                said = [next(answers) for _ in order]
                found = [
                    (attempt, text, thought, messages)
                    for attempt, (_, text, thought, messages) in zip(order, said, strict=True)
                ]
                yield name, payload, (shown, found)

    def _response(self, text: str, thought: str | None, shown: str) -> list[Message]:
        return tried(self._step, marked(self._step, text.strip(), thought), shown)

    def _prompt(self, export: ExportPlan, payload: EndedEitherWay, shown: str) -> Sequence[Message]:
        """What a turn of the model's replies to; for what is no part of the conversation, or is said by its
        user, what the model was shown."""
        if self._step.role != "model":
            return shown_messages(shown)
        prompt = before(self._cohort, payload["values"], self._step.name, payload.get("thoughts", {}))
        return prompt if export.context is None else with_passages(payload["values"][export.context], prompt)


def ranked_step(cohort: CohortPlan, export: ExportPlan) -> StepPlan:
    """The step whose candidates an export ranks: the one that it names, or the only one with marks."""
    if export.step is not None:
        return cohort.step(export.step)
    return next(step for step in cohort.steps if step.rubric is not None and step.model is not None)
