"""Evaluating: a recipe's measures over its datasets, and over what students answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synth.base.errors import EngineError, QuotaShort
from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import EvaluationPlan
from synth.compiler.stdlib.requirements import require_runnable
from synth.runtime.calls.models import Models
from synth.runtime.cohorts.source import SampleObserver, SampleSource
from synth.runtime.engines.base import Scorer
from synth.runtime.evaluation.evalset import EvalSet, EvalSource
from synth.runtime.evaluation.items import Items
from synth.runtime.evaluation.metrics import Metric, Results
from synth.runtime.evaluation.opened import open_metric
from synth.runtime.evaluation.shown import metrics_html, metrics_line
from synth.runtime.evaluation.students import changed, with_student
from synth.runtime.evaluation.verdicts import Measured
from synth.runtime.events.progress import Progress
from synth.runtime.retrieval.service import Indexes
from synth.runtime.run import loop
from synth.runtime.run.report import RunOptions, RunReport
from synth.runtime.run.run import Watch, require_prices, run_sample_sources
from synth.runtime.settings import Settings
from synth.store.dataset.inputs.over_table import Tables
from synth.store.dataset.inputs.select import WrittenBy, config_hash_of, told_models
from synth.store.log.log import Log
from synth.store.log.past.history import History
from synth.store.log.past.sample_ids import Finished


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation of a recipe.  `rows` is how many the dataset has, None where no measure looks
    at it; `held_out` how many of them are kept from training, None where it has no split."""

    plan: EvaluationPlan
    measured: tuple[Measured, ...]
    rows: int | None
    held_out: int | None

    @property
    def held(self) -> bool:
        return all(each.held for each in self.measured)


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """All evaluations of a recipe.  `runs` are how the asking ended: none where nobody was asked.
    `limits` are the tokens that students were given for an answer, where the recipe gives none.
    `lost` are the answers lost for good and `failed` those that the next evaluation asks for again, both
    by reason and counted."""

    evaluations: tuple[Evaluated, ...]
    runs: tuple[RunReport, ...] = ()
    warnings: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        return all(each.held for each in self.evaluations)

    @property
    def exit_status(self) -> int:
        """0 where every bound holds, 3 where one does not, or how the asking ended."""
        ended = max((run.exit_status for run in self.runs), default=0)
        return ended or (0 if self.held else 3)

    def __repr__(self) -> str:
        return f"<Report {metrics_line(self)}>"

    def _repr_html_(self) -> str:
        return metrics_html(self)


def evaluate(
    plan: Plan,
    settings: Settings,
    log_path: Path,
    *,
    student: bool = False,
    partial: bool = False,
    options: RunOptions | None = None,
    watch: Watch | None = None,
) -> Report:
    """Takes every measure of a plan's evaluations.

    What models are asked for it goes through the runtime and into the log, so that an answer or
    a judgement is paid for once.  With `student`, what is measured is measured of the model of that
    name as well; `partial` takes a dataset that is not made to the end.  The limit of `options` is
    on the rows that a model is asked about.  Raises SynthError.
    """
    require_runnable(plan)
    options, watch, warnings = options or RunOptions(), watch or Watch(), list[str]()
    if student:
        plan, warnings = with_student(plan, settings)
    underway = [_Underway(plan, each, options.allowed) for each in plan.evaluations]
    writer = any(metric.asks_models for each in underway for metric in each.measures)
    if not log_path.exists() and any(each.of_rows for each in underway):
        # To read it says so in one sentence; to write would make an empty one.
        writer = False
    with Log(log_path, writer=writer, accept_loss=options.accept_loss) as log:
        warnings += log.notices
        written_by, told = _written_by(plan, settings, log)
        warnings += told
        for each in underway:
            warnings += each.read(log, partial, written_by)
        asking = _Asking(plan, settings, log, options, watch, warnings)
        measures = [metric for each in underway for metric in each.measures]
        asking.run(metric.evalset() for metric in measures)
        # Then, since what a judge is asked about must have been said; and what the students ran on
        # is free by now.
        asking.run(metric.verdicts(asking.results) for metric in measures)
        evaluations = tuple(each.evaluated(asking.results) for each in underway)
    return Report(
        evaluations,
        tuple(asking.runs),
        tuple(dict.fromkeys(warnings)),
        asking.limits,
        asking.lost,
        asking.failed,
    )


