"""The sample sources of all that a plan generates, each preference beside what it is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.tables.dealt import DealtSlots
from synth.runtime.cohorts.children import ChildCohort
from synth.runtime.cohorts.conversation import Cohort
from synth.runtime.cohorts.dealt import DealtCohort
from synth.runtime.cohorts.history import logged_values
from synth.runtime.cohorts.preference import Pairs
from synth.runtime.cohorts.rows import RowCohort
from synth.runtime.cohorts.source import SampleObserver, SampleSource
from synth.runtime.events.progress import Progress
from synth.store.dataset.inputs.over_table import Tables
from synth.store.dataset.inputs.standing import child_deals
from synth.store.log.past.history import History
from synth.store.log.past.sample_ids import Finished, SampleIds

Opener = Callable[
    [Plan, Mapping[str, Finished], SampleObserver, Progress, int | None, Tables | None], list[SampleSource]
]


def open_sample_sources(
    plan: Plan,
    finished: Mapping[str, Finished],
    observer: SampleObserver,
    progress: Progress,
    limit: int | None = None,
    tables: Tables | None = None,
    cohorts: Sequence[CohortPlan] | None = None,
) -> list[SampleSource]:
    """The books of a plan's conversations, or of some, and of the preferences made from them.

    `finished` is what the log has of each, by name; `limit` keeps to that many samples of each.  `tables`
    are the rows of sources that conversations are over.
    """
    sample_sources: list[SampleSource] = []
    bases: dict[str, Cohort] = {}
    for cohort in plan.cohorts if cohorts is None else cohorts:
        of, parent = finished[cohort.name], plan.parent_of(cohort)
        dealer = None if tables is None else tables.dealer(cohort)
        book: Cohort
        if not cohort.of_tables:
            book = Cohort(plan, cohort, of, observer, progress, limit)
        elif cohort.rows is None:
            assert dealer is not None
            dealt = DealtSlots(plan, cohort, dealer)
            book = DealtCohort(plan, cohort, dealt, of, observer, progress, limit)
        elif parent is None:
            assert tables is not None
            table = tables.of(cohort.name)
            book = RowCohort(plan, cohort, table, dealer, of, observer, progress, limit)
        else:
            assert tables is not None
            deals = child_deals(plan, cohort, tables)
            book = ChildCohort(plan, cohort, bases[parent.name], deals, of, observer, progress, limit)
        bases[cohort.name] = book
        sample_sources.append(book)
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
    plan: Plan,
    history: History,
    config_hashes: Mapping[str, str],
    settings: Mapping[str, Sequence[str]],
    *,
    retry_lost: bool = False,
) -> dict[str, Finished]:
    """What the log has finished of each lineage, by the cohort's name, for a run that losses under these
    settings of each bind."""
    finished_of = {
        name: history.finished(
            config_hash, name, settings[name], retry_lost=retry_lost, versions=name in plan.over_rows
        )
        for name, config_hash in config_hashes.items()
    }
    for name, finished in finished_of.items():
        finished.values = partial(logged_values, history, config_hashes[name])
    return finished_of


def remember(
    sample_sources: Iterable[SampleSource],
    history: History,
    config_hashes: Mapping[str, str],
    tables: Tables | None = None,
) -> None:
    """Tells the checks over many samples of those that earlier runs completed; over a table, of those
    that fit its present rows."""
    for source in sample_sources:
        if isinstance(source, Cohort) and source.deduplicator.sits:
            versions = None
            if source.plan.of_tables:
                assert tables is not None
                log = history.log
                standing = tables.standing_versions(source.plan, config_hashes, log.cursor, log.next_seq)
                versions = SampleIds.of(standing)
            source.remember(history.values(config_hashes[source.plan.name], versions))
