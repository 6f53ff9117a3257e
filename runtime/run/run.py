"""A run: a plan, engines and a log, until every quota is met or something says stop."""

from __future__ import annotations

import asyncio
import platform
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from synth.base.leftovers import sweep
from synth.base.version import VERSION, package_version
from synth.compiler.plan.model import Plan
from synth.compiler.stdlib.requirements import require_runnable
from synth.runtime.calls.breaker import Breakers, Stuck
from synth.runtime.calls.client import LiveClient
from synth.runtime.calls.held import read_held
from synth.runtime.calls.models import Models
from synth.runtime.calls.rules import CURRENT
from synth.runtime.calls.validate import prepare
from synth.runtime.cohorts.build import Opener, finished_samples, open_sample_sources, remember
from synth.runtime.cohorts.history import LoggedPast
from synth.runtime.cohorts.observer import LoggingObserver
from synth.runtime.cohorts.scheduler import Scheduler
from synth.runtime.cohorts.source import SampleSource
from synth.runtime.events.budget import Outcome, RunBudget, Stopped
from synth.runtime.events.progress import Progress, progress_path, write_progress
from synth.runtime.events.recorder import Recorder
from synth.runtime.functions.asked import packages_imported
from synth.runtime.functions.opened import judge_ingested, open_if_any, require_allowed
from synth.runtime.retrieval.service import Indexes, record
from synth.runtime.run import loop
from synth.runtime.run.report import RunOptions, RunReport
from synth.runtime.run.shown import lost_calls, met
from synth.runtime.settings import Settings
from synth.store.dataset.inputs.over_table import Tables
from synth.store.log import payload_sql, payloads
from synth.store.log.events import Kind
from synth.store.log.log import Log
from synth.store.log.past.history import History
from synth.store.log.served import in_words

if TYPE_CHECKING:
    from synth.runtime.functions.service import Functions
    from synth.runtime.retrieval.ingest import IngestReport
    from synth.runtime.sources.ingest import IngestedSource, ReadSource


# By then a hundred first calls are out, and the loop has nothing to do until they are answered.
_FIRST_CALLS_S = 0.1


@dataclass(slots=True)
class Watch:
    """What a caller of `run` can see and do while it goes on."""

    on_start: Callable[[Progress, Models], None] | None = None
    handle_signals: bool = True
    stop: RunBudget | None = field(default=None, init=False)


def run(
    plan: Plan,
    settings: Settings,
    log_path: Path,
    options: RunOptions | None = None,
    watch: Watch | None = None,
) -> RunReport:
    """Runs a plan.  Raises SynthError when it cannot go on; what was committed is safe."""
    require_runnable(plan)
    options, watch = options or RunOptions(), watch or Watch()
    require_allowed(plan, settings, options.allow_code)
    if plan.sources:
        from synth.runtime.sources.ingest import check_sources

        check_sources(plan, options.allowed)
    models, indexes = (
        Models(plan, settings, options.patience),
        Indexes(plan, settings, options.allowed, options.patience),
    )
    if options.max_cost is not None:
        require_prices(models, indexes, options.max_cost)
    with Log(log_path, writer=True, accept_loss=options.accept_loss) as log:
        models.warnings += log.notices
        return loop.run(run_sample_sources(plan, models, indexes, log, options, watch, open_sample_sources))


