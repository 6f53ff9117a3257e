"""The functions of a run: opened where a plan has any, and asked of the rows of sources first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synth.compiler.plan.model import Plan
from synth.compiler.stdlib.running import is_running
from synth.runtime.events.budget import RunBudget, Stopped
from synth.runtime.events.recorder import Recorder
from synth.runtime.settings import Settings
from synth.store.log.log import Log
from synth.store.log.past.history import History

if TYPE_CHECKING:
    from synth.runtime.functions.service import Functions
    from synth.runtime.sources.ingest import IngestedSource


def open_if_any(plan: Plan, settings: Settings, history: History, stop: RunBudget) -> Functions | None:
    """The functions of a plan; None where it has none, whose import takes a while."""
    if not plan.functions:
        return None
    from synth.runtime.functions.service import open_functions

    return open_functions(plan, settings, history, stop)


def require_allowed(plan: Plan, settings: Settings, allow_code: bool) -> None:
    """Raises ConfigError, before anything else is done, where a plan runs what was written and that is not
    allowed, or cannot be here."""
    if settings.everywhere == "simulated" or not any(map(is_running, plan.functions)):
        return
    from synth.runtime.functions.running.required import require_all

    require_all(plan, allow_code)


async def judge_ingested(
    plan: Plan,
    log: Log,
    functions: Functions | None,
    recorder: Recorder,
    stop: RunBudget,
    ingested: Sequence[IngestedSource],
) -> Sequence[IngestedSource]:
    """Asks functions of the rows of sources that were just logged, and gives these.  A function that is of no
    use stops the run."""
    if functions is None or stop.stopping:
        return ingested
    from synth.runtime.functions.rows import judge_rows

    try:
        await judge_rows(plan, log, functions, recorder, {each.name for each in ingested if each.complete})
    except Stopped:
        pass
    except Exception as fault:
        stop.stop("failed", str(fault), fault)
    return ingested
