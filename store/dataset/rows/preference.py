"""The rows of a preference: pairs of a chosen and a rejected answer, in the order of the samples
that they are made from."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from synth.base.errors import QuotaShort
from synth.compiler.plan.allot import allot
from synth.compiler.plan.model import CallPlan, CohortPlan, PreferencePlan
from synth.compiler.plan.strata import pair_id, sample_version
from synth.store.dataset.inputs.messages import Message, answered, attempted, before, spoken, unanswered
from synth.store.dataset.inputs.provenance import ProvenanceCounts
from synth.store.dataset.inputs.select import Models, columns, completed, pair_config_hash, stream
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.rows.columns import SampleColumns
from synth.store.dataset.rows.layout import Layout, Row
from synth.store.dataset.rows.splits import Side, sides
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.payloads import EndedEitherWay

_NONE = -1


@dataclass(slots=True)
class _Found:
    """Pairs that can be made, in slot order, a column for each thing known of them.

    That is the row of the grid, the seq of the sample that the pair is made from, that of the
    preference's own sample, which of the refused attempts is meant and the seq of its call;
    `_NONE` where there is no such thing.
    """

    row: array[int] = field(default_factory=lambda: array("q"))
    base: array[int] = field(default_factory=lambda: array("q"))
    own: array[int] = field(default_factory=lambda: array("q"))
    attempt: array[int] = field(default_factory=lambda: array("q"))
    call: array[int] = field(default_factory=lambda: array("q"))

    def add(self, row: int, base: int, own: int, attempt: int, call: int) -> None:
        self.row.append(row)
        self.base.append(base)
        self.own.append(own)
        self.attempt.append(attempt)
        self.call.append(call)

    def at(self, indexes: Sequence[int]) -> _Found:
        """Those at some indexes."""
        whole = (self.row, self.base, self.own, self.attempt, self.call)
        return _Found(*(array("q", (column[index] for index in indexes)) for column in whole))


@dataclass(frozen=True, slots=True)
class _Pair:
    """One pair as the log has it: the sample it is made from, the preference's own sample, and
    the refused attempt with its text."""

    base: str
    payload: EndedEitherWay
    own: str | None
    own_payload: EndedEitherWay
    attempt: Mapping[str, Any]
    attempted: str
    thought: str | None

    @property
    def beside(self) -> Mapping[str, Any]:
        """What columns of the preference's own name: the values of its turns."""
        return self.own_payload.get("values", {})

    @property
    def id(self) -> str:
        name = self.own or self.base
        return f"{name}-{self.attempt['attempt']}" if self.attempt else name


