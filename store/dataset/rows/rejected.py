"""The rows of a `rejected` export: every attempt at a conversation's steps that was refused."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import StepPlan
from synth.store.dataset.inputs.messages import Message, attempted, before, shown_messages, tried
from synth.store.dataset.inputs.provenance import ProvenanceCounts, members_of
from synth.store.dataset.inputs.select import Models, columns, completed, config_hash_of, stream
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.judging.candidates import numbered
from synth.store.dataset.judging.losses import Losses
from synth.store.dataset.rows.apportion import Side, sides
from synth.store.dataset.rows.columns import SampleColumns
from synth.store.dataset.rows.layout import Layout, Row
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.payloads import EndedEitherWay, RejectedAttempt

# Samples whose refused attempts are looked up together.
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Attempt:
    """A refused attempt: what the log says of it, the seq of its call, its text with the thinking
    that came with it and, as JSON, the messages that the model was shown and its calls of tools.
    `malformed` says why there are calls in its text that cannot be read.  `end` is the end of the sample that
    tells of it: the last one, or an earlier loss."""

    step: StepPlan
    told: RejectedAttempt
    end: EndedEitherWay
    call: int
    text: str
    thought: str | None
    shown: str
    calls: str | None
    malformed: str | None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing and calls nothing."""
        return not self.text.strip() and not self.calls

    @property
    def messages(self) -> list[Message]:
        """All that it called and was told, and what it says last."""
        last = attempted(self.step, self.text.strip(), self.thought)
        return tried(self.step, last, self.shown, self.calls)

    @property
    def name(self) -> str:
        """Names it within its sample."""
        return f"{self.step.name}-{numbered(self.told)}"


class Refused:
    """The refused attempts of a conversation's samples, completed or abandoned, of the lineage
    that its dataset has.  Raises QuotaShort where it was never run.

    Samples are in the order of their cells and of their numbers there, attempts in that of the
    steps.  An empty answer makes no row, nor do calls that cannot be read or what no model wrote.
    """

    unit = "sample"
    missing = 0

    def __init__(self, snapshot: LogSnapshot, conversation: str) -> None:
        self._snapshot = snapshot
        self._cohort = snapshot.plan.cohort(conversation)
        self._config_hash, self._models = config_hash_of(
            snapshot.plan, self._cohort, snapshot.cursor(), snapshot.events, snapshot.written_by
        )
        self._provenance = ProvenanceCounts(self._cohort, (step.name for step in self._cohort.steps))
        self._refused: dict[str, Counter[str]] = {}
        self._empty = self._unread = 0
        self._losses = Losses(snapshot, self._config_hash)
        self._ends = ends(snapshot, self._cohort, self._config_hash, self._losses)

    @property
    def forgotten(self) -> int:
        gone = self._snapshot.forgotten
        return len(gone.of(self._config_hash, "completed", "hidden", "abandoned"))

    def incomplete(self) -> list[str]:
        """Nothing is: what was refused is what there is."""
        return []

    def prepare(self, *, partial: bool) -> None:
        """There is nothing to decide."""

    def rows(self, layout: Layout) -> Iterator[Row]:
        columns = SampleColumns(layout.export, self._cohort, self._snapshot.rows_of)
        samples = with_attempts(self._snapshot, self._cohort, self._ends, self._losses)
        keyed = self._snapshot.keyed(
            self._cohort, columns.along(samples), layout.export.split is not None, sample_of
        )
        for ((name, payload, found), shown), key in keyed:
            yield from self._sample(layout, shown, key, name, payload, found)

    def sides(self, split: str | None) -> Side:
        return sides(split)

    def models(self) -> Models:
        return tuple(self._models.items())

    def manifest(self) -> dict[str, Any]:
        refused = {name: dict(sorted(counts.items())) for name, counts in self._refused.items()}
        counted = self._provenance.manifest(self._snapshot.cursor())
        counted["written_by"] = {name: counted["written_by"][name] for name in refused}
        return {
            "source": {
                "rejected": self._cohort.name,
                "lineage": self._config_hash,
                "attempts": sum(counts.total() for counts in self._refused.values()),
                "empty": self._empty,
                **({"unread": self._unread} if self._unread else {}),
            },
            "rejected": refused,
            **counted,
        }

    def _sample(
        self,
        layout: Layout,
        columns: Mapping[str, Any],
        key: str,
        name: str,
        payload: EndedEitherWay,
        found: Sequence[Attempt],
    ) -> Iterator[Row]:
        """The rows of one sample."""
        cell = payload["cell"]
        made = 0
        for attempt in found:
            if attempt.is_empty:
                self._empty += 1
                continue
            if attempt.malformed:
                self._unread += 1
                continue
            made += 1
            step, told = attempt.step, attempt.told
            self._provenance.call(step.name, attempt.call)
            self._refused.setdefault(step.name, Counter())[told["check"]] += 1
            yield layout.labelled(
                f"{name}-{attempt.name}",
                key,
                self._prompt(step, attempt.end, attempt.shown),
                attempt.messages,
                False,
                self._cohort.tags,
                columns,
                {"step": step.name, "check": told["check"], "reason": told["reason"]},
            )
        if made:
            self._provenance.sample(cell)

    def _prompt(self, step: StepPlan, payload: EndedEitherWay, shown: str) -> Sequence[Message]:
        """What a turn of the model's replies to.  For what is no part of the conversation, or is
        said by its user, and where an earlier turn is not known: what the model was shown."""
        if step.role == "model" and is_known(self._cohort, payload, step.name):
            return before(self._cohort, payload["values"], step.name, payload.get("thoughts", {}))
        return shown_messages(shown)