def require_prices(models: Models, indexes: Indexes, max_cost: float) -> None:
    """Raises ConfigError, before anything is paid for, where a bound on money could not hold, and
    warns of what it does not bind."""
    models.require_prices(max_cost)
    models.warnings += [
        f"--max-cost does not count what it costs to embed the passages of `{name}`"
        for name in indexes.hosted
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What a run has, from its first event to its last."""

    plan: Plan
    models: Models
    indexes: Indexes
    history: History
    recorder: Recorder
    stop: RunBudget
    progress: Progress
    breakers: Breakers
    config_hashes: Mapping[str, payloads.CohortLineage]
    options: RunOptions
    tables: Tables | None = None
    functions: Functions | None = None


async def run_sample_sources(
    plan: Plan,
    models: Models,
    indexes: Indexes,
    log: Log,
    options: RunOptions,
    watch: Watch,
    opener: Opener,
) -> RunReport:
    """Runs the sample sources that `opener` opens for a plan, with a log that is open for writing."""
    run_id = uuid.uuid4().hex[:12]
    stop = watch.stop = RunBudget(
        options.max_calls, options.max_minutes, options.max_cost, grace=options.grace
    )
    prices = {model.name: model.priced.source for model in models if model.priced is not None}
    progress = Progress(plan, run_id, prices=prices, max_cost=options.max_cost)
    progress.tellers += [lambda: models.waiting_for, lambda: indexes.waiting_for]
    indexes.attend(stop)
    breakers = Breakers((*plan.cohorts, *plan.pair_cohorts))
    path = progress_path(log.path)
    sweep(path)

    def committed() -> None:
        write_progress(path, progress, next_seq=log.next_seq, state="running")

    with _signals(stop, watch.handle_signals), stop.clock():
        history = History(log)
        try:
            if watch.on_start is not None:
                watch.on_start(progress, models)
            # A source that does not hold ends the run here, before anything is paid for.
            sources = await _read(plan, log, options, stop)
            config_hashes = models.config_hashes(plan, {each.source.name: each.version for each in sources})
            models.warnings += lost_calls(plan, {each.source.name for each in sources if each.calling})
            reports = await _index(indexes, progress, stop)
            recorder = Recorder(log, run_id, after_commit=committed)
            try:
                _register(plan, recorder, log)
                started = _started(plan, config_hashes, options, models, sources, reports)
                if log.loss is not None:
                    started["accepted_loss"] = payloads.AcceptedLoss(
                        events=log.loss.events, calls=log.loss.calls, cost=log.loss.cost
                    )
                recorder.emit(Kind.RUN_STARTED, started)
                record(reports, recorder)
                # What samples vary over is in the log before the first of them begins.
                over = plan.tables
                first = [source for source in sources if source.source.name in over]
                later = [source for source in sources if source.source.name not in over]
                functions = open_if_any(plan, models.where, history, stop)
                judge = partial(judge_ingested, plan, log, functions, recorder, stop)
                before = await judge(await _ingest(first, recorder, stop))
                ingesting = asyncio.create_task(_ingest(later, recorder, stop))
                context = RunContext(
                    plan=plan,
                    models=models,
                    indexes=indexes,
                    history=history,
                    recorder=recorder,
                    stop=stop,
                    progress=progress,
                    breakers=breakers,
                    config_hashes=config_hashes,
                    options=options,
                    tables=Tables(plan, log.cursor, log.next_seq),
                    functions=functions,
                )
                error, short = await _generate(context, opener)
                last = await judge(await ingesting)
                ingested = tuple([await each.compared(log) for each in (*before, *last)])
                error = error or stop.error
                stuck = breakers.stuck()
                outcome, reason = _outcome(stop, progress, stuck, short, options)
                stopped = payloads.RunStopped(outcome=outcome, reason=reason, counts=progress.to_json())
                if stuck:
                    stopped["stuck"] = [each.to_json() for each in stuck]
                recorder.emit(Kind.RUN_STOPPED, stopped)
            finally:
                if functions is not None:
                    await functions.close()
                await recorder.close()
        finally:
            await indexes.close()
            await models.close()
    write_progress(path, progress, next_seq=log.next_seq, state=outcome)
    if error is not None:
        raise error
    return RunReport(
        outcome=outcome,
        reason=reason,
        run_id=run_id,
        seconds=progress.seconds,
        cost=progress.cost,
        counts=progress.to_json(),
        warnings=(*models.warnings, *in_words(progress.served)),
        short=short,
        stuck=stuck,
        sources=ingested,
        indexes=reports,
    )


async def _read(plan: Plan, log: Log, options: RunOptions, stop: RunBudget) -> Sequence[ReadSource]:
    # Readers of rows take longer to import than a small run without any takes to start.
    if not plan.sources:
        return ()
    from synth.runtime.run.passages import read_tables

    return await read_tables(plan, log, options.allowed, lambda: stop.stopping)


async def _index(indexes: Indexes, progress: Progress, stop: RunBudget) -> Mapping[str, IngestReport]:
    """Brings the indexes up to date; nothing is told of them by a run that is stopped meanwhile."""
    try:
        return await stop.bounded(indexes.ingest(progress))
    except (Stopped, asyncio.CancelledError):
        if not stop.stopping:
            raise
        return {}


async def _ingest(
    sources: Sequence[ReadSource], recorder: Recorder, stop: RunBudget
) -> tuple[IngestedSource, ...]:
    """Logs what is new of some sources, while models answer.  A source that cannot be logged any
    more stops the run."""
    if not sources:
        return ()
    from synth.runtime.sources.ingest import ingest

    found = []
    try:
        for source in sources:
            found.append(await ingest(source, recorder, lambda: stop.stopping))
    except Exception as fault:
        stop.stop("failed", str(fault), fault)
    return tuple(found)


async def _generate(run: RunContext, opener: Opener) -> tuple[Exception | None, tuple[str, ...]]:
    plan, models, stop, options = run.plan, run.models, run.stop, run.options
    observer = LoggingObserver(run.recorder, run.progress, run.config_hashes)
    named = {name: str(entry["lineage"]) for name, entry in run.config_hashes.items()}
    if stop.stopping:
        # The rows may not all be there.
        return stop.error, ()
    settings = models.binding(plan)
    finished = finished_samples(plan, run.history, named, settings, retry_lost=options.retry_lost)
    sample_sources = opener(plan, finished, observer, run.progress, options.limit, run.tables)
    for each in sample_sources:
        run.progress.cohort(each.plan).forgotten = len(finished[each.plan.name].forgotten)
    remember(sample_sources, run.history, named, run.tables)
    if options.limit is not None:
        stop.limit = _most_calls(options.limit, sample_sources, run.progress)
    past = LoggedPast(run.history, named, run.recorder.settle)
    held = await read_held(plan, run.tables)
    client = LiveClient(
        plan,
        models,
        run.indexes,
        run.recorder,
        stop,
        run.progress,
        run.history,
        run.breakers,
        run.functions,
        held,
    )
    window = options.window or max(16, 2 * sum(engine.concurrency for engine in models.engines))
    asking = [step for each in sample_sources for step in each.plan.asking]
    preparing = asyncio.get_running_loop().call_later(_FIRST_CALLS_S, prepare, asking)
    try:
        await Scheduler(
            sample_sources, client, past, observer, stop, window=window, breakers=run.breakers
        ).run()
        error = None
    except asyncio.CancelledError:
        # A second Ctrl-C: what was in flight is not waited for.
        if not stop.stopping:
            raise
        error = None
    except Exception as fault:
        stop.stop("failed", str(fault), fault)
        error = fault
    finally:
        preparing.cancel()
        past.close()
    short = tuple(said for each in sample_sources if (said := each.shortage()) is not None)
    return error, short


def _most_calls(limit: int, sample_sources: Sequence[SampleSource], progress: Progress) -> tuple[int, str]:
    """How many calls a run with a limit may make, and what is said when they are made: a limit bounds
    what is lost and tried again as it bounds what is to be had."""
    needed = sum(progress.cohort(each.plan).quota * each.plan.calls for each in sample_sources)
    most = 10 * needed + 100
    return most, (
        f"--limit {limit} allows {most:,} calls, ten times the {needed:,} that so many samples take and 100 "
        "more, and they are made"
    )


def _outcome(
    stop: RunBudget,
    progress: Progress,
    stuck: tuple[Stuck, ...],
    short: tuple[str, ...],
    options: RunOptions,
) -> tuple[Outcome, str]:
    if stop.outcome is not None:
        return stop.outcome, stop.summary
    if stuck:
        return "stuck", "; ".join((*(each.sentence for each in stuck), *short))
    if short:
        return "short", "; ".join(short)
    if options.max_cost is not None and progress.cost > options.max_cost:
        # Only a service that counts beyond what it was asked for brings it so far.
        return "out_of_budget", f"--max-cost {options.max_cost:g} is passed: {progress.cost:.4g} is spent"
    cut = options.limit is not None and any(cohort.limited for cohort in progress.cohorts.values())
    return ("limited", f"--limit {options.limit}") if cut else ("finished", met(progress))


def _register(plan: Plan, recorder: Recorder, log: Log) -> None:
    """The plan itself is an event, once for each plan, so that a log explains itself."""
    known = log.cursor().execute(
        f"SELECT 1 FROM events WHERE kind = ? AND ({payload_sql.PLAN_HASH}) = ? LIMIT 1",
        [Kind.PLAN_REGISTERED.value, plan.plan_hash],
    )
    if known.fetchone() is None:
        registered = payloads.PlanRegistered(plan_hash=plan.plan_hash, plan=plan.model_dump(mode="json"))
        recorder.emit(Kind.PLAN_REGISTERED, registered)


def _started(
    plan: Plan,
    config_hashes: Mapping[str, payloads.CohortLineage],
    options: RunOptions,
    models: Models,
    sources: Sequence[ReadSource],
    reports: Mapping[str, IngestReport],
) -> payloads.RunStarted:
    given = {name: getattr(options, name) for name in RunOptions.__slots__ if name != "allowed"}
    return {
        "plan_hash": plan.plan_hash,
        "lineages": config_hashes,
        "settings": models.settings(plan),
        "sources": {
            **{source.source.name: source.note for source in sources},
            **{
                name: payloads.SourceNote(version=r.digest, index=r.version, rows=r.chunks)
                for name, r in reports.items()
            },
        },
        "options": given,
        "answers": CURRENT.record(),
        "warnings": models.warnings,
        "prices": {
            model.name: {"by": model.priced.source, **model.priced.price.model_dump(exclude_defaults=True)}
            for model in models
            if model.priced is not None
        },
        "versions": {
            "synth": VERSION,
            "python": platform.python_version(),
            "duckdb": package_version("duckdb"),
            **packages_imported(plan.functions),
            **{str(model.engine.identity): model.engine.version for model in models},
        },
    }


def _signals(stop: RunBudget, handle: bool) -> AbstractContextManager[None]:
    """The first Ctrl-C or SIGTERM stops cleanly; the second does not wait for what is in flight."""
    task = asyncio.current_task()

    def interrupted(name: str) -> None:
        if stop.stopping and task is not None:
            task.cancel()
        stop.stop("interrupted", name)

    return loop.interrupts(interrupted) if handle else nullcontext()
