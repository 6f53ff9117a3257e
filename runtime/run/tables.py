"""The rows that a run would have, without a run: those of the log where it has them, else read into a log
that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from synth.compiler.plan.model import Plan
from synth.runtime.events.recorder import Recorder
from synth.store.dataset.inputs.over_table import Tables
from synth.store.log.log import Log


@asynccontextmanager
async def foreseen_tables(plan: Plan, log: Log, allowed: Sequence[Path] = ()) -> AsyncIterator[Tables]:
    """The tables that conversations of a plan would be over, of the log or else of the files.

    Raises ConfigError for a source that does not hold."""
    if not plan.tables:
        # Conversations over others need no rows.
        yield Tables(plan, log.cursor, log.next_seq)
        return
    from synth.runtime.run.passages import read_tables
    from synth.runtime.sources.ingest import ingest

    read = [each for each in await read_tables(plan, log, allowed) if each.source.name in plan.tables]
    if all(each.current for each in read):
        yield Tables(plan, log.cursor, log.next_seq)
        return
    with (
        tempfile.TemporaryDirectory(prefix="synth-rows-") as folder,
        Log(Path(folder) / "rows.duckdb", writer=True) as scratch,
    ):
        recorder = Recorder(scratch, "rows")
        try:
            for each in await read_tables(plan, scratch, allowed):
                if each.source.name in plan.tables:
                    await ingest(each, recorder)
        finally:
            await recorder.close()
        yield Tables(plan, scratch.cursor, scratch.next_seq)