class Pairs:
    """The pairs of one preference.  Raises QuotaShort where its conversation was never run.

    They are shared equally over the rows of the conversation's grid, the first in slot order from
    each row; what a row cannot give comes from the others.  A pair whose answers are the same, or
    one of them empty, is none.
    """

    unit = "pair"

    def __init__(self, snapshot: LogSnapshot, preference: PreferencePlan) -> None:
        self._snapshot = snapshot
        self._plan = preference
        self._selection = snapshot.selection(preference.source)
        self._cohort = self._selection.cohort
        self._sides = {"chosen": preference.chosen, "rejected": preference.rejected}
        self._generates = any(side.name == "step" for side in self._sides.values())
        attempts = [side for side in self._sides.values() if side.name == "attempts"]
        self._attempts = str(attempts[0].arguments["name"]) if attempts else None
        self._config_hash: str | None = self._selection.config_hash
        self._models = [*self._selection.models.items()]
        if self._generates:
            self._config_hash, own = pair_config_hash(
                snapshot.plan,
                preference.name,
                self._selection.config_hash,
                snapshot.cursor(),
                snapshot.events,
                snapshot.written_by,
            )
            self._models += own.items()
        # Samples that a run can still make a pair from, and pairs that were left out.
        self._open = 0
        self._left_out = 0
        self._pairs = self._choose(self._sound(self._find()))
        self._provenance = ProvenanceCounts(self._cohort, self._sides)

    @property
    def missing(self) -> int:
        if self._plan.quota is None:
            return self._open
        return max(self._plan.quota - len(self._pairs.base) - self._forgotten_pairs, 0)

    @property
    def forgotten(self) -> int:
        return self._forgotten_pairs if self._generates else self._selection.forgotten

    @property
    def _forgotten_pairs(self) -> int:
        """Pairs of the preference's own that were made and are forgotten."""
        if not self._generates:
            return 0
        return len(self._snapshot.forgotten.of(self._config_hash, "completed", "hidden"))

    def incomplete(self) -> list[str]:
        base, made = self._selection, len(self._pairs.base)
        if base.missing:
            return [f"`{base.cohort.name}` has {len(base.seqs)} of {base.quota} samples"]
        if self.missing and self._open:
            return [f"`{self._plan.name}` has {made} of {made + self.missing} pairs"]
        return []

    def prepare(self, *, partial: bool) -> None:
        """Raises QuotaShort where no run can make the pairs that are missing."""
        if not self.missing or partial:
            return
        left_out = f", with {self._left_out} left out for being empty or alike" if self._left_out else ""
        made = f"all samples of `{self._cohort.name}`"
        if self._attempts is not None:
            made = f"all refused attempts at `{self._attempts}`"
        raise QuotaShort(
            f"`{self._plan.name}` asks for {self._plan.quota} pairs, and {made} make "
            f"{len(self._pairs.base)}{left_out}: lower its count, or take what is there with --partial"
        )

    def rows(self, layout: Layout) -> Iterator[Row]:
        columns = SampleColumns(layout.export, self._cohort, self._snapshot.rows_of, self._plan.name)
        pairs = columns.along((pair.base, pair.payload, pair) for pair in self._read(self._pairs))
        for ((_, _, pair), shown), key in self._snapshot.keyed(
            self._cohort, pairs, layout.export.split is not None, lambda along: along[0][:2]
        ):
            self._provenance.sample(pair.payload["cell"])
            answers: dict[str, Any] = {}
            for side, plan in self._sides.items():
                answers[side], call = self._answer(pair, plan)
                self._provenance.call(side, call)
                own = pair.own_payload if plan.name == "step" else pair.payload
                if plan.name != "attempts" and plan.arguments["name"] in own.get("cut", ()):
                    self._provenance.cut([side])
            prompt = self._prompt(pair.payload["values"], pair.payload.get("thoughts", {}))
            shown |= columns.beside(pair.id, pair.beside)
            yield layout.pair(pair.id, key, prompt, tags=self._cohort.tags, columns=shown, **answers)

    def sides(self, split: str | None) -> Side:
        return sides(split)

    def models(self) -> Models:
        return self._models

    def manifest(self) -> dict[str, Any]:
        return {
            "source": {
                "preference": self._plan.name,
                "conversation": self._cohort.name,
                "lineage": self._config_hash,
                "quota": self._plan.quota,
                "pairs": len(self._pairs.base),
                "left_out": self._left_out,
            },
            **self._provenance.manifest(self._snapshot.cursor()),
        }

    def _answer(self, pair: _Pair, side: CallPlan) -> tuple[Message, int | None]:
        """What a side says, and the seq of the call that wrote it."""
        name = str(side.arguments["name"])
        if side.name == "attempts":
            said = attempted(self._cohort.step(name), pair.attempted, pair.thought)
            return said, pair.attempt["call"]
        steps, payload = self._cohort.steps, pair.payload
        if side.name == "step":
            steps, payload = self._plan.steps, pair.own_payload
        step = next(each for each in steps if each.name == name)
        thought = payload.get("thoughts", {}).get(name)
        return answered(step, payload["values"][name], thought), payload["calls"].get(name)

    def _prompt(self, values: Mapping[str, Any], thoughts: Mapping[str, str]) -> Sequence[Message]:
        """What both sides answer: all that is said before the turn of the conversation that one
        of them is, or all that waits for an answer."""
        for side in self._sides.values():
            if side.name != "step":
                return before(self._cohort, values, str(side.arguments["name"]), thoughts)
        return unanswered(spoken(self._cohort, values, thoughts))

    def _find(self) -> _Found:
        """Every pair that can be made from the samples selected, whatever its answers say."""
        found = _Found()
        own = None
        if self._generates:
            made_as = next(each for each in self._snapshot.plan.pair_cohorts if each.name == self._plan.name)
            own = _Own(self._snapshot, made_as, self._config_hash)
        # A step's name is a word of letters, digits and underscores.
        refused = f"json_extract(payload, '$.rejected.{self._attempts}')" if self._attempts else "NULL"
        samples = columns(
            self._snapshot.cursor(),
            self._selection.seqs,
            f"sample_id, coalesce({payload_sql.INPUTS}, ''), CAST({refused} AS VARCHAR)",
        )
        for position, (seq, name, inputs, attempts) in zip(self._selection.positions, samples, strict=True):
            made = _NONE
            if own is not None:
                version = sample_version(name, inputs)
                made = own.made(version)
                if made == _NONE:
                    self._open += not own.lost(name, version)
                    continue
            row = self._selection.row_of(position)
            if self._attempts is None:
                found.add(row, seq, made, _NONE, _NONE)
            for number, attempt in enumerate(json.loads(attempts or "[]")):
                if attempt["call"] is not None:
                    found.add(row, seq, made, number, attempt["call"])
        return found

    def _sound(self, found: _Found) -> _Found:
        """The pairs whose answers differ and say something."""
        kept = array("q")
        for index, pair in enumerate(self._read(found)):
            texts = {self._answer(pair, side)[0]["content"].strip() for side in self._sides.values()}
            if len(texts) == 2 and "" not in texts:
                kept.append(index)
        self._left_out = len(found.base) - len(kept)
        return found.at(kept)

    def _choose(self, found: _Found) -> _Found:
        """As many pairs as are asked for, in slot order."""
        if self._plan.quota is None:
            return found
        counts = Counter(found.row)
        if self._generates:
            counts = Counter(map(self._selection.row_of, self._selection.positions))
        shares = allot(self._plan.quota, [counts[row] for row in range(max(counts, default=-1) + 1)])
        room = list(shares)
        taken, spare = array("q"), array("q")
        for index, row in enumerate(found.row):
            (taken if room[row] else spare).append(index)
            room[row] -= room[row] > 0
        return found.at(sorted([*taken, *spare[: self._plan.quota - len(taken)]]))

    def _read(self, found: _Found) -> Iterator[_Pair]:
        bases = completed(self._snapshot.cursor(), found.base)
        nothing: Iterator[tuple[Any, ...]] = repeat((None, {}))
        own = completed(self._snapshot.cursor(), found.own) if self._generates else nothing
        texts = columns(self._snapshot.cursor(), found.call, f"{payload_sql.TEXT}, {payload_sql.THOUGHT}")
        for index, (base, payload) in enumerate(bases):
            own_id, own_payload = next(own)
            attempt: Mapping[str, Any] = {}
            text, thought = "", None
            if self._attempts is not None:
                attempt = payload["rejected"][self._attempts][found.attempt[index]]
                _, text, thought = next(texts)
            yield _Pair(base, payload, own_id, own_payload, attempt, text.strip(), thought)


