"""The sample sources of all that a plan generates, each preference beside what it is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from synth.compiler.plan.model import CohortPlan, Plan
from synth.runtime.cohorts.conversation import Cohort
from synth.runtime.cohorts.preference import Pairs
from synth.runtime.cohorts.source import SampleObserver, SampleSource
from synth.runtime.events.progress import Progress
from synth.store.log.history import Finished, History

Opener = Callable[[Plan, Mapping[str, Finished], SampleObserver, Progress, int | None], list[SampleSource]]


def open_sample_sources(
    plan: Plan,
    finished: Mapping[str, Finished],
    observer: SampleObserver,
    progress: Progress,
    limit: int | None = None,
    cohorts: Sequence[CohortPlan] | None = None,
) -> list[SampleSource]:
    """The books of a plan's conversations, or of some, and of the preferences made from them.

    `finished` is what the log has of each, by name; `limit` keeps to that many samples of each.
    """
    sample_sources: list[SampleSource] = []
    bases: dict[str, Cohort] = {}
    for cohort in plan.cohorts if cohorts is None else cohorts:
        bases[cohort.name] = Cohort(plan, cohort, finished[cohort.name], observer, progress, limit)
        sample_sources.append(bases[cohort.name])
    for made in plan.pair_cohorts:
        preference = plan.preference(made.name)
        if preference.source not in bases:
            continue
        base = bases[preference.source]
        gone = finished[preference.source].forgotten
        pairs = Pairs(
            plan, preference, made, base.sizes, finished[made.name], observer, progress, limit, gone
        )
        base.followers.append(pairs)
        sample_sources.append(pairs)
    return sample_sources


def finished_samples(
    history: History,
    config_hashes: Mapping[str, str],
    settings: Mapping[str, str],
    *,
    retry_lost: bool = False,
) -> dict[str, Finished]:
    """What the log has finished of each lineage, by the cohort's name, for a run with these settings
    of each."""
    return {
        name: history.finished(config_hash, name, settings[name], retry_lost=retry_lost)
        for name, config_hash in config_hashes.items()
    }


def remember(
    sample_sources: Iterable[SampleSource], history: History, config_hashes: Mapping[str, str]
) -> None:
    """Tells the checks over many samples of those that earlier runs completed."""
    for each in sample_sources:
        if isinstance(each, Cohort) and each.deduplicator.sits:
            each.remember(history.values(config_hashes[each.plan.name]))