def sample_of(along: tuple[tuple[str, EndedEitherWay, Any], Any]) -> tuple[str, EndedEitherWay]:
    """The name and the payload of a sample that goes along with its columns."""
    return along[0][:2]


def is_known(cohort: CohortPlan, payload: EndedEitherWay, turn: str) -> bool:
    """Whether a sample has all that is said before one of its turns."""
    values = payload.get("values", {})
    names = [each.name for each in cohort.turns]
    return all(name in values for name in names[: names.index(turn)])


def with_attempts(
    snapshot: LogSnapshot, cohort: CohortPlan, seqs: Sequence[int], losses: Losses
) -> Iterator[tuple[str, EndedEitherWay, list[Attempt]]]:
    """Samples by the events of their ends, in the order of `seqs`: id, payload and the attempts
    at their steps that were refused, in the order of the steps, save those that no model wrote.  Those of
    earlier losses are among them."""
    for start in range(0, len(seqs), _CHUNK):
        some = seqs[start : start + _CHUNK]
        ended = [(seq, *end) for seq, end in zip(some, completed(snapshot.cursor(), some), strict=True)]
        samples = [
            (name, payload, list(_attempts(cohort, [*earlier, payload])))
            for (_, name, payload), earlier in zip(ended, losses.before(ended), strict=True)
        ]
        calls = array(
            "q", (call for *_, found in samples for _, told, _ in found if (call := told["call"]) is not None)
        )
        answers = columns(
            snapshot.cursor(),
            calls,
            f"{payload_sql.TEXT}, {payload_sql.THOUGHT}, CAST({payload_sql.MESSAGES} AS VARCHAR), "
            f"CAST({payload_sql.CALLS} AS VARCHAR), {payload_sql.MALFORMED}",
        )
        for name, payload, found in samples:
            yield name, payload, [Attempt(*each, *next(answers)) for each in found]


def _attempts(
    cohort: CohortPlan, ended: Sequence[EndedEitherWay]
) -> Iterator[tuple[StepPlan, RejectedAttempt, EndedEitherWay]]:
    """The refused attempts that the ends of a sample tell of, each as the last of them does."""
    for step in cohort.steps:
        told = {
            numbered(attempt): (attempt, end)
            for end in ended
            for attempt in end.get("rejected", {}).get(step.name, ())
            if attempt["call"] is not None
        }
        for attempt, end in told.values():
            yield step, attempt, end


def ends(
    snapshot: LogSnapshot, cohort: CohortPlan, config_hash: str, losses: Losses, *, given_up: bool = False
) -> array[int]:
    """The seqs of the last events of samples with refused attempts: of its completion where there is
    one; of those that were `given_up` alone.  They are in the order of their cells and of their
    numbers there; over a table they are those of its present rows, in the order of the dataset."""
    if cohort.of_tables:
        selection = snapshot.selection(cohort.name)
        standing = frozenset(selection.seqs) if given_up else frozenset[int]()
        told = f"sample_id, coalesce({payload_sql.INPUTS}, ''), ({payload_sql.REJECTED}) IS NOT NULL"
        return array(
            "q",
            (
                seq
                for seq, name, inputs, refused in columns(snapshot.cursor(), selection.ended, told)
                if (given_up or refused or losses.has(name, inputs)) and seq not in standing
            ),
        )
    rows = snapshot.cursor().execute(
        f"""SELECT CAST({payload_sql.CELL} AS VARCHAR) AS cell,
                  CAST({payload_sql.ORDINAL} AS BIGINT) AS ordinal,
                  coalesce(min(seq) FILTER (WHERE kind = ?), max(seq))
           FROM events WHERE kind IN (?, ?) AND seq < ? AND ({payload_sql.LINEAGE}) = ?
           {"" if given_up else f"AND ({payload_sql.REJECTED}) IS NOT NULL"}
           GROUP BY cell, ordinal {"HAVING bool_and(kind <> ?)" if given_up else ""}
           ORDER BY cell, ordinal""",
        [
            Kind.SAMPLE_COMPLETED.value,
            Kind.SAMPLE_COMPLETED.value,
            Kind.SAMPLE_ABANDONED.value,
            snapshot.events,
            config_hash,
            *([Kind.SAMPLE_COMPLETED.value] if given_up else []),
        ],
    )
    found: dict[str, array[int]] = {}
    for cell, _, seq in stream(rows):
        if seq in snapshot.forgotten.events:
            continue
        found.setdefault(cell, array("q")).append(seq)
    ordered = array("q")
    for cell in sorted(found, key=lambda cell: _place(cohort, cell)):
        ordered.extend(found[cell])
    return ordered


def _place(cohort: CohortPlan, cell: str) -> tuple[int, ...]:
    """Where a cell stands in the grid, by the places of its members."""
    labels = json.loads(cell)
    return tuple(
        [member.label for member in members].index(labels[name])
        for name, members in members_of(cohort).items()
    )
