"""What a conversation's `keep` says of a sample that has all its values."""

from __future__ import annotations

from synth.compiler.plan.tables.environment import environment
from synth.compiler.stdlib.verdict import refusal
from synth.runtime.calls.applied import Asking, refusal_of
from synth.runtime.calls.attempt import CacheMiss, ModelClient, Place
from synth.runtime.calls.validate import Rejected
from synth.runtime.events.budget import Stopped
from synth.runtime.samples.sample import Abandoned, Done, Outcome, Pending, Sample, StepObserver
from synth.store.log.past.logged import LoggedSample


async def judge_whole(
    sample: Sample, outcome: Outcome, client: ModelClient, earlier: LoggedSample, observer: StepObserver
) -> Outcome:
    """How a sample ends that came to `outcome`: one that its `keep` refuses is lost for good, since the same
    values would fail again."""
    step = sample.cohort.kept
    if not step.checks or not isinstance(outcome, Done):
        return outcome
    values = environment(sample.cohort, sample.slot) | dict(sample.given) | sample.values
    try:
        refused = refusal(step, values, values) or await refusal_of(
            Asking(client, sample.sample_id, step, Place(0), earlier, values), values
        )
    except (CacheMiss, Stopped):
        return Pending((step.name,))
    if refused is None:
        return outcome
    observer.refused(sample, step.name, Rejected(*refused), None)
    return Abandoned(step.name, f"{refused.check}: {refused.reason}")
