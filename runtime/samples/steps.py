"""One sample's life: its steps, each as soon as what it needs is there."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from synth.compiler.plan.conditions import all_hold
from synth.compiler.plan.steps import StepPlan
from synth.compiler.plan.strata import call_seed
from synth.compiler.stdlib.folds import FOLDS
from synth.compiler.stdlib.render import render
from synth.compiler.stdlib.verdict import Refusal, resolved
from synth.runtime.calls.applied import made_by
from synth.runtime.calls.attempt import CacheMiss, CallAbandoned, ModelClient, Place
from synth.runtime.calls.breaker import Breakers
from synth.runtime.calls.validate import Rejected, validate_composed
from synth.runtime.events.budget import Stopped
from synth.runtime.retrieval.service import LookUp, Passages
from synth.runtime.samples.judges import judged, marked
from synth.runtime.samples.rounds import written
from synth.runtime.samples.sample import Done, Outcome, Sample, StepObserver
from synth.runtime.samples.work import Failed, Work
from synth.store.log.past.logged import LoggedSample


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
    run = _Run(Work(sample, client, earlier, observer, breakers or Breakers()))
    return await run.all()


class _Run:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._branches: list[asyncio.Task[None]] = []
        self._needs: dict[str, set[str]] = {}

    async def all(self) -> Outcome:
        steps = self._work.sample.cohort.steps
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
            except Failed:
                break
        return self._outcome()

    async def _branch(self, due: list[StepPlan]) -> None:
        """Runs steps that are due, and what becomes due by them: one here, the others beside it."""
        while due:
            step, *others = due
            self._branches += [asyncio.create_task(self._branch([other])) for other in others]
            try:
                await self._step(step)
            except Failed:
                return
            due = self._due_after(step.name)

    def _due_after(self, done: str) -> list[StepPlan]:
        """The steps that lacked this one alone."""
        due = []
        for step in self._work.sample.cohort.steps:
            needs = self._needs[step.name]
            if done in needs:
                needs.remove(done)
                if not needs:
                    due.append(step)
        return due

    def _outcome(self) -> Outcome:
        if self._work.abandoned is not None:
            return self._work.abandoned
        pending = self._work.sample.pending
        return pending if pending.steps else Done()

    async def _step(self, step: StepPlan) -> None:
        work = self._work
        if step.when and not all_hold(step.when, work.values):
            work.accept(step, None)
        elif step.value is not None:
            await self._compose(step, render(step.value, work.values))
        elif step.call is not None:
            work.accept(step, await self._called(step))
        else:
            await written(work, step)

    async def _compose(self, step: StepPlan, text: str) -> None:
        """Takes a composed text for the step's value.  One that is refused costs its sample: it would
        be the same again."""
        if not self._work.rules.judges_composed:
            self._work.accept(step, text)
            return
        verdict = validate_composed(step, text, self._work.values)
        if not isinstance(verdict, Rejected):
            verdict = await judged(self._work, step, Place(0), verdict)
        if isinstance(verdict, Rejected):
            self._work.breakers.refused(step, verdict.check, verdict.reason, text)
            self._work.observer.refused(self._work.sample, step.name, verdict, text)
            raise self._work.abandon(step, f"{verdict.check}: {verdict.reason}")
        self._work.breakers.passed(step)
        self._work.accept(step, verdict.value)

    async def _called(self, step: StepPlan) -> Any:
        assert step.call is not None
        if step.call.source:
            return await self._apply(step)
        if step.rubric is not None:
            return await self._mark(step)
        fold = FOLDS.get(step.call.name)
        if fold is None:
            return await self._look_up(step)
        value = fold(step.call, self._work.values)
        if isinstance(value, Refusal):
            raise self._work.abandon(step, f"{value.check}: {value.reason}")
        return value

    async def _apply(self, step: StepPlan) -> Any:
        try:
            value = await made_by(self._work.asking(step, Place(0), self._work.values))
        except (CallAbandoned, CacheMiss, Stopped) as error:
            raise self._work.failed(step, error) from None
        self._work.breakers.passed(step)
        return value

    async def _mark(self, step: StepPlan) -> Any:
        marks, refused = await marked(self._work, step, Place(0), None, ())
        if refused is not None:
            self._work.breakers.refused(step, refused.check, refused.reason)
            raise self._work.abandon(step, f"{refused.check}: {refused.reason}")
        self._work.breakers.passed(step)
        return marks

    async def _look_up(self, step: StepPlan) -> Passages:
        assert step.call is not None
        sample, arguments = self._work.sample, resolved(step.call.arguments, self._work.values)
        try:
            found = await self._work.client.look_up(
                LookUp(
                    sample.sample_id,
                    step,
                    arguments,
                    call_seed(self._work.client.plan, sample.sample_id, step.name, 0),
                    self._work.earlier,
                )
            )
            self._work.breakers.passed(step)
            return found
        except (CallAbandoned, CacheMiss, Stopped) as error:
            raise self._work.failed(step, error) from None


def _is_chain(steps: tuple[StepPlan, ...]) -> bool:
    """Whether each step that asks a model needs the one before it that does."""
    asking = [step for step in steps if step.model is not None or step.marked_by]
    return all(before.name in after.needs for before, after in pairwise(asking))
