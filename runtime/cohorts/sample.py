"""One sample's life: its steps, each as soon as what it needs is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from synth.compiler.plan.conditions import all_hold
from synth.compiler.plan.judging.judge_steps import JUDGED
from synth.compiler.plan.model import CohortPlan, StepPlan
from synth.compiler.plan.strata import Slot, call_seed
from synth.compiler.plan.tables.environment import environment
from synth.compiler.stdlib.folds import FOLDS
from synth.compiler.stdlib.render import render
from synth.compiler.stdlib.verdict import Refusal, is_complete, resolved
from synth.runtime.calls.applied import Asking, made_by, refusal_of
from synth.runtime.calls.attempt import Answer, Attempt, CacheMiss, CallAbandoned, ModelClient
from synth.runtime.calls.breaker import Breakers
from synth.runtime.calls.prompt import messages_for
from synth.runtime.calls.validate import Accepted, Rejected, in_one_sample, validate_composed, verdict_on
from synth.runtime.engines.base import Message
from synth.runtime.events.budget import Stopped
from synth.runtime.retrieval.service import LookUp, Passages
from synth.store.log.past.history import LoggedSample
from synth.store.log.payloads import RejectedAttempt


@dataclass(slots=True)
class Sample:
    """A sample under way.  `values` holds what was accepted, None for what conditions left out, and
    `thoughts` the thinking before it; `cut` names the steps whose text was kept although it was cut at
    the limit of tokens; `calls` the seq of each call; `rejected` each step's refused attempts.

    `given` is what its templates can print besides the cell, and `of` the sample it is made
    from, when it is made from one.
    """

    cohort: CohortPlan
    slot: Slot
    sample_id: str
    priority: int
    given: Mapping[str, Any] = field(default_factory=dict)
    of: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    thoughts: dict[str, str] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, list[RejectedAttempt]] = field(default_factory=dict)

    @property
    def pending(self) -> Pending:
        """How it ends where it stands."""
        return Pending(tuple(step.name for step in self.cohort.steps if step.name not in self.values))

    def refuse(self, step: str, attempt: int, call: int | None, why: Rejected) -> None:
        """Takes note of a refused attempt."""
        self.rejected.setdefault(step, []).append(
            RejectedAttempt(attempt=attempt, call=call, check=why.check, reason=why.reason)
        )


@dataclass(frozen=True, slots=True)
class Done:
    """Every step was accepted."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A step failed for good; another sample takes this one's place."""

    step: str
    reason: str
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Pending:
    """The run stopped, or the log has no answer, before the steps named were accepted."""

    steps: tuple[str, ...]


Outcome = Done | Abandoned | Pending


class StepObserver(Protocol):
    """Is told of every verdict."""

    def accepted(self, sample: Sample, step: StepPlan, attempt: int, answer: Answer) -> None: ...

    def rejected(
        self, sample: Sample, step: StepPlan, attempt: int, answer: Answer, why: Rejected
    ) -> None: ...

    def refused(self, sample: Sample, step: str, why: Rejected, value: Any) -> None:
        """A set-wide check refused a value that had passed its own, or a composed one did not hold."""
        ...


class _Failed(Exception):
    """Carries the outcome out of a step and into those that need it."""

    def __init__(self, outcome: Abandoned | None) -> None:
        self.outcome = outcome


async def run_sample(
    sample: Sample,
    client: ModelClient,
    earlier: LoggedSample,
    observer: StepObserver,
    breakers: Breakers | None = None,
) -> Outcome:
    """Runs a sample to its end.

    Steps that need nothing of each other run side by side.  When one fails for good, what is in
    flight beside it is still awaited and logged, since it was paid for; nothing new begins.
    """
    run = _Run(sample, client, earlier, observer, breakers or Breakers())
    return await run.all()


