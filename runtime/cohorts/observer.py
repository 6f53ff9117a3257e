"""The live ledger: every verdict and every sample's end becomes an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth.compiler.plan.steps import StepPlan
from synth.runtime.calls.attempt import Answer, Place
from synth.runtime.calls.validate import Rejected
from synth.runtime.events.progress import Progress
from synth.runtime.events.recorder import Recorder
from synth.runtime.samples.sample import Sample
from synth.store.log import payloads
from synth.store.log.events import Kind


class LoggingObserver:
    """Writes to the log through a recorder and counts in `progress`."""

    def __init__(
        self, recorder: Recorder, progress: Progress, config_hashes: Mapping[str, payloads.CohortLineage]
    ) -> None:
        self._recorder = recorder
        self._progress = progress
        self._config_hashes = config_hashes

    def accepted(self, sample: Sample, step: StepPlan, place: Place, answer: Answer) -> None:
        self._progress.accepted(step, place.round)
        payload: payloads.StepAccepted = {"call": answer.seq, "call_key": answer.call_key}
        if place.candidate:
            payload["candidate"] = place.candidate
        self._recorder.emit(
            Kind.STEP_ACCEPTED,
            payload,
            sample_id=sample.sample_id,
            step=step.name,
            attempt=place.round,
            model=step.model,
        )

    def rejected(self, sample: Sample, step: StepPlan, place: Place, answer: Answer, why: Rejected) -> None:
        self._progress.rejected(step, why.check)
        payload = payloads.StepRejected(
            call=answer.seq,
            call_key=answer.call_key,
            check=why.check,
            reason=why.reason,
            text=answer.text,
        )
        if place.candidate:
            payload["candidate"] = place.candidate
        self._recorder.emit(
            Kind.STEP_REJECTED,
            payload,
            sample_id=sample.sample_id,
            step=step.name,
            attempt=place.round,
            model=step.model,
        )

    def unpicked(self, step: StepPlan) -> None:
        self._progress.unpicked(step)

    def completed(self, sample: Sample) -> None:
        payload: payloads.SampleCompleted = {**self._ended(sample), "calls": sample.calls}
        self._recorder.emit(Kind.SAMPLE_COMPLETED, payload, sample_id=sample.sample_id)

    def abandoned(self, sample: Sample, step: str, reason: str, lasting: bool) -> None:
        self._progress.abandonments[f"{step}: {reason.split(':', 1)[0]}"] += 1
        payload: payloads.SampleAbandoned = {**self._ended(sample), "reason": reason, "lasting": lasting}
        self._recorder.emit(Kind.SAMPLE_ABANDONED, payload, sample_id=sample.sample_id, step=step)

    def refused(self, sample: Sample, step: str, why: Rejected, value: Any) -> None:
        plan = sample.cohort.step(step)
        self._progress.refused(plan, why.check)
        call = sample.calls.get(step)
        sample.refuse_accepted(step, why)
        self._recorder.emit(
            Kind.STEP_REJECTED,
            payloads.StepRejected(
                call=call,
                call_key=None,
                check=why.check,
                reason=why.reason,
                text=value if isinstance(value, str) else None,
            ),
            sample_id=sample.sample_id,
            step=step,
            model=plan.model,
        )

    def pending(self, sample: Sample, steps: tuple[str, ...]) -> None:
        """Nothing to record: what was answered is in the log, and the next run goes on from it."""

    def _ended(self, sample: Sample) -> payloads.SampleEnded:
        payload: payloads.SampleEnded = {
            "lineage": self._config_hashes[sample.cohort.name]["lineage"],
            "cohort": sample.cohort.name,
            "cell": dict(sample.slot.cell.labels),
            "ordinal": sample.slot.ordinal,
            "values": sample.values,
        }
        if sample.of is not None:
            payload["of"] = sample.of
        if sample.slot.inputs:
            payload["inputs"] = sample.slot.inputs
        if sample.rejected:
            payload["rejected"] = sample.rejected
        if sample.attempts:
            payload["attempts"] = sample.attempts
        if sample.thoughts:
            payload["thoughts"] = sample.thoughts
        if sample.cut:
            payload["cut"] = sorted(sample.cut)
        return payload
