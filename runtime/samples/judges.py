"""What rows, functions and judges say of a value: whether it holds, and how good it is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.judging.judge_steps import JUDGED, no_marks, no_verdict
from synth.compiler.plan.judging.marking import BEFORE
from synth.compiler.plan.judging.rubrics import marks_of
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.stdlib.verdict import is_complete, own_marks_refusal, resolved
from synth.runtime.calls.applied import refusal_of
from synth.runtime.calls.attempt import CacheMiss, Place
from synth.runtime.calls.prompt import message_of, tool_messages
from synth.runtime.calls.validate import Accepted, Rejected, verdict_on
from synth.runtime.engines.base import Message
from synth.runtime.events.budget import Stopped
from synth.runtime.samples.work import Work

# What a judge says, None where it says nothing that can be read.
Heard = dict[str, Any] | None


# What stands beside the value of a step without tools.
NOTHING: Mapping[str, Any] = {}


async def judged(
    work: Work, step: StepPlan, place: Place, accepted: Accepted, beside: Mapping[str, Any] = NOTHING
) -> Accepted | Rejected:
    """What rows, functions and then the judges of a step's checks say of a value that holds otherwise, and
    of the calls `beside` it."""
    if any(check.source or check.against for check in step.checks):
        values = work.values | {step.name: accepted.value, **beside}
        try:
            refused = await refusal_of(work.asking(step, place, values), accepted.value)
        except (CacheMiss, Stopped) as error:
            raise work.failed(step, error) from None
        if refused is not None:
            return Rejected(*refused)
    if not step.judged_by:
        return accepted
    with work.breakers.judging(step):
        return await _heard(work, step, place, accepted, beside)


async def marked(
    work: Work,
    step: StepPlan,
    place: Place,
    value: Any,
    shown: Sequence[Message],
    beside: Mapping[str, Any] = NOTHING,
) -> tuple[dict[str, Any] | None, Rejected | None]:
    """The marks that a step's rubric gives a value, None where a judge gives none, and why it is refused
    for them.  `shown` are the messages that the value answers."""
    assert step.rubric is not None
    values = dict(work.values)
    if step.call is None:
        values |= {JUDGED: _whole(step, value, beside)}
        values |= {BEFORE: _before(work.sample.cohort, step, values, shown)}
    said: list[dict[str, Any]] = []
    with work.breakers.judging(step):
        heard = await _all(
            _hear(work, judging, place, work.messages(judging, values)) for judging in step.marked_by
        )
    for judging, marks in zip(step.marked_by, heard, strict=True):
        if marks is None:
            return None, Rejected(step.rubric.name, no_marks(judging.model))
        said.append(marks)
    given = marks_of(step.rubric, said, [str(judging.model) for judging in step.marked_by])
    refused = own_marks_refusal(step, given)
    return given, None if refused is None else Rejected(*refused)


async def _all(asked: Iterable[Coroutine[Any, Any, Heard]]) -> list[Heard]:
    """What several judges say, side by side; all are heard before the first that failed is told of."""
    first, *others = asked
    if not others:
        return [await first]
    heard = await asyncio.gather(first, *others, return_exceptions=True)
    for each in heard:
        if isinstance(each, BaseException):
            raise each
    return [each for each in heard if not isinstance(each, BaseException)]


def _before(cohort: CohortPlan, step: StepPlan, values: Mapping[str, Any], shown: Sequence[Message]) -> str:
    """What comes before a value, as text: the turns before a turn, or what was asked for it."""
    said: list[tuple[str, str]] = []
    if step.role is not None:
        for turn in cohort.turns:
            if turn.name == step.name:
                break
            value = values.get(turn.name)
            if value is None:
                continue
            if turn.role == "messages":
                said += _lines(map(message_of, value))
            else:
                said += _lines(tool_messages(values.get(f"{turn.name}.calls") or ()))
                said.append((str(turn.role), turn.said(value)))
    said = said or list(_lines(shown))
    return "\n\n".join(f"{role}: {content}" for role, content in said)


def _lines(messages: Iterable[Message]) -> Iterator[tuple[str, str]]:
    """Who says what, a model's calls of tools among it."""
    for message in messages:
        if message.content or not message.calls:
            yield message.role, message.content
        for call in message.calls:
            yield message.role, f"calls {call.name}({canonical_json(dict(call.arguments))})"


def _whole(step: StepPlan, value: Any, beside: Mapping[str, Any]) -> str:
    """A turn's value as a judge sees it: below the calls before it and what they came to."""
    called = _lines(tool_messages(beside.get(f"{step.name}.calls") or ()))
    said = [f"{role}: {content}" for role, content in called]
    return "\n\n".join([*said, step.said(value)])


async def _heard(
    work: Work, step: StepPlan, place: Place, accepted: Accepted, beside: Mapping[str, Any]
) -> Accepted | Rejected:
    values = work.values | {JUDGED: _whole(step, accepted.value, beside)}
    asked = [check for check in step.checks if "judge" in check.arguments]
    for check, judging in zip(asked, step.judged_by, strict=True):
        if not is_complete(resolved(check.arguments, work.values)):
            continue
        name = check.label or check.name
        said = await _hear(work, judging, place, work.messages(judging, values))
        if said is None:
            return Rejected(name, no_verdict(judging.model))
        if not said["holds"]:
            return Rejected(name, f"`{judging.model}` says: {said['why']}")
    return accepted


async def _hear(
    work: Work, judging: StepPlan, place: Place, messages: Sequence[Message]
) -> dict[str, Any] | None:
    """What a judge says, or None where it says nothing that can be read."""
    for number in range(judging.retry + 1):
        # Each attempt at the value has attempts of its own at a verdict.
        own = Place(place.round * (judging.retry + 1) + number, place.candidate)
        answer = await work.ask(judging, own, messages)
        verdict = verdict_on(judging, answer, work.rules, {})
        work.count(judging, answer, verdict)
        if isinstance(verdict, Accepted):
            work.observer.accepted(work.sample, judging, own, answer)
            return dict(verdict.value)
        work.observer.rejected(work.sample, judging, own, answer, verdict)
    return None