class _Run:
    def __init__(
        self,
        sample: Sample,
        client: ModelClient,
        earlier: LoggedSample,
        observer: StepObserver,
        breakers: Breakers,
    ) -> None:
        self._sample = sample
        self._client = client
        self._earlier = earlier
        self._observer = observer
        self._breakers = breakers
        self._rules = client.rules(sample.sample_id)
        self._values = environment(sample.cohort, sample.slot) | dict(sample.given)
        self._branches: list[asyncio.Task[None]] = []
        self._needs: dict[str, set[str]] = {}
        self._abandoned: Abandoned | None = None

    async def all(self) -> Outcome:
        steps = self._sample.cohort.steps
        if _is_chain(steps):
            return await self._chain(steps)
        self._needs = {step.name: set(step.needs) for step in steps}
        faults: list[BaseException] = []
        try:
            try:
                await self._branch([step for step in steps if not step.needs])
            except Exception as fault:
                faults.append(fault)
            # Branches begin others, so there may be more of them by then.
            awaited = 0
            while awaited < len(self._branches):
                some = self._branches[awaited:]
                awaited = len(self._branches)
                results = await asyncio.gather(*some, return_exceptions=True)
                faults += [result for result in results if result is not None]
        except asyncio.CancelledError:
            for branch in self._branches:
                branch.cancel()
            await asyncio.gather(*self._branches, return_exceptions=True)
            raise
        if faults:
            raise faults[0]
        return self._outcome()

    async def _chain(self, steps: tuple[StepPlan, ...]) -> Outcome:
        """Every step in turn: none could run beside another."""
        for step in steps:
            try:
                await self._step(step)
            except _Failed:
                break
        return self._outcome()

    async def _branch(self, due: list[StepPlan]) -> None:
        """Runs steps that are due, and what becomes due by them: one here, the others beside it."""
        while due:
            step, *others = due
            self._branches += [asyncio.create_task(self._branch([other])) for other in others]
            try:
                await self._step(step)
            except _Failed:
                return
            due = self._due_after(step.name)

    def _due_after(self, done: str) -> list[StepPlan]:
        """The steps that lacked this one alone."""
        due = []
        for step in self._sample.cohort.steps:
            needs = self._needs[step.name]
            if done in needs:
                needs.remove(done)
                if not needs:
                    due.append(step)
        return due

    def _outcome(self) -> Outcome:
        if self._abandoned is not None:
            return self._abandoned
        pending = self._sample.pending
        return pending if pending.steps else Done()

    async def _step(self, step: StepPlan) -> None:
        if step.when and not all_hold(step.when, self._values):
            self._accept(step, None)
            return
        if step.value is not None:
            await self._compose(step, render(step.value, self._values))
            return
        if step.call is not None:
            self._accept(step, await self._called(step))
            return
        messages = messages_for(self._sample.cohort, step, self._values)
        refusal: Rejected | None = None
        # A sample that was lost and is tried again goes on where it was given up.
        first = self._earlier.tried(step.name)
        for attempt in range(first, first + step.retry + 1):
            if self._abandoned is not None:
                raise _Failed(None)
            answer = await self._ask(step, attempt, messages)
            verdict = verdict_on(step, answer, self._rules, self._values)
            if not isinstance(verdict, Rejected):
                verdict = await self._judged(step, attempt, verdict)
            self._count(step, answer, verdict)
            if not isinstance(verdict, Rejected):
                self._observer.accepted(self._sample, step, attempt, answer)
                self._sample.calls[step.name] = answer.seq
                if answer.thought is not None:
                    self._sample.thoughts[step.name] = answer.thought
                if answer.finish_reason == "length" and step.on_length == "keep":
                    self._sample.cut.append(step.name)
                self._accept(step, verdict.value)
                return
            refusal = verdict
            self._sample.refuse(step.name, attempt, answer.seq, verdict)
            self._observer.rejected(self._sample, step, attempt, answer, verdict)
        assert refusal is not None
        raise self._abandon(step, f"{refusal.check}: {refusal.reason}")

    async def _compose(self, step: StepPlan, text: str) -> None:
        """Takes a composed text for the step's value.  One that is refused costs its sample: it would
        be the same again."""
        if not self._rules.judges_composed:
            self._accept(step, text)
            return
        verdict = validate_composed(step, text, self._values)
        if not isinstance(verdict, Rejected):
            verdict = await self._judged(step, 0, verdict)
        if isinstance(verdict, Rejected):
            self._breakers.refused(step, verdict.check, verdict.reason, text)
            self._observer.refused(self._sample, step.name, verdict, text)
            raise self._abandon(step, f"{verdict.check}: {verdict.reason}")
        self._breakers.passed(step)
        self._accept(step, verdict.value)

    async def _called(self, step: StepPlan) -> Any:
        assert step.call is not None
        if step.call.source:
            return await self._apply(step)
        fold = FOLDS.get(step.call.name)
        if fold is None:
            return await self._look_up(step)
        value = fold(step.call, self._values)
        if isinstance(value, Refusal):
            raise self._abandon(step, f"{value.check}: {value.reason}")
        return value

    async def _apply(self, step: StepPlan) -> Any:
        try:
            value = await made_by(self._asking(step, 0, self._values))
        except (CallAbandoned, CacheMiss, Stopped) as error:
            raise self._failed(step, error) from None
        self._breakers.passed(step)
        return value

    def _asking(self, step: StepPlan, attempt: int, values: Mapping[str, Any]) -> Asking:
        return Asking(self._client, self._sample.sample_id, step, attempt, self._earlier, values)

    async def _look_up(self, step: StepPlan) -> Passages:
        assert step.call is not None
        sample, arguments = self._sample, resolved(step.call.arguments, self._values)
        try:
            found = await self._client.look_up(
                LookUp(
                    sample.sample_id,
                    step,
                    arguments,
                    call_seed(self._client.plan, sample.sample_id, step.name, 0),
                    self._earlier,
                )
            )
            self._breakers.passed(step)
            return found
        except (CallAbandoned, CacheMiss, Stopped) as error:
            raise self._failed(step, error) from None

    def _failed(self, step: StepPlan, error: CallAbandoned | CacheMiss | Stopped) -> _Failed:
        """What a step ends with that got no answer: for good, or in this run."""
        if not isinstance(error, CallAbandoned):
            return _Failed(None)
        if not error.judged:
            self._breakers.gave_up(step, str(error))
        return self._abandon(step, str(error), error.lasting)

    async def _ask(self, step: StepPlan, attempt: int, messages: Sequence[Message]) -> Answer:
        sample = self._sample
        try:
            return await self._client.call(
                Attempt(
                    sample.cohort.name,
                    sample.sample_id,
                    step,
                    attempt,
                    messages,
                    sample.priority,
                    self._earlier,
                    in_one_sample(step.checks, self._values),
                    in_one_sample(step.must_fail, self._values),
                )
            )
        except (CallAbandoned, CacheMiss, Stopped) as error:
            raise self._failed(step, error) from None

    async def _judged(self, step: StepPlan, attempt: int, accepted: Accepted) -> Accepted | Rejected:
        """What rows, functions and then the judges of a step's checks say of a value that holds otherwise."""
        if any(check.source or check.against for check in step.checks):
            values = self._values | {step.name: accepted.value}
            try:
                refused = await refusal_of(self._asking(step, attempt, values), accepted.value)
            except (CacheMiss, Stopped) as error:
                raise self._failed(step, error) from None
            if refused is not None:
                return Rejected(*refused)
        if not step.judged_by:
            return accepted
        with self._breakers.judging(step):
            return await self._heard(step, attempt, accepted)

    async def _heard(self, step: StepPlan, attempt: int, accepted: Accepted) -> Accepted | Rejected:
        values = self._values | {JUDGED: step.said(accepted.value)}
        judged = [check for check in step.checks if "judge" in check.arguments]
        for check, judging in zip(judged, step.judged_by, strict=True):
            if not is_complete(resolved(check.arguments, self._values)):
                continue
            name = check.label or check.name
            messages = messages_for(self._sample.cohort, judging, values)
            said = await self._hear(judging, attempt, messages)
            if said is None:
                return Rejected(name, f"`{judging.model}` gave no verdict on it")
            if not said["holds"]:
                return Rejected(name, f"`{judging.model}` says: {said['why']}")
        return accepted

    async def _hear(
        self, judging: StepPlan, attempt: int, messages: Sequence[Message]
    ) -> dict[str, Any] | None:
        """A judge's verdict, or None where it gives none that can be read."""
        for number in range(judging.retry + 1):
            # Each attempt at the value has attempts of its own at a verdict.
            place = attempt * (judging.retry + 1) + number
            answer = await self._ask(judging, place, messages)
            verdict = verdict_on(judging, answer, self._rules, {})
            self._count(judging, answer, verdict)
            if isinstance(verdict, Accepted):
                self._observer.accepted(self._sample, judging, place, answer)
                return dict(verdict.value)
            self._observer.rejected(self._sample, judging, place, answer, verdict)
        return None

    def _count(self, step: StepPlan, answer: Answer, verdict: Accepted | Rejected) -> None:
        """Takes note of a verdict on an answer that this run paid for."""
        if answer.reused:
            return
        if isinstance(verdict, Rejected):
            self._breakers.refused(step, verdict.check, verdict.reason, answer.text)
        else:
            self._breakers.passed(step)

    def _accept(self, step: StepPlan, value: Any) -> None:
        self._sample.values[step.name] = value
        self._values[step.name] = value

    def _abandon(self, step: StepPlan, reason: str, lasting: bool = True) -> _Failed:
        if self._abandoned is None:
            self._abandoned = Abandoned(step.name, reason, lasting)
        return _Failed(self._abandoned)


def _is_chain(steps: tuple[StepPlan, ...]) -> bool:
    """Whether each step that asks a model needs the one before it that does."""
    asking = [step for step in steps if step.model is not None]
    return all(before.name in after.needs for before, after in pairwise(asking))
