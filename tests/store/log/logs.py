"""Logs as a run would leave them, made of events alone: what happened is said, nothing is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.strata import Slot, pair_id, sample_id, slots
from synth.store.dataset.inputs.sources import reader_digest
from synth.store.log.events import Event, Kind
from synth.store.log.log import Log

IDENTITY = {"backend": "simulated", "id": "nobody", "revision": None}

# A refused attempt: its text, the check that refused it, and perhaps what else the log has of its call.
Attempt = tuple[str, str] | tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An attempt at a step with candidates: the round, its number there, what it says, its marks by
    criterion, what refused it, and whether it is the value."""

    round: int
    k: int
    text: str
    marks: Mapping[str, int] | None = None
    check: str | None = None
    picked: bool = False
    thought: str | None = None
    reason: str = "is not as asked for"

    @property
    def recorded_marks(self) -> dict[str, Any]:
        """Its marks as the log has them."""
        assert self.marks is not None
        return {**self.marks, "total": sum(self.marks.values()), "why": f"For {self.text}"}


class Story:
    """Events of a plan in the order in which they are told.  A `config_hash` names who answers."""

    def __init__(self, plan: Plan, config_hash: str = "1") -> None:
        self.plan = plan
        self.events: list[Event] = []
        self.start(config_hash)

    def start(self, config_hash: str) -> None:
        """A run begins."""
        self._config_hashes = {
            cohort.name: {
                "lineage": f"{cohort.name}-{config_hash}",
                "fingerprint": self.plan.fingerprint(cohort),
                "models": {},
            }
            for cohort in self.plan.cohorts
        }
        for pairs in self.plan.pair_cohorts:
            preference = self.plan.preference(pairs.name)
            self._config_hashes[pairs.name] = {
                "lineage": f"{pairs.name}-{config_hash}",
                "fingerprint": self.plan.pair_fingerprint(preference),
                "models": {},
                "of": self._config_hashes[preference.source]["lineage"],
            }
        registered = {"plan_hash": self.plan.plan_hash, "plan": self.plan.model_dump(mode="json")}
        self.tell(Kind.PLAN_REGISTERED, registered)
        self.tell(Kind.RUN_STARTED, {"plan_hash": self.plan.plan_hash, "lineages": self._config_hashes})

    def tell(self, kind: Kind, payload: dict[str, Any], **columns: Any) -> int:
        """Adds an event; gives its seq."""
        seq = len(self.events)
        self.events.append(Event(seq, kind, "run", 1_700_000_000_000_000 + seq, payload, **columns))
        return seq

    def complete(
        self,
        cohort: CohortPlan,
        slot: Slot,
        values: Mapping[str, Any],
        *,
        refused: Mapping[str, Sequence[Attempt]] | None = None,
        ordinal: int | None = None,
        thoughts: Mapping[str, str] | None = None,
    ) -> str:
        """A sample ends well; gives its id.  `ordinal` is another one than the slot's, for a
        replacement; `refused` are attempts before the one that was accepted."""
        name = self.name(cohort, slot, ordinal)
        attempts = self._attempts(cohort, name, refused)
        calls = {
            step: self._call(cohort, name, step, len(attempts.get(step, ())), value)
            for step, value in values.items()
            if "." not in step and cohort.step(step).model is not None
        }
        payload = {**self._place(cohort, slot, ordinal), "values": dict(values), "calls": calls}
        if thoughts:
            payload["thoughts"] = dict(thoughts)
        self.tell(Kind.SAMPLE_COMPLETED, payload | _rejected(attempts), sample_id=name)
        return name

    def judge(
        self,
        cohort: CohortPlan,
        slot: Slot,
        values: Mapping[str, Any],
        candidates: Mapping[str, Sequence[Candidate]],
        *,
        lost: bool = False,
        beside: Mapping[str, Any] | None = None,
        ordinal: int | None = None,
    ) -> str:
        """A sample ends at whose steps there were candidates; gives its id.  The value of such a step is
        that of the one that was picked; `beside` are more values."""
        name = self.name(cohort, slot, ordinal)
        recorded: dict[str, Any] = {**values, **(beside or {})}
        noted: dict[str, list[dict[str, Any]]] = {}
        refused: dict[str, list[dict[str, Any]]] = {}
        calls = {
            step: self._call(cohort, name, step, 0, value)
            for step, value in values.items()
            if cohort.step(step).model is not None
        }
        for step, tried in candidates.items():
            for candidate in tried:
                call = self._call(
                    cohort, name, step, candidate.round, candidate.text, thought=candidate.thought
                )
                place = {"attempt": candidate.round, "call": call}
                if candidate.k:
                    place["candidate"] = candidate.k
                if candidate.check:
                    why = {"check": candidate.check, "reason": candidate.reason}
                    refused.setdefault(step, []).append({**place, **why})
                if candidate.marks is None and candidate.check not in (None, "most_common"):
                    continue
                marks = {} if candidate.marks is None else {"marks": candidate.recorded_marks}
                stood = {"stood": False} if candidate.check else {}
                picked = {"picked": True} if candidate.picked else {}
                noted.setdefault(step, []).append({**place, **marks, **stood, **picked})
                if candidate.picked:
                    output = cohort.step(step).output
                    recorded[step] = candidate.text if output.kind == "text" else json.loads(candidate.text)
                    calls[step] = call
                    rubric = cohort.step(step).rubric
                    if marks and rubric is not None:
                        recorded[f"{step}.{rubric.name}"] = candidate.recorded_marks
        payload: dict[str, Any] = {
            **self._place(cohort, slot, ordinal),
            "values": recorded,
            "attempts": noted,
        }
        if refused:
            payload["rejected"] = refused
        if lost:
            self.tell(
                Kind.SAMPLE_ABANDONED, {**payload, "reason": "no luck", "lasting": True}, sample_id=name
            )
        else:
            self.tell(Kind.SAMPLE_COMPLETED, {**payload, "calls": calls}, sample_id=name)
        return name

    def abandon(
        self,
        cohort: CohortPlan,
        slot: Slot,
        refused: Mapping[str, Sequence[Attempt]] | None = None,
        *,
        values: Mapping[str, Any] | None = None,
        lasting: bool = True,
        of: str | None = None,
        ordinal: int | None = None,
    ) -> str:
        """A sample is given up; gives its id.  `values` are those it had by then."""
        name = self.name(cohort, slot, ordinal) if of is None else pair_id(self.plan, cohort, of)
        attempts = self._attempts(cohort, name, refused)
        payload = {**self._place(cohort, slot, ordinal), "reason": "no luck", "lasting": lasting}
        if values is not None:
            payload["values"] = dict(values)
        if of is not None:
            payload["of"] = of
        self.tell(Kind.SAMPLE_ABANDONED, payload | _rejected(attempts), sample_id=name)
        return name

    def pair(
        self, preference: str, slot: Slot, values: Mapping[str, Any], *, ordinal: int | None = None
    ) -> str:
        """A preference makes its own sample from one of its conversation's."""
        cohort = next(entry for entry in self.plan.pair_cohorts if entry.name == preference)
        base = self.plan.cohort(self.plan.preference(preference).source)
        of = self.name(base, slot, ordinal)
        name = pair_id(self.plan, cohort, of)
        calls = {step: self._call(cohort, name, step, 0, value) for step, value in values.items()}
        place = self._place(cohort, slot, ordinal)
        self.tell(
            Kind.SAMPLE_COMPLETED,
            {**place, "values": dict(values), "calls": calls, "of": of},
            sample_id=name,
        )
        return name

    def ingest(
        self,
        source: str,
        conversations: Iterable[Sequence[Mapping[str, Any]]],
        version: str = "1",
        *,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> list[str]:
        """A source is read; gives the ids of its rows.  All of them offer the same `tools`."""
        names = []
        for number, messages in enumerate(conversations):
            names.append(sha256(f"{source} {number}".encode()).hexdigest()[:16])
            self.tell(
                Kind.SOURCE_INGESTED,
                {
                    "source": source,
                    "version": version,
                    "row": number,
                    "file": "chat.jsonl",
                    "line": number + 1,
                    "hash": "",
                    "messages": list(messages),
                    **({"tools": list(tools)} if tools else {}),
                },
                sample_id=names[-1],
            )
        self.tell(
            Kind.SOURCE_COMPLETED,
            {
                "source": source,
                "reader": reader_digest(self.plan, self.plan.source(source)),
                "version": version,
                "rows": len(names),
                "shape": "messages",
                "files": [],
                **({"calling": len(names)} if tools else {}),
            },
        )
        return names

    def name(self, cohort: CohortPlan, slot: Slot, ordinal: int | None = None) -> str:
        number = slot.ordinal if ordinal is None else ordinal
        return sample_id(self.plan, cohort, slot.cell.labels, number)

    def write(self, path: Path, batch: int = 256) -> Path:
        """The log with what was told so far."""
        with Log(path, writer=True) as log:
            for start in range(0, len(self.events), batch):
                log.append(self.events[start : start + batch])
        return path

    def _place(self, cohort: CohortPlan, slot: Slot, ordinal: int | None) -> dict[str, Any]:
        return {
            "lineage": self._config_hashes[cohort.name]["lineage"],
            "cohort": cohort.name,
            "cell": dict(slot.cell.labels),
            "ordinal": slot.ordinal if ordinal is None else ordinal,
        }

    def _attempts(
        self, cohort: CohortPlan, name: str, refused: Mapping[str, Sequence[Attempt]] | None
    ) -> dict[str, list[dict[str, Any]]]:
        return {
            step: [
                {
                    "attempt": number,
                    "call": self._call(cohort, name, step, number, text, **(more[0] if more else {})),
                    "check": check,
                    "reason": "is not as asked for",
                }
                for number, (text, check, *more) in enumerate(attempts)
            ]
            for step, attempts in (refused or {}).items()
        }

    def _call(
        self,
        cohort: CohortPlan,
        name: str,
        step: str,
        attempt: int,
        value: Any,
        *,
        thought: str | None = None,
        **more: Any,
    ) -> int:
        asked = f"Write {step}."
        if attempt and cohort.step(step).revise is not None:
            asked += " Another was refused."
        return self.tell(
            Kind.CALL_COMPLETED,
            {
                **({} if thought is None else {"thought": thought}),
                "call_key": "",
                "identity": IDENTITY,
                "engine": "simulated",
                "messages": [{"role": "user", "content": asked}],
                "token_ids": None,
                "text": value if isinstance(value, str) else canonical_json(value),
                "finish_reason": "stop",
                "seed": 0,
                **more,
            },
            sample_id=name,
            step=step,
            attempt=attempt,
            model=cohort.step(step).model,
        )


def _rejected(attempts: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {"rejected": attempts} if attempts else {}


def all_slots(plan: Plan, name: str) -> list[Slot]:
    return list(slots(plan, plan.cohort(name)))


def chat(*contents: str) -> list[dict[str, Any]]:
    """Messages of a user and a model by turns."""
    return [{"role": ("user", "model")[number % 2], "content": text} for number, text in enumerate(contents)]