class _Own:
    """The samples that a preference made itself, by the version of the sample each is made from."""

    def __init__(self, snapshot: LogSnapshot, pairs: CohortPlan, config_hash: str | None) -> None:
        self._plan, self._pairs = snapshot.plan, pairs
        self._forgotten = snapshot.forgotten.events
        self._pending = set(snapshot.forgotten.of(config_hash, "pending", "hidden"))
        self._bases, self._seqs = self._ends(snapshot, config_hash, Kind.SAMPLE_COMPLETED, "true")
        self._lost, _ = self._ends(
            snapshot, config_hash, Kind.SAMPLE_ABANDONED, f"({payload_sql.LASTING}) IS DISTINCT FROM 'false'"
        )

    def made(self, version: str) -> int:
        """The seq of the one made from a sample, or `_NONE`."""
        at = _place(self._bases, version)
        return _NONE if at is None or self._seqs[at] in self._forgotten else self._seqs[at]

    def lost(self, base: str, version: str) -> bool:
        """Whether the one made from a sample was given up for reasons of its own, or is forgotten."""
        if _place(self._lost, version) is not None or _place(self._bases, version) is not None:
            return True
        return bool(self._pending) and pair_id(self._plan, self._pairs, base) in self._pending

    @staticmethod
    def _ends(
        snapshot: LogSnapshot, config_hash: str | None, kind: Kind, condition: str
    ) -> tuple[array[int], array[int]]:
        """The versions of the samples that such events are made from, as sorted numbers, and the events'
        seqs."""
        bases, seqs = array("Q"), array("q")
        rows = snapshot.cursor().execute(
            f"""SELECT xor(CAST('0x' || ({payload_sql.OF}) AS UBIGINT),
                           CAST('0x' || coalesce({payload_sql.INPUTS}, '0') AS UBIGINT)) AS base, min(seq)
                FROM events WHERE kind = ? AND seq < ? AND ({payload_sql.LINEAGE}) = ? AND {condition}
                GROUP BY base ORDER BY base""",
            [kind.value, snapshot.events, config_hash],
        )
        for base, seq in stream(rows):
            bases.append(base)
            seqs.append(seq)
        return bases, seqs


def _place(bases: array[int], name: str) -> int | None:
    number = int(name, 16)
    at = bisect_left(bases, number)
    return at if at < len(bases) and bases[at] == number else None
