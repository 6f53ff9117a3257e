"""The rows that a run would have, without a run: those of the log where it has them, else read into a log
that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from synth.compiler.plan.model import Plan
from synth.runtime.events.recorder import Recorder
from synth.store.dataset.inputs.over_table import Cursor, Tables
from synth.store.dataset.inputs.sources import (
    RowChanges,
    SourceVersion,
    last_version,
    reader_digest,
    row_changes,
)
from synth.store.log.log import Log

if TYPE_CHECKING:
    from synth.runtime.sources.ingest import ReadSource


@dataclass(frozen=True, slots=True)
class ForeseenTables:
    """Tables that conversations of a plan would be over.  `empty` says of sources without a row, by name,
    what a run would stop at; `changes` what became of the rows that the log has."""

    tables: Tables
    empty: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, RowChanges] = field(default_factory=dict)


@asynccontextmanager
async def foreseen_tables(
    plan: Plan, log: Log, allowed: Sequence[Path] = ()
) -> AsyncIterator[ForeseenTables]:
    """The tables that conversations of a plan would be over, each of the log or else of its files, which are
    read once.

    Raises ConfigError for a source that does not hold."""
    if not plan.tables:
        # Conversations over others need no rows.
        yield ForeseenTables(Tables(plan, log.cursor, log.next_seq))
        return
    from synth.runtime.run.passages import read_tables
    from synth.runtime.sources.faults import NoRows
    from synth.runtime.sources.ingest import ingest, known_version

    found: dict[str, tuple[Cursor, SourceVersion]] = {}
    new, empty = [], {}
    for name in sorted(plan.tables):
        try:
            (read,) = await read_tables(plan, log, allowed, names=(name,))
        except NoRows as none:
            empty[name] = str(none)
            found[name] = log.cursor, _nothing(plan, name, log)
            continue
        if read.again is not None:
            new.append(read)
            continue
        known, _, _ = known_version(plan, read.source, read.version, log)
        assert known is not None, "what is not read again is in the log"
        found[name] = log.cursor, known
    if not new:
        yield ForeseenTables(Tables(plan, log.cursor, log.next_seq, found, foreseen=True), empty)
        return
    with (
        tempfile.TemporaryDirectory(prefix="synth-rows-") as folder,
        Log(Path(folder) / "rows.duckdb", writer=True) as scratch,
    ):
        recorder = Recorder(scratch, "rows")
        try:
            for read in new:
                await ingest(replace(read, there=0, current=False), recorder)
        finally:
            await recorder.close()
        for read in new:
            with scratch.cursor() as cursor:
                version = last_version(plan, read.source, cursor, scratch.next_seq)
            assert version is not None, "it was just logged"
            found[read.source.name] = scratch.cursor, version
        tables = Tables(plan, log.cursor, log.next_seq, found, foreseen=True)
        yield ForeseenTables(tables, empty, {each.source.name: _changes(each, log, scratch) for each in new})


def _changes(read: ReadSource, log: Log, scratch: Log) -> RowChanges:
    if read.before is None:
        return RowChanges(new=read.rows)
    with log.cursor() as earlier, scratch.cursor() as later:
        return row_changes(read.before, earlier, read.version, later, scratch.next_seq)


def _nothing(plan: Plan, name: str, log: Log) -> SourceVersion:
    """A version without a row."""
    reader = reader_digest(plan, plan.source(name))
    return SourceVersion(
        source=name, reader=reader, version="", rows=0, shape="rows", files=(), seq=log.next_seq
    )
