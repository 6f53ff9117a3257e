"""Functions as the `keep` of a source asks them: of every row that its other checks let through."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterator
from itertools import islice

from synth.compiler.plan.model import Plan, SourcePlan
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.plan.strata import call_seed
from synth.runtime.events.recorder import Recorder
from synth.runtime.functions.asked import Application
from synth.runtime.functions.service import Functions
from synth.store.dataset.inputs.filter import Gate
from synth.store.dataset.inputs.sources import source_of, source_rows
from synth.store.dataset.inputs.verdicts import STEP, Verdicts, calls_of
from synth.store.log.forgotten import is_tombstone
from synth.store.log.log import Log
from synth.store.log.past.logged import LoggedSample

# So many rows are judged at a time.
_AT_ONCE = 256


async def judge_rows(
    plan: Plan, log: Log, functions: Functions, recorder: Recorder, names: Container[str]
) -> None:
    """Asks functions what the log does not know of the rows of some sources, by name; all is durable then.

    Raises Stopped, and ConfigError for a file of no use.
    """
    asking = [
        source
        for source in plan.sources
        if source.name in names and any(check.source for check in source.keep)
    ]
    if not asking:
        return
    known = await asyncio.to_thread(Verdicts, log.cursor(), log.next_seq)
    for source in asking:
        calls = _calls(plan, source, log, known)
        while some := await asyncio.to_thread(lambda: list(islice(calls, _AT_ONCE))):  # noqa: B023
            await asyncio.gather(*(functions.apply(each, recorder) for each in some))
    await recorder.settle()


def _calls(plan: Plan, source: SourcePlan, log: Log, known: Verdicts) -> Iterator[Application]:
    """The calls of which the log has no result, in the order of the rows."""
    gate = Gate(source, alone=True)
    version = source_of(plan, source, log.cursor(), log.next_seq)
    for _, name, payload in source_rows(log.cursor(), version):
        if is_tombstone(payload) or gate.refuses(name, payload) is not None:
            continue
        value, values = gate.checked(payload)
        for check in gate.asking:
            function = plan.function(check)
            for arguments in calls_of(check, function, value, values):
                asked = Application(
                    name, STEP, 0, function, arguments, LoggedSample(),
                    call_seed(plan, name, STEP, 0), is_check=True,
                )  # fmt: skip
                if _reads_files(plan, check) or known.passes(asked.key) is None:
                    yield asked


def _reads_files(plan: Plan, check: CheckPlan) -> bool:
    """Whether what a function gives depends on files too, which may have changed."""
    return any(each.type.kind == "path" for each in plan.function(check).parameters)
