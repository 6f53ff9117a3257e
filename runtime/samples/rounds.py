"""What a model writes for a step: rounds of one candidate or several, of which one is picked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.conditions import there
from synth.compiler.plan.steps import StepPlan
from synth.compiler.stdlib.render import render
from synth.runtime.calls.applied import made_by
from synth.runtime.calls.attempt import Answer, CacheMiss, CallAbandoned, Place
from synth.runtime.calls.validate import Accepted, Rejected, verdict_on
from synth.runtime.engines.base import Message
from synth.runtime.events.budget import Stopped
from synth.runtime.samples.judges import NOTHING, judged, marked
from synth.runtime.samples.tools import Dialogue, beside
from synth.runtime.samples.work import Failed, Work
from synth.store.log.payloads import MarkedAttempt

# Digits of the share that agrees.
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate, what became of it, its marks, where it was marked, and what stands beside its value."""

    place: Place
    answer: Answer
    verdict: Accepted | Rejected
    marks: dict[str, Any] | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stands(self) -> bool:
        return isinstance(self.verdict, Accepted)

    @property
    def total(self) -> float:
        return float("-inf") if self.marks is None else float(self.marks["total"])


async def written(work: Work, step: StepPlan) -> None:
    """Has a step's value written and accepts it.  Raises Failed."""
    messages = work.messages(step)
    shown: Sequence[Message] = messages
    # A sample that was lost and is tried again goes on where it was given up.
    first = work.earlier.tried(step.name)
    refused = work.earlier.refused_last(step.name) if first else None
    for number in range(first, first + step.retry + 1):
        if work.abandoned is not None:
            raise Failed(None)
        if refused is not None and step.revise is not None:
            shown = _revised(work, step, messages, refused)
        tried = await _round(work, step, number, shown)
        if step.pick.by == "most_common":
            tried, agreement = await _agreeing(work, step, tried)
        picked = _picked(step, tried)
        _note(work, step, tried, picked)
        if picked is None:
            # The best of the refused is the one to improve on.
            best = max(tried, key=lambda each: (each.total, -each.place.candidate))
            assert isinstance(best.verdict, Rejected)
            refused = best.answer.text, best.verdict.reason
            continue
        if step.pick.by == "most_common":
            work.set(f"{step.name}.agreement", agreement)
        _accept(work, step, picked)
        return
    last = next(each.verdict for each in tried if isinstance(each.verdict, Rejected))
    raise work.abandon(step, f"{last.check}: {last.reason}")


async def _round(work: Work, step: StepPlan, number: int, shown: Sequence[Message]) -> Sequence[Tried]:
    if step.candidates == 1:
        return [await _try(work, step, Place(number), shown)]
    places = (Place(number, candidate) for candidate in range(step.candidates))
    # What is in flight beside one that failed is awaited and logged, since it was paid for.
    tried = await asyncio.gather(
        *(_try(work, step, place, shown) for place in places), return_exceptions=True
    )
    faults = [each for each in tried if isinstance(each, BaseException)]
    if faults:
        raise next((each for each in faults if not isinstance(each, Failed)), faults[0])
    return [each for each in tried if isinstance(each, Tried)]


async def _try(work: Work, step: StepPlan, place: Place, shown: Sequence[Message]) -> Tried:
    calls, values, refused = NOTHING, work.values, None
    if step.tools:
        end = await Dialogue(work, step, place).run(shown)
        answer, calls, refused = end.answer, beside(step, end.called), end.refused
        values = {**values, **calls}
    else:
        answer = await work.ask(step, place, shown)
    verdict = refused or verdict_on(step, answer, work.rules, values)
    if isinstance(verdict, Accepted):
        verdict = await judged(work, step, place, verdict, calls)
    marks = None
    if step.rubric is not None and isinstance(verdict, Accepted):
        marks, refused = await marked(work, step, place, verdict.value, shown, calls)
        verdict = refused or verdict
    work.count(step, answer, verdict)
    return Tried(place, answer, verdict, marks, calls)


