"""The rows of an `unpaired` export: a conversation's trained turns as accepted, and what was refused."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from synth.compiler.plan.judging.judge_steps import is_unjudged
from synth.compiler.plan.steps import StepPlan
from synth.store.dataset.inputs.messages import (
    Message,
    answer,
    before,
    is_said,
    says,
    trained_turns,
    with_passages,
)
from synth.store.dataset.inputs.provenance import ProvenanceCounts
from synth.store.dataset.inputs.select import Models
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.judging.judged import judged
from synth.store.dataset.judging.losses import Losses
from synth.store.dataset.rows.apportion import Side, sides
from synth.store.dataset.rows.columns import SampleColumns
from synth.store.dataset.rows.layout import Layout, Row
from synth.store.dataset.rows.rejected import Attempt, ends, is_known, sample_of, with_attempts
from synth.store.log.payloads import EndedEitherWay

# The check over many samples: what it refuses is as good as another answer, which it resembles.
_OVER_SAMPLES = "distinct"

# From the end of a sample that tells of it, a name within the sample, a step, what is said there and the
# label, to a sample's row.
_Lay = Callable[[EndedEitherWay, str, StepPlan, Sequence[Message], bool], Row]


class Unpaired:
    """The trained turns of a conversation's samples with the label true, and the attempts at them
    that were refused with the label false; those of samples that were given up come last.

    Left out are attempts that are empty, that equal the turn as accepted, that have calls which cannot be
    read, that were refused for their likeness to another sample or since a judge said nothing of them, or
    before which not all of the conversation is known.  Raises QuotaShort where the conversation was never
    run.
    """

    unit = "sample"

    def __init__(self, snapshot: LogSnapshot, conversation: str) -> None:
        self._snapshot = snapshot
        self._selection = snapshot.selection(conversation)
        self._cohort = self._selection.cohort
        self._trained = [self._cohort.step(name) for name in trained_turns(self._cohort)]
        self._provenance = ProvenanceCounts(self._cohort, (step.name for step in self._trained))
        self._labels: dict[str, Counter[bool]] = {}
        self._refused: dict[str, Counter[str]] = {}
        self._left_out = self._unread = 0

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
        side = self.sides(layout.export.split)
        seqs = array("q", self._selection.seqs)
        config_hash = self._selection.config_hash
        losses = Losses(self._snapshot, config_hash)
        seqs.extend(ends(self._snapshot, self._cohort, config_hash, losses, given_up=True))
        stands = len(self._selection.seqs)
        samples = with_attempts(self._snapshot, self._cohort, seqs, losses)
        columns = SampleColumns(layout.export, self._cohort, self._snapshot.rows_of)
        keyed = self._snapshot.keyed(
            self._cohort, columns.along(samples), layout.export.split is not None, sample_of
        )
        for number, (((name, payload, attempts), shown), key) in enumerate(keyed):
            labels = self._labels.setdefault(side(key), Counter())
            lay = partial(self._row, layout, shown, (name, key))
            found = self._accepted(lay, payload) if number < stands else []
            found += self._attempts(layout, lay, payload, attempts, number < stands)
            for row in found:
                labels[row[1]["label"]] += 1
            if found:
                self._provenance.sample(payload["cell"])
            yield from found

    def sides(self, split: str | None) -> Side:
        return sides(split)

    def models(self) -> Models:
        return tuple(self._selection.models.items())

    def manifest(self) -> dict[str, Any]:
        return {
            "source": {
                "unpaired": self._cohort.name,
                "lineage": self._selection.config_hash,
                "quota": self._selection.quota,
                "samples": len(self._selection.seqs),
                "labels": {
                    side: {"true": labels[True], "false": labels[False]}
                    for side, labels in sorted(self._labels.items(), reverse=True)
                },
                "left_out": self._left_out,
                **({"unread": self._unread} if self._unread else {}),
            },
            "trained_turns": [step.name for step in self._trained],
            "rejected": {name: dict(sorted(counts.items())) for name, counts in self._refused.items()},
            **self._provenance.manifest(self._snapshot.cursor()),
            **judged(self._cohort, self._snapshot.cursor(), self._selection.seqs, self._selection.models),
        }

    def _accepted(self, lay: _Lay, payload: EndedEitherWay) -> list[Row]:
        values = payload["values"]
        found = []
        for step in self._trained:
            if not is_said(step, values):
                continue
            self._provenance.call(step.name, payload["calls"].get(step.name))
            said = answer(step, values, payload.get("thoughts", {}).get(step.name))
            if step.name in payload.get("cut", ()):
                self._provenance.cut([step.name])
            found.append(lay(payload, step.name, step, said, True))
        return found

    def _attempts(
        self,
        layout: Layout,
        lay: _Lay,
        payload: EndedEitherWay,
        attempts: Sequence[Attempt],
        stands: bool,
    ) -> list[Row]:
        found = []
        for attempt in attempts:
            step = attempt.step
            if step not in self._trained:
                continue
            if attempt.malformed:
                self._unread += 1
                continue
            if not self._is_sound(layout, payload, attempt, stands):
                self._left_out += 1
                continue
            self._provenance.call(step.name, attempt.call)
            self._refused.setdefault(step.name, Counter())[attempt.told["check"]] += 1
            found.append(lay(attempt.end, attempt.name, step, attempt.messages, False))
        return found

    def _is_sound(self, layout: Layout, payload: EndedEitherWay, attempt: Attempt, stands: bool) -> bool:
        if attempt.is_empty:
            return False
        told = attempt.told
        if told["check"] == _OVER_SAMPLES or is_unjudged(attempt.step, told["check"], told["reason"]):
            return False
        if not is_known(self._cohort, attempt.end, attempt.step.name):
            return False
        if layout.export.context not in (None, *attempt.end.get("values", {})):
            return False
        if not stands:
            return True
        return says(attempt.messages) != says(answer(attempt.step, payload["values"]))

    def _row(
        self,
        layout: Layout,
        columns: Mapping[str, Any],
        sample: tuple[str, str],
        payload: EndedEitherWay,
        part: str,
        step: StepPlan,
        answer: Sequence[Message],
        label: bool,
    ) -> Row:
        (name, key), values = sample, payload["values"]
        context = layout.export.context
        shown = before(self._cohort, values, step.name, payload.get("thoughts", {}))
        if context is not None:
            shown = with_passages(values[context], shown)
        return layout.labelled(
            f"{name}-{part}",
            key,
            shown,
            answer,
            label,
            self._cohort.tags,
            columns,
        )
