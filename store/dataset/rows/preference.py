"""The rows of a preference: pairs of a chosen and a rejected answer, in the order of the samples
that they are made from."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from synth.base.errors import QuotaShort
from synth.compiler.plan.allot import allot
from synth.compiler.plan.judging.judge_steps import is_unjudged
from synth.compiler.plan.model import PreferencePlan
from synth.compiler.plan.steps import CallPlan
from synth.compiler.plan.strata import sample_version
from synth.store.dataset.inputs.messages import (
    Message,
    answer,
    attempted,
    before,
    marked,
    says,
    shown_messages,
    spoken,
    tried,
    unanswered,
)
from synth.store.dataset.inputs.provenance import ProvenanceCounts
from synth.store.dataset.inputs.select import Models, columns, pair_config_hash
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.judging.candidates import (
    BY_MARKS,
    OF_ATTEMPTS,
    Answer,
    are_apart,
    first_shown,
    options,
)
from synth.store.dataset.judging.judged import judged
from synth.store.dataset.judging.losses import Losses
from synth.store.dataset.rows.apportion import Side, sides
from synth.store.dataset.rows.columns import SampleColumns
from synth.store.dataset.rows.found_pairs import FoundPairs, Pair, read_pairs
from synth.store.dataset.rows.layout import Layout, Row
from synth.store.dataset.rows.made_pairs import NONE, MadePairs
from synth.store.log import payload_sql


class Pairs:
    """The pairs of one preference.  Raises QuotaShort where its conversation was never run.

    They are shared equally over the rows of the conversation's grid, the first in slot order from
    each row; what a row cannot give comes from the others.  A pair whose answers are the same, or
    one of them empty, is none, nor is one whose marks are not far enough apart.
    """

    unit = "pair"

    def __init__(self, snapshot: LogSnapshot, preference: PreferencePlan) -> None:
        self._snapshot = snapshot
        self._plan = preference
        self._selection = snapshot.selection(preference.source)
        self._cohort = self._selection.cohort
        self._sides = {"chosen": preference.chosen, "rejected": preference.rejected}
        self._generates = any(side.name == "step" for side in self._sides.values())
        self._by_marks = any(side.name in BY_MARKS for side in self._sides.values())
        attempts = [side for side in self._sides.values() if side.name == "attempts"]
        self._attempts = str(attempts[0].arguments["name"]) if attempts else None
        # What both sides answer: all before a turn, or what the model was shown for a step.
        told = [str(side.arguments["name"]) for side in self._sides.values() if side.name != "step"]
        turns = {turn.name for turn in self._cohort.turns}
        self._turn = next((name for name in told if name in turns), None)
        self._shown_for = told[0] if told and self._turn is None else None
        # Where what was refused is shown in later rounds.
        revises = self._shown_for is not None and self._cohort.step(self._shown_for).revise is not None
        self._losses = Losses(snapshot, self._selection.config_hash) if revises else None
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
        self._calling = any(step.tools for step in (*self._cohort.steps, *preference.steps))
        # Samples that a run can still make a pair from, and pairs that were left out.
        self._open = 0
        self._left_out = self._unread = 0
        self._below = 0
        self._unshown = 0
        self._unjudged = 0
        self._pairs = self._choose(self._sound(self._find()))
        self._provenance = ProvenanceCounts(self._cohort, self._sides)

    @property
    def missing(self) -> int:
        if self._plan.quota is None:
            return self._open
        # A sample has one pair of what its marks choose at most.
        gone = self._selection.forgotten if self._by_marks else 0
        return max(self._plan.quota - len(self._pairs) - max(gone, self._forgotten_pairs), 0)

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
        base, made = self._selection, len(self._pairs)
        if base.missing:
            return [f"`{base.cohort.name}` has {len(base.seqs)} of {base.quota} samples"]
        if self.missing and self._open:
            return [f"`{self._plan.name}` has {made} of {made + self.missing} pairs"]
        return []

    def prepare(self, *, partial: bool) -> None:
        """Raises QuotaShort where no run can make the pairs that are missing."""
        if not self.missing or partial:
            return
        left_out = [f"{self._left_out} left out for being empty or alike"] if self._left_out else []
        if self._below:
            near = "with marks that are no better"
            if self._plan.margin is not None:
                near = f"with marks less than {self._plan.margin:g} apart"
            left_out.append(f"{self._below} left out {near}")
        if self._unjudged:
            left_out.append(f"{self._unjudged} left out that no judge judged")
        if self._unread:
            left_out.append(f"{self._unread} left out whose calls cannot be read")
        if self._unshown:
            left_out.append(f"{self._unshown} left out whose first prompt is not known")
        made = f"all samples of `{self._cohort.name}`"
        if self._attempts is not None:
            made = f"all refused attempts at `{self._attempts}`"
        raise QuotaShort(
            f"`{self._plan.name}` asks for {self._plan.quota} pairs, and {made} make {len(self._pairs)}"
            f"{', with ' if left_out else ''}{' and '.join(left_out)}: lower its count, or take what is "
            "there with --partial"
        )

    def rows(self, layout: Layout) -> Iterator[Row]:
        columns = SampleColumns(layout.export, self._cohort, self._snapshot.rows_of, self._plan.name)
        read = read_pairs(self._snapshot, self._sides, self._pairs, calling=self._calling)
        pairs = columns.along((pair.base, pair.payload, pair) for pair in read)
        prompts = self._shown()
        for ((_, _, pair), shown), key in self._snapshot.keyed(
            self._cohort, pairs, layout.export.split is not None, lambda along: along[0][:2]
        ):
            self._provenance.sample(pair.payload["cell"])
            answers: dict[str, Any] = {}
            for side, plan in self._sides.items():
                answers[side], call = self._answer(pair, side)
                self._provenance.call(side, call)
                if self._is_cut(pair, side, plan):
                    self._provenance.cut([side])
            prompt = self._prompt(pair) if prompts is None else next(prompts)
            shown |= columns.beside(pair.id, pair.beside)
            yield layout.pair(pair.id, key, prompt, tags=self._cohort.tags, columns=shown, **answers)

    def sides(self, split: str | None) -> Side:
        return sides(split)

    def models(self) -> Models:
        return self._models

    def manifest(self) -> dict[str, Any]:
        cursor = self._snapshot.cursor()
        by_marks: dict[str, Any] = {}
        if self._by_marks or self._plan.margin is not None:
            by_marks = {"margin": self._plan.margin, "below_margin": self._below}
        return {
            "source": {
                "preference": self._plan.name,
                "conversation": self._cohort.name,
                "lineage": self._config_hash,
                "quota": self._plan.quota,
                "pairs": len(self._pairs),
                "left_out": self._left_out,
                **({"unshown": self._unshown} if self._unshown else {}),
                **({"unjudged": self._unjudged} if self._unjudged else {}),
                **({"unread": self._unread} if self._unread else {}),
                **by_marks,
            },
            **self._provenance.manifest(cursor),
            **judged(self._cohort, cursor, sorted(set(self._pairs.base)), self._selection.models),
        }

    def _answer(self, pair: Pair, side: str) -> tuple[list[Message], int | None]:
        """What a side says, and the seq of the call that wrote it."""
        plan = self._sides[side]
        name = str(plan.arguments["name"])
        steps, payload = self._cohort.steps, pair.payload
        if plan.name == "step":
            steps, payload = self._plan.steps, pair.own_payload
        step = next(each for each in steps if each.name == name)
        if (attempt := pair.attempts.get(side)) is None:
            thought = payload.get("thoughts", {}).get(name)
            return answer(step, payload["values"], thought), payload["calls"].get(name)
        read = attempted if plan.name == "attempts" else marked
        last = read(step, attempt.text, attempt.thought)
        return tried(step, last, attempt.shown, attempt.calls), attempt.call

    @staticmethod
    def _is_cut(pair: Pair, side: str, plan: CallPlan) -> bool:
        """Whether what a side says was cut at the limit of tokens, and kept."""
        if plan.name in OF_ATTEMPTS:
            return plan.name != "attempts" and pair.attempts[side].cut
        own = pair.own_payload if plan.name == "step" else pair.payload
        return plan.arguments["name"] in own.get("cut", ())

    def _prompt(self, pair: Pair) -> Sequence[Message]:
        """What both sides answer: all that is said before the turn of the conversation that one
        of them is, or all that waits for an answer."""
        values, thoughts = pair.payload["values"], pair.payload.get("thoughts", {})
        if self._turn is not None:
            return before(self._cohort, values, self._turn, thoughts)
        return unanswered(spoken(self._cohort, values, thoughts))

    def _shown(self) -> Iterator[Sequence[Message]] | None:
        """By pair what the model was shown for a step that is no turn; None where both sides answer in the
        conversation."""
        if self._shown_for is None:
            return None
        calls = columns(
            self._snapshot.cursor(), self._pairs.shown, f"CAST({payload_sql.MESSAGES} AS VARCHAR)"
        )
        return (shown_messages(text) for _, text in calls)

    def _find(self) -> FoundPairs:
        """Every pair that can be made from the samples selected and is wide enough, whatever its answers
        say."""
        found = FoundPairs()
        own = None
        if self._generates:
            made_as = next(each for each in self._snapshot.plan.pair_cohorts if each.name == self._plan.name)
            own = MadePairs(self._snapshot, made_as, self._config_hash)
        samples = columns(
            self._snapshot.cursor(),
            self._selection.seqs,
            f"sample_id, coalesce({payload_sql.INPUTS}, ''), {self._parts()}",
        )
        for position, (seq, name, inputs, *parts) in zip(self._selection.positions, samples, strict=True):
            made = NONE
            if own is not None:
                version = sample_version(name, inputs)
                made = own.made(version)
                if made == NONE:
                    self._open += not own.lost(name, version)
                    continue
            row = self._selection.row_of(position)
            shown = NONE if self._shown_for is None else self._prompt_call(parts, name, inputs, seq)
            if shown is None:
                continue
            for chosen, rejected in product(*self._options(parts)):
                if are_apart((self._plan.chosen, chosen), (self._plan.rejected, rejected), self._plan.margin):
                    found.add(row, seq, made, shown, {"chosen": chosen, "rejected": rejected})
                else:
                    self._below += 1
        return found

    def _parts(self) -> str:
        """Expressions for what pairs are found by in the end of a sample: for each side the refused and the
        other attempts, and the call for the step that the prompt is of."""
        parts = []
        for side in self._sides.values():
            # A step's name is a word of letters, digits and underscores.
            name = side.arguments["name"]
            refused = f"json_extract(payload, '$.rejected.{name}')" if side.name == "attempts" else "NULL"
            # Marks that choose no pair are columns all the same.
            marked = side.name != "step" and self._cohort.step(str(name)).rubric is not None
            heeds = side.name in BY_MARKS or marked
            other = f"json_extract(payload, '$.attempts.{name}')" if heeds else "NULL"
            parts += [f"CAST({part} AS VARCHAR)" for part in (refused, other)]
        if self._shown_for is not None:
            parts.append(f"CAST(json_extract(payload, '$.calls.{self._shown_for}') AS BIGINT)")
            if self._losses is not None:
                parts += [
                    f"CAST(json_extract(payload, '$.{part}.{self._shown_for}') AS VARCHAR)"
                    for part in ("rejected", "attempts")
                ]
        return ", ".join(parts)

    def _prompt_call(self, parts: list[Any], name: str, inputs: str, seq: int) -> int | None:
        """The call whose messages are the prompt, from the last of a sample's `parts`; those of a later round
        show what is wrong with what was refused.  None where there is none."""
        if self._losses is None:
            found: int | None = parts.pop()
            return found
        picked, refused, other = parts[-3:]
        earlier = self._losses.tried(self._cohort, str(self._shown_for), name, inputs, seq)
        found = first_shown(picked, json.loads(refused or "[]"), json.loads(other or "[]"), earlier)
        self._unshown += found is None and picked is not None
        return found

    def _options(self, parts: Sequence[str | None]) -> Iterator[list[Answer]]:
        """What each side can be in a sample, whose attempts are told as `_parts` asks for them."""
        for number, side in enumerate(self._sides.values()):
            refused, other = (json.loads(part or "[]") for part in parts[2 * number : 2 * number + 2])
            unjudged = frozenset[int]()
            if side.name == "attempts":
                step = self._cohort.step(str(side.arguments["name"]))
                unjudged = frozenset(
                    index
                    for index, each in enumerate(refused)
                    if is_unjudged(step, each["check"], each["reason"])
                )
                self._unjudged += len(unjudged)
            yield options(side, refused, other, unjudged)

    def _sound(self, found: FoundPairs) -> FoundPairs:
        """The pairs whose answers differ and say something."""
        kept = array("q")
        absent = 0
        self._unread = 0
        for index, pair in enumerate(read_pairs(self._snapshot, self._sides, found, calling=self._calling)):
            if not all(map(pair.has, self._sides.values())):
                absent += 1
                continue
            if any(attempt.malformed for attempt in pair.attempts.values()):
                self._unread += 1
                continue
            texts = {says(self._answer(pair, side)[0]) for side in self._sides}
            if len(texts) == 2 and "" not in texts:
                kept.append(index)
        self._left_out = len(found) - len(kept) - absent - self._unread
        return found.at(kept)

    def _choose(self, found: FoundPairs) -> FoundPairs:
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
