"""The pairs that a preference can make of a log, and what each is as the log has it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import isnan, nan
from typing import Any

from synth.compiler.plan.steps import CallPlan
from synth.store.dataset.inputs.select import columns, completed
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.judging.candidates import OF_ATTEMPTS, Answer, numbered
from synth.store.dataset.rows.made_pairs import NONE
from synth.store.log import payload_sql
from synth.store.log.payloads import EndedEitherWay


class FoundPairs:
    """Pairs that can be made, in slot order, a column for each thing known of them.

    That is the row of the grid, the seq of the sample that the pair is made from, that of the
    preference's own sample, and that of the call whose messages are the prompt; by side the index of the
    attempt that is meant, the seq of its call and its mark.  `NONE` and not a number stand where there is
    no such thing.
    """

    __slots__ = ("attempts", "base", "calls", "marks", "own", "row", "shown")

    def __init__(self) -> None:
        self.row, self.base, self.own, self.shown = (array("q") for _ in range(4))
        self.attempts = {"chosen": array("q"), "rejected": array("q")}
        self.calls = {"chosen": array("q"), "rejected": array("q")}
        self.marks = {"chosen": array("d"), "rejected": array("d")}

    def add(self, row: int, base: int, own: int, shown: int, answers: Mapping[str, Answer]) -> None:
        self.row.append(row)
        self.base.append(base)
        self.own.append(own)
        self.shown.append(shown)
        for side, answer in answers.items():
            self.attempts[side].append(NONE if answer.attempt is None else answer.attempt)
            self.calls[side].append(NONE if answer.call is None else answer.call)
            self.marks[side].append(nan if answer.mark is None else answer.mark)

    def at(self, indexes: Sequence[int]) -> FoundPairs:
        """Those at some indexes."""
        found = FoundPairs()
        for name in ("row", "base", "own", "shown"):
            setattr(found, name, _at(getattr(self, name), indexes))
        for name in ("attempts", "calls", "marks"):
            of_sides = {side: _at(column, indexes) for side, column in getattr(self, name).items()}
            setattr(found, name, of_sides)
        return found

    def __len__(self) -> int:
        return len(self.base)


def _at(column: array[Any], indexes: Sequence[int]) -> array[Any]:
    return array(column.typecode, (column[index] for index in indexes))


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that a side of a pair is: what the end of its sample tells of it, the seq of its call, its
    text, the thinking that came with it, whether it was cut at the limit of tokens and, as JSON where tools
    can be called, what its model was shown and its calls.  `malformed` says why there are calls in its text
    that cannot be read."""

    told: Mapping[str, Any]
    call: int
    text: str
    thought: str | None
    cut: bool
    shown: str
    calls: str | None
    malformed: str | None


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair as the log has it: the sample it is made from, the preference's own sample, and by side the
    attempts and their marks.  `refused` names the refused attempt that it is about."""

    base: str
    payload: EndedEitherWay
    own: str | None
    own_payload: EndedEitherWay
    attempts: Mapping[str, Attempt]
    marks: Mapping[str, float | None]
    refused: str | None

    @property
    def beside(self) -> Mapping[str, Any]:
        """What columns of the preference's own name: the values of its turns, and the marks."""
        marks = {f"{side}_mark": mark for side, mark in self.marks.items()}
        return {**self.own_payload.get("values", {}), **marks}

    @property
    def id(self) -> str:
        name = self.own or self.base
        return name if self.refused is None else f"{name}-{self.refused}"

    def has(self, side: CallPlan) -> bool:
        """Whether the sample has what a side is: conditions may have left it out."""
        if side.name in OF_ATTEMPTS:
            return True
        payload = self.own_payload if side.name == "step" else self.payload
        return payload["values"].get(str(side.arguments["name"])) is not None


def read_pairs(
    snapshot: LogSnapshot, sides: Mapping[str, CallPlan], found: FoundPairs, *, calling: bool
) -> Iterator[Pair]:
    """Pairs in order, a chunk in memory at a time; `calling` ones with what their attempts called."""
    more = "NULL, NULL, NULL"
    if calling:
        as_text = (f"CAST({part} AS VARCHAR)" for part in (payload_sql.MESSAGES, payload_sql.CALLS))
        more = ", ".join((*as_text, payload_sql.MALFORMED))
    bases = completed(snapshot.cursor(), found.base)
    own: Iterator[tuple[Any, Any]] = repeat((None, {}))
    if found.own and found.own[0] != NONE:
        own = completed(snapshot.cursor(), found.own)
    answers = {
        side: columns(
            snapshot.cursor(),
            found.calls[side],
            f"{payload_sql.TEXT}, {payload_sql.THOUGHT}, {payload_sql.FINISH_REASON}, {more}",
        )
        for side, plan in sides.items()
        if plan.name in OF_ATTEMPTS
    }
    for index, (base, payload) in enumerate(bases):
        own_id, own_payload = next(own)
        attempts: dict[str, Attempt] = {}
        refused = None
        for side, said in answers.items():
            plan, at = sides[side], found.attempts[side][index]
            part: Any = payload["rejected" if plan.name == "attempts" else "attempts"]
            told = part[plan.arguments["name"]][at]
            call, text, thought, finish_reason, shown, calls, malformed = next(said)
            cut = finish_reason == "length"
            attempts[side] = Attempt(told, call, text.strip(), thought, cut, shown or "[]", calls, malformed)
            if plan.name == "attempts":
                refused = numbered(told)
        marks = {side: None if isnan(mark := column[index]) else mark for side, column in found.marks.items()}
        yield Pair(base, payload, own_id, own_payload, attempts, marks, refused)
