"""A run: a plan, engines and a log, until every quota is met or something says stop."""

from __future__ import annotations

import asyncio
import platform
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler.plan import Plan
from compiler.runnable import require_runnable
from runtime.caller import LiveCaller
from runtime.config import Settings
from runtime.ledger import LiveLedger
from runtime.models import Models
from runtime.opening import finished_samples, open_books, remember
from runtime.past import LoggedPast
from runtime.progress import Progress, progress_path, write_progress
from runtime.recorder import Recorder
from runtime.scheduler import Scheduler
from runtime.stop import Outcome, Stop
from store.event import Kind
from store.history import History
from store.log import Log
from store.versions import package_version


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Bounds and sizes of a run.  `limit` keeps to that many samples of each conversation;
    `window` is how many samples are open at once, None for twice what the engines can hold."""

    limit: int | None = None
    max_calls: int | None = None
    max_minutes: float | None = None
    max_cost: float | None = None
    window: int | None = None


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended.  `short` names the cells that were given up, with what they lost."""

    outcome: Outcome
    reason: str
    run_id: str
    seconds: float
    cost: float
    counts: Mapping[str, Any]
    warnings: tuple[str, ...]
    short: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        return {"finished": 0, "limited": 0, "interrupted": 130, "failed": 1}.get(self.outcome, 3)


@dataclass(slots=True)
class Watch:
    """What a caller of `run` can see and do while it goes on."""

    on_start: Callable[[Progress, Models], None] | None = None
    handle_signals: bool = True
    stop: Stop | None = field(default=None, init=False)


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
    models = Models(plan, settings)
    with Log(log_path, writer=True) as log:
        return asyncio.run(_run(plan, models, log, options, watch))


async def _run(plan: Plan, models: Models, log: Log, options: RunOptions, watch: Watch) -> RunReport:
    run_id = uuid.uuid4().hex[:12]
    stop = watch.stop = Stop(options.max_calls, options.max_minutes, options.max_cost)
    progress = Progress(plan, run_id)
    lineages = models.lineages(plan)
    path = progress_path(log.path)

    def committed() -> None:
        write_progress(path, progress, next_seq=log.next_seq, state="running")

    with _signals(stop, watch.handle_signals):
        history = History(log)
        try:
            recorder = Recorder(log, run_id, after_commit=committed)
            try:
                _register(plan, recorder, log)
                recorder.emit(Kind.RUN_STARTED, _started(plan, lineages, options, models))
                if watch.on_start is not None:
                    watch.on_start(progress, models)
                error, short = await _generate(
                    plan, models, history, recorder, stop, progress, lineages, options
                )
                outcome, reason = _outcome(stop, progress, short, options)
                recorder.emit(
                    Kind.RUN_STOPPED, {"outcome": outcome, "reason": reason, "counts": progress.to_json()}
                )
            finally:
                await recorder.close()
        finally:
            await models.close()
    write_progress(path, progress, next_seq=log.next_seq, state=outcome)
    if error is not None:
        raise error
    return RunReport(
        outcome=outcome,
        reason=reason,
        run_id=run_id,
        seconds=progress.seconds,
        cost=stop.cost,
        counts=progress.to_json(),
        warnings=tuple(models.warnings),
        short=short,
    )


async def _generate(
    plan: Plan,
    models: Models,
    history: History,
    recorder: Recorder,
    stop: Stop,
    progress: Progress,
    lineages: Mapping[str, Mapping[str, Any]],
    options: RunOptions,
) -> tuple[Exception | None, tuple[str, ...]]:
    ledger = LiveLedger(recorder, progress, lineages)
    named = {name: str(entry["lineage"]) for name, entry in lineages.items()}
    finished = finished_samples(history, named)
    books = open_books(plan, plan.cohorts, finished, ledger, progress, options.limit)
    remember(books, history, named)
    past = LoggedPast(history, named, recorder.settle)
    caller = LiveCaller(plan, models, recorder, stop, progress)
    window = options.window or max(16, 2 * sum(engine.concurrency for engine in models.engines))
    try:
        await Scheduler(books, caller, past, ledger, stop, window=window).run()
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
        past.close()
    short = tuple(said for each in books if (said := each.shortage()) is not None)
    return error, short


def _outcome(
    stop: Stop, progress: Progress, short: tuple[str, ...], options: RunOptions
) -> tuple[Outcome, str]:
    if stop.outcome is not None:
        return stop.outcome, stop.reason
    if short:
        return "short", "; ".join(short)
    cut = options.limit is not None and any(
        progress.cohort(cohort).quota < cohort.quota for cohort in progress.plan.cohorts
    )
    return ("limited", f"--limit {options.limit}") if cut else ("finished", "every quota is met")


def _register(plan: Plan, recorder: Recorder, log: Log) -> None:
    """The plan itself is an event, once for each plan, so that a log explains itself."""
    known = log.cursor().execute(
        "SELECT 1 FROM events WHERE kind = ? AND (payload ->> 'plan_hash') = ? LIMIT 1",
        [Kind.PLAN_REGISTERED.value, plan.plan_hash],
    )
    if known.fetchone() is None:
        recorder.emit(
            Kind.PLAN_REGISTERED, {"plan_hash": plan.plan_hash, "plan": plan.model_dump(mode="json")}
        )


def _started(
    plan: Plan, lineages: Mapping[str, Mapping[str, Any]], options: RunOptions, models: Models
) -> dict[str, Any]:
    return {
        "plan_hash": plan.plan_hash,
        "lineages": lineages,
        "options": {name: getattr(options, name) for name in RunOptions.__slots__},
        "warnings": models.warnings,
        "versions": {
            "synth": package_version("synth"),
            "python": platform.python_version(),
            "duckdb": package_version("duckdb"),
            **{str(model.engine.identity): model.engine.version for model in models},
        },
    }


@contextmanager
def _signals(stop: Stop, handle: bool) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops cleanly; the second does not wait for what is in flight."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupted(name: str) -> None:
        if stop.stopping and task is not None:
            task.cancel()
        stop.stop("interrupted", name)

    main = threading.current_thread() is threading.main_thread()
    handled = (signal.SIGINT, signal.SIGTERM) if handle and main else ()
    for number in handled:
        loop.add_signal_handler(number, interrupted, number.name)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