def _revised(
    work: Work, step: StepPlan, messages: Sequence[Message], refused: tuple[str, str]
) -> tuple[Message, ...]:
    """What the first attempt was shown, and below it what is wrong with a refused one."""
    assert step.revise is not None
    known = {"refused": refused[0].strip(), "reason": refused[1]}
    asked = render(step.revise, work.values | known)
    *before, last = messages or (Message("user", ""),)
    if last.role != "user" or not last.content:
        return (*messages, Message("user", asked))
    return (*before, Message(last.role, f"{last.content}\n\n{asked}"))


def _picked(step: StepPlan, tried: Sequence[Tried]) -> Tried | None:
    standing = [each for each in tried if each.stands]
    if step.pick.by == "best":
        # Of equals the first is taken.
        return max(standing, key=lambda each: each.total, default=None)
    return standing[0] if standing else None


async def _agreeing(work: Work, step: StepPlan, tried: Sequence[Tried]) -> tuple[Sequence[Tried], float]:
    """The same candidates, the outvoted of them refused, and the share of those that stood which agrees."""
    found: list[Tried] = []
    groups: dict[str, list[int]] = {}
    for number, each in enumerate(tried):
        if isinstance(each.verdict, Accepted):
            compared = await _compared(work, step, each, each.verdict.value)
            if isinstance(compared, Rejected):
                each = replace(each, verdict=compared)
            else:
                groups.setdefault(canonical_json(compared), []).append(number)
        found.append(each)
    if not groups:
        return found, 0.0
    standing = sum(map(len, groups.values()))
    # Groups are in the order of their first members, and of equally large ones the first is taken.
    most = max(groups.values(), key=len)
    why = Rejected("most_common", f"{len(most)} of {standing} candidates agree on another value")
    for number in (number for group in groups.values() if group is not most for number in group):
        found[number] = replace(found[number], verdict=why)
    return found, round(len(most) / standing, _DIGITS)


async def _compared(work: Work, step: StepPlan, tried: Tried, value: Any) -> Any:
    """What of a candidate's value others are to agree on, or a Rejected."""
    pick = step.pick
    if pick.call is None:
        return there((step.name, *pick.of), {step.name: value, **tried.beside})
    asking = replace(
        work.asking(step, tried.place, work.values | {step.name: value, **tried.beside}),
        step=step.model_copy(update={"call": pick.call}),
    )
    try:
        return await made_by(asking)
    except CallAbandoned as fault:
        if fault.lasting:
            return Rejected("most_common", str(fault))
        raise work.failed(step, fault) from None
    except (CacheMiss, Stopped) as error:
        raise work.failed(step, error) from None


def _note(work: Work, step: StepPlan, tried: Sequence[Tried], picked: Tried | None) -> None:
    """Takes note of a round: what is refused, what stands, what is picked."""
    for each in tried:
        if isinstance(each.verdict, Rejected):
            work.sample.refuse(step.name, each.place, each.answer.seq, each.verdict)
            work.observer.rejected(work.sample, step, each.place, each.answer, each.verdict)
        elif each is not picked:
            work.observer.unpicked(step)
    if step.candidates == 1 and step.rubric is None:
        return
    for each in tried:
        if not each.stands and each.marks is None and not _outvoted(each):
            continue
        noted = MarkedAttempt(attempt=each.place.round, call=each.answer.seq)
        if each.place.candidate:
            noted["candidate"] = each.place.candidate
        if each.marks is not None:
            noted["marks"] = each.marks
        if not each.stands:
            noted["stood"] = False
        if each is picked:
            noted["picked"] = True
        work.sample.attempts.setdefault(step.name, []).append(noted)


def _outvoted(tried: Tried) -> bool:
    return isinstance(tried.verdict, Rejected) and tried.verdict.check == "most_common"


def _accept(work: Work, step: StepPlan, picked: Tried) -> None:
    assert isinstance(picked.verdict, Accepted)
    sample, answer = work.sample, picked.answer
    work.observer.accepted(sample, step, picked.place, answer)
    sample.calls[step.name] = answer.seq
    if answer.thought is not None:
        sample.thoughts[step.name] = answer.thought
    if answer.finish_reason == "length" and step.on_length == "keep":
        sample.cut.append(step.name)
    if picked.marks is not None and step.rubric is not None:
        work.set(f"{step.name}.{step.rubric.name}", picked.marks)
    for name, value in picked.beside.items():
        work.set(name, value)
    work.accept(step, picked.verdict.value)