def _written_by(plan: Plan, settings: Settings, log: Log) -> tuple[WrittenBy, list[str]]:
    """Which of the log's samples are measured, and what is to be said of it.  A backend for all models
    is also where judges and students run: where the log has no samples by it, those of the last run are
    meant."""
    wanted = settings.written_by(plan.models)
    if settings.everywhere is None:
        return wanted, []
    cursor, events = log.cursor(), log.next_seq
    try:
        for cohort in plan.cohorts:
            config_hash_of(plan, cohort, cursor, events, wanted)
    except QuotaShort:
        given = {name: wanted[name] for name in settings.given if name in wanted}
        found: dict[str, Any] = {}
        for cohort in plan.cohorts:
            with suppress(QuotaShort):
                found.update(config_hash_of(plan, cohort, cursor, events, given)[1])
        said = (
            f"the log has no samples by `{settings.everywhere}`, so the rows that are measured are those of "
            f"the last run, written by {told_models(found)}"
        )
        return given, [said] if found else []
    return wanted, []


class _Underway:
    """One evaluation while it is taken."""

    def __init__(self, plan: Plan, evaluation: EvaluationPlan, allowed: Sequence[Path]) -> None:
        self._plan = plan
        self._evaluation = evaluation
        self.measures: list[Metric] = [
            open_metric(plan, evaluation.of, each, allowed) for each in evaluation.measures
        ]
        self._rows: int | None = None
        self._held_out: int | None = None

    @property
    def of_rows(self) -> bool:
        """Whether the dataset is looked at."""
        return any(metric.of_rows for metric in self.measures)

    def read(self, log: Log, partial: bool, written_by: WrittenBy) -> list[str]:
        """Shows every row to the measures that look at rows; gives warnings about them."""
        looking = [metric for metric in self.measures if metric.of_rows]
        if not looking:
            return []
        more = tuple(dict.fromkeys(name for metric in looking for name in metric.columns))
        items = Items(
            self._plan, log, self._evaluation.of, partial=partial, written_by=written_by, columns=more
        )
        rows = asked = 0
        for item, held_out in items.read():
            rows += 1
            asked += held_out
            for metric in looking:
                metric.see(item, held_out)
        self._rows, self._held_out = rows, asked if items.split else None
        simulated = ", ".join(f"`{name}`" for name in items.simulated())
        return [f"simulated models wrote {simulated}: these rows are a simulation"] if simulated else []

    def evaluated(self, results: Results) -> Evaluated:
        measured = tuple(one for metric in self.measures for one in metric.measured(results))
        return Evaluated(self._evaluation, measured, self._rows, self._held_out)


