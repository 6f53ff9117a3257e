"""What everything that is done for one sample shares: its values, whom it asks, how it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synth.compiler.plan.steps import StepPlan
from synth.compiler.plan.tables.environment import environment
from synth.runtime.calls.applied import Asking
from synth.runtime.calls.attempt import Answer, Attempt, CacheMiss, CallAbandoned, ModelClient, Place
from synth.runtime.calls.breaker import Breakers
from synth.runtime.calls.prompt import messages_for
from synth.runtime.calls.validate import Accepted, Rejected, in_one_sample
from synth.runtime.engines.base import Message
from synth.runtime.events.budget import Stopped
from synth.runtime.samples.sample import Abandoned, Sample, StepObserver
from synth.store.log.past.logged import LoggedSample


class Failed(Exception):
    """Carries the outcome out of a step and into those that need it."""

    def __init__(self, outcome: Abandoned | None) -> None:
        self.outcome = outcome


class Work:
    """`values` are what templates of the sample can print; `abandoned` says why it is given up."""

    def __init__(
        self,
        sample: Sample,
        client: ModelClient,
        earlier: LoggedSample,
        observer: StepObserver,
        breakers: Breakers,
    ) -> None:
        self.sample = sample
        self.client = client
        self.earlier = earlier
        self.observer = observer
        self.breakers = breakers
        self.rules = client.rules(sample.sample_id)
        self.values = environment(sample.cohort, sample.slot) | dict(sample.given)
        self.abandoned: Abandoned | None = None

    def messages(self, step: StepPlan, values: Mapping[str, Any] | None = None) -> tuple[Message, ...]:
        return messages_for(self.sample.cohort, step, self.values if values is None else values)

    async def ask(
        self, step: StepPlan, place: Place, messages: Sequence[Message], exchange: int = 0
    ) -> Answer:
        """Raises Failed."""
        sample, values = self.sample, self.values
        if step.tools:
            # Its checks may quote its calls, of which there are none yet.
            values = {**values, f"{step.name}.calls": []}
        try:
            return await self.client.call(
                Attempt(
                    sample.cohort.name,
                    sample.sample_id,
                    step,
                    place,
                    messages,
                    sample.priority,
                    self.earlier,
                    in_one_sample(step.checks, values),
                    in_one_sample(step.must_fail, values),
                    exchange,
                    # Of a row that is evaluated; nobody carries out what is called.
                    tuple(values.get("tools", ())) if step.sees == "row" else (),
                )
            )
        except (CallAbandoned, CacheMiss, Stopped) as error:
            raise self.failed(step, error) from None

    def asking(self, step: StepPlan, place: Place, values: Mapping[str, Any]) -> Asking:
        """One attempt at a step that asks functions."""
        return Asking(self.client, self.sample.sample_id, step, place, self.earlier, values)

    def count(self, step: StepPlan, answer: Answer, verdict: Accepted | Rejected) -> None:
        """Takes note of a verdict on an answer that this run paid for."""
        if answer.reused:
            return
        if isinstance(verdict, Rejected):
            self.breakers.refused(step, verdict.check, verdict.reason, answer.text)
        else:
            self.breakers.passed(step)

    def accept(self, step: StepPlan, value: Any) -> None:
        self.set(step.name, value)

    def set(self, name: str, value: Any) -> None:
        """Takes a value for a step's, or for what stands beside it."""
        self.sample.values[name] = value
        self.values[name] = value

    def failed(self, step: StepPlan, error: CallAbandoned | CacheMiss | Stopped) -> Failed:
        """What a step ends with that got no answer: for good, or in this run."""
        if not isinstance(error, CallAbandoned):
            return Failed(None)
        if not error.judged:
            self.breakers.gave_up(step, str(error))
        return self.abandon(step, str(error), error.lasting)

    def abandon(self, step: StepPlan, reason: str, lasting: bool = True) -> Failed:
        if self.abandoned is None:
            self.abandoned = Abandoned(step.name, reason, lasting)
        return Failed(self.abandoned)
