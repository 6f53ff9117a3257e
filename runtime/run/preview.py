"""What a run would issue: exactly in calls, as an estimate in tokens and money.

With a log, the run's own scheduler walks the plan with a caller that knows the log and nothing
else, so what is previewed is what would run.  Retries are not foreseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.presence import may_be_there, samples_with
from synth.compiler.plan.steps import StepPlan, asking
from synth.compiler.plan.tables.environment import environment
from synth.compiler.stdlib.requirements import require_runnable
from synth.runtime.calls.attempt import Answer, Place
from synth.runtime.calls.client import Dialogue, Dialogues, PreviewClient
from synth.runtime.calls.held import held_versions, read_held
from synth.runtime.calls.models import Models
from synth.runtime.calls.validate import Rejected
from synth.runtime.cohorts.build import finished_samples, open_sample_sources, remember
from synth.runtime.cohorts.conversation import Cohort
from synth.runtime.cohorts.history import LoggedPast
from synth.runtime.cohorts.preference import Pairs
from synth.runtime.cohorts.scheduler import Scheduler
from synth.runtime.events.budget import RunBudget
from synth.runtime.events.progress import Progress
from synth.runtime.money.estimate import Estimate, retries
from synth.runtime.money.quotas import examples_of, expected_quotas
from synth.runtime.run import loop
from synth.runtime.run.tables import foreseen_tables
from synth.runtime.samples.sample import Sample
from synth.runtime.settings import Settings
from synth.runtime.sources.counts import RowCount, count_kept
from synth.store.log.log import Log
from synth.store.log.past.history import History

_WINDOW = 1024


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step of a cohort: calls to make, answers the log has, tokens each, money in all.

    `most` is the number of calls if every attempt but the last is refused, and each calls tools as often
    as it may.  `measured` says that
    tokens are means of the log's calls of this step, not guesses.  `cost` is None where no price is
    known; `prices` says which list it is from.
    """

    cohort: str
    step: str
    model: str
    new: int
    reused: int
    most: int
    prompt_tokens: float
    completion_tokens: float
    measured: bool
    cost: float | None
    prices: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would issue by step, and `rows`: how many there are of each source that conversations are
    over.  `warnings` say what such a run would stop at."""

    costs: list[StepCost]
    rows: Mapping[str, RowCount]
    warnings: tuple[str, ...] = ()


def estimate(
    plan: Plan, settings: Settings, limit: int | None = None, rows: Mapping[str, int | None] | None = None
) -> list[StepCost]:
    """What a run with an empty log issues: the quota, once for each step that asks a model; with a
    limit, that many samples of each conversation.

    `rows` are how many each source has that conversations are over; of one that nobody counted there
    are the calls of one row.
    """
    quotas, found = expected_quotas(plan, rows or {}), []
    for cohort in (*plan.cohorts, *plan.pair_cohorts):
        quota = quotas[cohort.name] if limit is None else min(limit, quotas[cohort.name])
        guess, most = Estimate(plan, cohort), retries(cohort.steps)
        for step, calls, samples in _asked(plan, cohort, quota):
            found.append(_price(guess, settings, step, samples * calls, 0, samples * most[step.name], False))
    return found


def preview(
    plan: Plan, settings: Settings, log: Log, limit: int | None = None, allowed: Sequence[Path] = ()
) -> Preview:
    """What a run with this log issues.  Opens the models' tokenizers, but no model.

    The files of rows that conversations are over are read; `allowed` are folders outside the project that
    they may be in.  Raises ConfigError for one that does not hold.
    """
    require_runnable(plan)
    return loop.run(_preview(plan, settings, log, limit, allowed))


async def _preview(
    plan: Plan, settings: Settings, log: Log, limit: int | None, allowed: Sequence[Path]
) -> Preview:
    models, history = Models(plan, settings, asked=False), History(log)
    progress = Progress(plan, "preview")
    async with foreseen_tables(plan, log, allowed) as foreseen:
        tables = foreseen.tables
        made = models.config_hashes(plan, held_versions(plan, tables))
        config_hashes = {name: str(entry["lineage"]) for name, entry in made.items()}
        finished = finished_samples(plan, history, config_hashes, models.binding(plan))
        past = LoggedPast(history, config_hashes)
        missed: Counter[tuple[str, str]] = Counter()
        dialogues = Dialogues(dict)
        counts = _Counting(missed, dialogues)
        sample_sources = open_sample_sources(plan, finished, counts, progress, limit, tables)
        remember(sample_sources, history, config_hashes, tables)
        try:
            held = await read_held(plan, tables)
            client = PreviewClient(
                plan,
                models,
                held,
                simulated=settings.everywhere == "simulated",
                missed=missed,
                dialogues=dialogues,
            )
            await Scheduler(sample_sources, client, past, counts, RunBudget(), window=_WINDOW).run()
        finally:
            past.close()
        examples = examples_of(plan, tables)
        rows = {
            name: count_kept(tables.kept(name), foreseen.changes.get(name)) for name in sorted(plan.tables)
        }
        rows |= {name: RowCount(0, told) for name, told in foreseen.empty.items()}
    # Pairs of samples that are not judged yet, which every call of is to be made for.
    unopened = {each.plan.name: each.unopened for each in sample_sources if isinstance(each, Pairs)}
    found = []

    @cache
    def mean(step: str, model: str | None) -> tuple[float, float] | None:
        return None if model is None else history.mean_tokens(step, model, models[model].identity)

    def measured(step: StepPlan) -> tuple[float, float] | None:
        return mean(step.name, step.model)

    for each in sample_sources:
        cohort, quota = each.plan, progress.cohort(each.plan).quota
        if isinstance(each, Cohort):
            # A count may be more than all rows make.
            quota = min(quota, sum(each.sizes))
        guess, most = Estimate(plan, cohort, measured, examples), retries(cohort.steps)
        for step, calls, samples in _asked(plan, cohort, quota):
            new = counts.new[cohort.name, step.name] + unopened.get(cohort.name, 0) * calls
            known = measured(step) is not None
            reused = max(0, samples * calls - new)
            at_most = ceil(new / calls * most[step.name]) if calls else new
            found.append(_price(guess, settings, step, new, reused, at_most, known))
    return Preview(found, rows, tuple(foreseen.empty.values()))


def exchanges(step: StepPlan, asked: StepPlan) -> int:
    """How many calls an attempt at a step is taken to make of itself, a judge or a model that plays a tool:
    each of as many tools as may be called is called once."""
    if asked is step:
        return step.exchanges
    called = step.tools[: step.max_tool_calls]
    return 0 if asked in step.players and all(tool.played is not asked for tool in called) else 1


def _asked(plan: Plan, cohort: CohortPlan, quota: int) -> Iterator[tuple[StepPlan, int, int]]:
    """The steps that ask a model, those of the judges and of the models that play tools, each with how many
    calls it makes for a sample and how many of so many samples it is in."""
    for step in cohort.steps:
        samples = samples_with(plan, cohort, step, quota)
        for each in asking([step]):
            yield each, step.candidates * exchanges(step, each), samples


class _Counting:
    """An observer that counts the calls which the log cannot answer; `missed` has those that were tried, by
    sample and step."""

    def __init__(self, missed: Counter[tuple[str, str]], dialogues: Dialogues) -> None:
        self._missed = missed
        self._dialogues = dialogues
        self.new: Counter[tuple[str, str]] = Counter()

    def accepted(self, sample: Sample, step: StepPlan, place: Place, answer: Answer) -> None:
        """In the log already."""

    def rejected(self, sample: Sample, step: StepPlan, place: Place, answer: Answer, why: Rejected) -> None:
        """In the log already."""

    def unpicked(self, step: StepPlan) -> None:
        """In the log already."""

    def refused(self, sample: Sample, step: str, why: Rejected, value: Any) -> None:
        """Its replacement is previewed in its turn."""

    def completed(self, sample: Sample) -> None:
        """Every call of it is in the log."""

    def abandoned(self, sample: Sample, step: str, reason: str, lasting: bool) -> None:
        """Its replacement is previewed in its turn."""

    def pending(self, sample: Sample, steps: tuple[str, ...]) -> None:
        cohort, left = sample.cohort, [sample.cohort.step(name) for name in steps]
        if any(step.when for step in left):
            known = environment(cohort, sample.slot) | sample.values
            left = [step for step in left if may_be_there(cohort, step, known)]
        for step in left:
            asked = asking([step])
            tried = {each.name: self._missed.pop((sample.sample_id, each.name), 0) for each in asked}
            # Of a step that was begun, judges are asked about each candidate that is to come as well:
            # those of checks one after the other, those of marks side by side.
            reached = tried.get(step.name, 0) if any(tried.values()) else step.candidates
            begun = self._dialogues.pop((sample.sample_id, step.name), {})
            if begun:
                reached = len(begun)
                self._go_on(cohort.name, step, begun.values())
            else:
                if step.model is not None:
                    self.new[cohort.name, step.name] += reached * step.exchanges
                for player in step.players:
                    self.new[cohort.name, player.name] += reached * exchanges(step, player)
            for judge in step.judged_by:
                reached += tried[judge.name]
                self.new[cohort.name, judge.name] += reached
            for judge in step.marked_by:
                self.new[cohort.name, judge.name] += reached + tried[judge.name]

    def _go_on(self, cohort: str, step: StepPlan, begun: Iterable[Dialogue]) -> None:
        """Counts what brings dialogues with tools to an end: what was missed, and what is shown it."""
        played = {tool.name: tool.played for tool in step.tools}
        for dialogue in begun:
            left = dialogue.to_call(step)
            self.new[cohort, step.name] += len(left) + 1
            for name in (*dialogue.waiting, *left):
                player = played.get(name)
                if player is not None:
                    self.new[cohort, player.name] += 1


def _price(
    estimate: Estimate, settings: Settings, step: StepPlan, new: int, reused: int, most: int, measured: bool
) -> StepCost:
    assert step.model is not None
    prompt, completion = estimate.of(step)
    priced = settings.price(settings.spec(estimate.plan.model(step.model)))
    cost = None if priced is None else new * priced.price.cost(round(prompt), round(completion))
    return StepCost(
        estimate.cohort.name,
        step.name,
        step.model,
        new,
        reused,
        most,
        prompt,
        completion,
        measured,
        cost,
        None if priced is None else priced.source,
    )