@dataclass(slots=True)
class _Asking:
    """Puts evaluation sets to models, all of a time in one run."""

    plan: Plan
    settings: Settings
    log: Log
    options: RunOptions
    watch: Watch
    warnings: list[str]
    runs: list[RunReport] = field(default_factory=list)
    results: Results = field(default_factory=lambda: Results({}))
    limits: dict[str, int] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def run(self, wanted: Iterable[EvalSet | None]) -> None:
        """Asks what is not in the log, and takes note of the answers.  Once a run was stopped,
        nothing more is asked."""
        evalsets = [
            evalset.first(self.options.limit)
            for evalset in _merged(wanted)
            if evalset.entries and not self._without_simulated(evalset)
        ]
        if not evalsets or any(run.exit_status for run in self.runs):
            return
        for step in (step for evalset in evalsets for step in evalset.cohort.steps if step.name == "answer"):
            own, given = self.plan.model(str(step.model)).sampling.max_tokens, step.sampling.max_tokens
            if own is None and given is not None:
                self.limits[str(step.model)] = max(given, self.limits.get(str(step.model), 0))
        plan = _asking(self.plan, evalsets)
        models = Models(plan, self.settings, self.options.patience)
        _require_scorers(models, evalsets)
        indexes = Indexes(plan, self.settings, self.options.allowed, self.options.patience)
        options = self.options
        if options.max_cost is not None:
            require_prices(models, indexes, options.max_cost)
            # One bound for all that is asked, students and judges.
            left = options.max_cost - sum(run.cost for run in self.runs)
            options = replace(options, max_cost=max(0.0, left))

        def open_eval_sources(
            made: Plan,
            finished: Mapping[str, Finished],
            observer: SampleObserver,
            progress: Progress,
            limit: int | None,
            tables: Tables | None,
        ) -> list[SampleSource]:
            history = History(self.log)
            return [
                EvalSource(
                    made,
                    evalset,
                    finished[evalset.name],
                    _outdated(made, evalset, indexes, history),
                    observer,
                    progress,
                )
                for evalset in evalsets
            ]

        self.runs.append(
            loop.run(
                run_sample_sources(plan, models, indexes, self.log, options, self.watch, open_eval_sources)
            )
        )
        history, config_hashes = History(self.log), models.config_hashes(plan)
        settings, answered = models.binding(plan), {}
        for evalset in evalsets:
            config_hash = config_hashes[evalset.name]["lineage"]
            answered[evalset.name] = _answers(plan, evalset, config_hash, history)
            free = history.finished(config_hash, evalset.name, settings[evalset.name]).unbound
            for name, ending in history.endings(config_hash, evalset.named(plan)).items():
                if ending.values is None:
                    (self.failed if name in free else self.lost)[ending.reason] += 1
        self.results = Results({**self.results.values, **answered})

    def _without_simulated(self, evalset: EvalSet) -> bool:
        """Whether an evaluation set is about probabilities and its student simulated, which has none."""
        found = [self.plan.model(str(step.model)) for step in evalset.cohort.steps if step.scores]
        simulated = any(self.settings.spec(model).backend == "simulated" for model in found)
        if simulated:
            self.warnings.append(
                "`perplexity` is not simulated: simulated models give no token probabilities"
            )
        return simulated


def _merged(evalsets: Iterable[EvalSet | None]) -> list[EvalSet]:
    """Exams of one name made one: what several measures ask is asked once."""
    found: dict[str, EvalSet] = {}
    for evalset in evalsets:
        if evalset is not None:
            known = found.get(evalset.name)
            found[evalset.name] = evalset if known is None else known.merged(evalset)
    return list(found.values())


def _asking(plan: Plan, evalsets: Sequence[EvalSet]) -> Plan:
    """The plan of what is asked: the evaluation sets' cohorts, and the models and sources they need."""
    calls = [step.call for evalset in evalsets for step in evalset.cohort.steps if step.call is not None]
    looked_up = {call.arguments["source"] for call in calls}
    return changed(
        plan,
        cohorts=tuple(evalset.cohort for evalset in evalsets),
        sources=tuple(source for source in plan.sources if source.name in looked_up),
        preferences=(),
        mixes=(),
        exports=(),
        evaluations=(),
    )


def _require_scorers(models: Models, evalsets: Sequence[EvalSet]) -> None:
    """Raises EngineError, before anything is asked, for a model that cannot say how likely an
    answer is."""
    for step in (step for evalset in evalsets for step in evalset.cohort.steps if step.scores):
        engine = models[str(step.model)].engine
        if not isinstance(engine, Scorer):
            raise EngineError(
                f"`{step.model}` runs on {engine.identity}, which gives no token probabilities, and "
                "`perplexity` is made from them: run it on vllm, transformers or pocket"
            )


def _outdated(plan: Plan, evalset: EvalSet, indexes: Indexes, history: History) -> set[str]:
    """The asks whose passages were looked up in an index that holds something else by now."""
    call = next((step.call for step in evalset.cohort.steps if step.call is not None), None)
    if call is None:
        return set()
    digest = indexes.digest(str(call.arguments["source"]))
    known = history.calls(evalset.named(plan))
    return {
        name
        for name, sample in known.items()
        if any(each.digest != digest for each in sample.lookups.values())
    }


def _answers(
    plan: Plan, evalset: EvalSet, config_hash: str, history: History
) -> dict[str, Mapping[str, Any] | None]:
    """What came of the asks by row: values, or None where there will be none.  An ask that was not
    made, or that a service failed, is left out."""
    named, unbound = evalset.named(plan), history.finished(config_hash).unbound
    return {
        named[name].row: ending.values
        for name, ending in history.endings(config_hash, named).items()
        if ending.values is not None or name not in unbound
    }
