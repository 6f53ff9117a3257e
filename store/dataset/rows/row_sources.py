"""Where conversations come from: the samples of a conversation, or the rows of a source."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from synth.compiler.plan.outputs import ExportPlan
from synth.store.dataset.inputs.messages import read, spoken, trained_turns, untrained_turns, with_passages
from synth.store.dataset.inputs.provenance import ProvenanceCounts
from synth.store.dataset.inputs.select import Models, columns, completed, sample_ids
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.judging.judged import judged
from synth.store.dataset.rows.columns import SampleColumns, nulls
from synth.store.dataset.rows.layout import Conversation, Layout, Line, as_lines
from synth.store.dataset.rows.sql_rows import is_plain, plain_lines
from synth.store.dataset.rows.tables import said_of
from synth.store.dataset.rows.tool_calls import TOOLS, called_in, ordered
from synth.store.log.payloads import EndedEitherWay
from synth.store.log.source_payloads import SourceIngested

# Samples whose rows are looked up together.
_CHUNK = 1024


class RowSource(Protocol):
    """Conversations in a fixed order, `available` of them.  `missing` are those that a run has
    still to make."""

    name: str

    @property
    def available(self) -> int: ...

    @property
    def missing(self) -> int: ...

    @property
    def forgotten(self) -> int:
        """How many more there were that the log has forgotten."""
        ...

    def account(self) -> str:
        """Why there are no more, as a clause; nothing where that is not known."""
        ...

    def ids(self) -> Iterator[str]:
        """The ids of all, in order."""
        ...

    def keys(self) -> Iterator[str]:
        """What decides the split of each, in that order."""
        ...

    def conversations(
        self, export: ExportPlan, taken: Sequence[int], copy: int = 1
    ) -> Iterator[Conversation]:
        """Those at the indexes `taken`, in that order; the second `copy` of one and later ones
        have ids of their own."""
        ...

    def models(self) -> Models:
        """Who answered."""
        ...

    def manifest(self) -> dict[str, Any]:
        """What a manifest says of the place and of what was taken from it."""
        ...


class Samples:
    """The samples of a conversation, in slot order."""

    def __init__(self, snapshot: LogSnapshot, name: str) -> None:
        self.name = name
        self._snapshot = snapshot
        self._selection = snapshot.selection(name)
        self._cohort = self._selection.cohort
        self._provenance = ProvenanceCounts(self._cohort, (step.name for step in self._cohort.steps))
        # The seqs of the samples that were read.
        self._taken: Sequence[int] = ()
        self._called = Counter[str]()

    @property
    def available(self) -> int:
        return len(self._selection.seqs)

    @property
    def missing(self) -> int:
        return self._selection.missing

    @property
    def forgotten(self) -> int:
        return self._selection.forgotten

    @property
    def exhausted(self) -> str:
        """Why no run can make what is missing, as a clause; nothing where one can."""
        found = self._selection
        if not found.exhausted:
            return ""
        there = f"`{self.name}` has {self.available} of {found.quota} samples"
        return f"{there}, and all {found.rows} rows were tried"

    def account(self) -> str:
        were = "was" if self.forgotten == 1 else "were"
        return f"{self.forgotten} of them {were} forgotten" if self.forgotten else ""

    def ids(self) -> Iterator[str]:
        return sample_ids(self._snapshot.cursor(), self._selection.seqs)

    def keys(self) -> Iterator[str]:
        if self._cohort.rows is None:
            return self.ids()
        samples = completed(self._snapshot.cursor(), self._selection.seqs)
        return (key for _, _, key in self._keyed(samples, split=True))

    def _keyed(
        self, samples: Iterator[tuple[str, EndedEitherWay]], *, split: bool
    ) -> Iterator[tuple[str, EndedEitherWay, str]]:
        """Samples with what decides their split, where there is one."""
        for (name, payload), key in self._snapshot.keyed(self._cohort, samples, split, lambda each: each):
            yield name, payload, key

    def conversations(
        self, export: ExportPlan, taken: Sequence[int], copy: int = 1
    ) -> Iterator[Conversation]:
        seqs = _at(self._selection.seqs, taken)
        columns = SampleColumns(export, self._cohort, self._snapshot.rows_of)
        samples = self._keyed(completed(self._snapshot.cursor(), seqs), split=export.split is not None)
        if copy == 1:
            self._taken = seqs
        for (sample_id, payload, key), shown in columns.along(samples):
            if copy == 1:
                self._provenance.sample(payload["cell"])
                self._provenance.cut(payload.get("cut", ()))
                for step in self._cohort.steps:
                    self._provenance.call(step.name, payload["calls"].get(step.name))
            yield self._conversation(export, shown, sample_id, payload, key, copy)

    def lines(self, layout: Layout) -> Iterator[list[Line]]:
        """The rows of all, in order, some at a time."""
        export = layout.export
        by_root = self._cohort.rows is not None and export.split is not None
        if by_root or not is_plain(self._cohort, export):
            for said in self.conversations(export, range(self.available)):
                yield as_lines(layout.conversation(said))
            return

        columns = SampleColumns(export, self._cohort, self._snapshot.rows_of)

        def laid(sample_id: str, payload: EndedEitherWay) -> list[Line]:
            shown = columns.of(sample_id, payload)
            return as_lines(
                layout.conversation(self._conversation(export, shown, sample_id, payload, sample_id))
            )

        self._taken = self._selection.seqs
        for labels, count in self._selection.counts.items():
            self._provenance.sample(dict(labels), count)
        yield from plain_lines(
            self._cohort, export, laid, self._snapshot.cursor(), self._selection.seqs, self._provenance
        )

    def _conversation(
        self,
        export: ExportPlan,
        columns: Mapping[str, Any],
        sample_id: str,
        payload: EndedEitherWay,
        key: str,
        copy: int = 1,
    ) -> Conversation:
        values = payload["values"]
        messages = spoken(self._cohort, values, payload.get("thoughts", {}))
        if export.context is not None:
            messages = with_passages(values[export.context], messages)
        if copy == 1:
            self._called.update(called_in(messages))
        return Conversation(
            _copied(sample_id, copy),
            key,
            messages,
            self.name,
            self._cohort.tags,
            columns,
            copy,
        )

    def _over(self) -> dict[str, Any]:
        """What samples are over, how many rows of it there are, and how many samples of rows are lost."""
        assert self._cohort.rows is not None
        over = {"over": self._cohort.rows.table, "rows": self._selection.rows}
        lists = self._cohort.rows.lists or any(dealt.of for dealt in self._cohort.dealt)
        below = lists and self._cohort.rows.kind == "source"
        if below and (empty := self._snapshot.tables.of(self._cohort.name).empty):
            # Rows that make no sample, since they have no item of a list.
            over["empty"] = empty
        return {**over, "lost": self._selection.lost} if self._selection.lost else over

    def models(self) -> Models:
        return tuple(self._selection.models.items())

    def manifest(self) -> dict[str, Any]:
        trained = ["every(model)"] if self._cohort.transcript else list(trained_turns(self._cohort))
        untrained = untrained_turns(self._cohort)
        return {
            "conversation": self.name,
            "lineage": self._selection.config_hash,
            "quota": self._selection.quota,
            "samples": self.available,
            **({} if self._selection.rows is None else self._over()),
            **({"forgotten": self.forgotten} if self.forgotten else {}),
            "trained_turns": trained,
            **({"untrained_turns": untrained} if untrained else {}),
            **({"called": dict(self._called.most_common())} if self._called else {}),
            **self._provenance.manifest(self._snapshot.cursor()),
            **judged(self._cohort, self._snapshot.cursor(), self._taken, self._selection.models),
        }


class SourceRows:
    """The rows of a source that pass its `keep`, in row order."""

    def __init__(self, snapshot: LogSnapshot, name: str) -> None:
        self.name = name
        self._snapshot = snapshot
        self._kept = snapshot.kept(name)
        # Rows of which not all that the model says is trained on.
        self._partly = 0
        self._called = Counter[str]()

    @property
    def available(self) -> int:
        return len(self._kept.seqs)

    @property
    def missing(self) -> int:
        return 0

    @property
    def forgotten(self) -> int:
        return self._kept.forgotten

    def account(self) -> str:
        return self._kept.account()

    def ids(self) -> Iterator[str]:
        return sample_ids(self._snapshot.cursor(), self._kept.seqs)

    def keys(self) -> Iterator[str]:
        return self.ids()

    def conversations(
        self, export: ExportPlan, taken: Sequence[int], copy: int = 1
    ) -> Iterator[Conversation]:
        seqs = _at(self._kept.seqs, taken)
        for _, row_id, payload in columns(self._snapshot.cursor(), seqs, "sample_id, payload"):
            row: SourceIngested = json.loads(payload)
            messages = read(row["messages"])
            shown = nulls(export)
            if tools := row.get("tools"):
                shown[TOOLS] = [ordered(each) for each in tools]
            if copy == 1:
                self._called.update(called_in(messages))
                self._partly += any(each["role"] == "model" and not each["weight"] for each in messages)
            yield Conversation(_copied(row_id, copy), row_id, messages, self.name, columns=shown, copy=copy)

    def models(self) -> Models:
        return ()

    def manifest(self) -> dict[str, Any]:
        said = said_of(self._kept)
        # In the order that manifests have it.
        told: dict[str, Any] = {name: said.pop(name) for name in ("left_out", "unread") if name in said}
        return {
            "source": self.name,
            **said,
            **({"partly_trained": self._partly} if self._partly else {}),
            **({"called": dict(self._called.most_common())} if self._called else {}),
            **told,
        }


def _at(seqs: Sequence[int], taken: Sequence[int]) -> Sequence[int]:
    return seqs if len(taken) == len(seqs) else array("q", (seqs[index] for index in taken))


def _copied(name: str, copy: int) -> str:
    return name if copy == 1 else f"{name}-{copy}"
