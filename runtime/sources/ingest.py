"""Rows from outside on their way into the log: read as a whole first, then logged as they are.

A version of a source is named by how it is read and by its files' bytes.  One that the log has is
not read again, and one that a crash cut short goes on where it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from synth.base.canonical import digest
from synth.compiler.plan.model import Plan, SourcePlan
from synth.runtime.events.recorder import Recorder
from synth.runtime.sources.counts import remember_count
from synth.runtime.sources.hashes import hash_file
from synth.runtime.sources.locate import Located, locate
from synth.runtime.sources.rows.scan import READING as ROWS_READING
from synth.runtime.sources.rows.scan import RowScan
from synth.runtime.sources.rows.spool import LoggedRow
from synth.runtime.sources.scan import Conversation, Scan
from synth.store.dataset.inputs.sources import (
    RowChanges,
    SourceVersion,
    last_version,
    reader_digest,
    row_changes,
    rows_there,
)
from synth.store.log.events import Kind
from synth.store.log.log import Log
from synth.store.log.payloads import SourceNote
from synth.store.log.source_payloads import LeftOut, SourceCompleted, SourceFile, SourceIngested

# Of how rows are read.  The second version reads more of what a message says of itself (marks that
# say what is trained on, and thoughts), the third lists of messages in the cells of tables, labels
# and what more families of models think, the fourth calls of tools; files in which there is none of it
# keep the names that the versions before gave to theirs.
READING = 4

# How much is done off the event loop at a time.
_ROWS_AT_ONCE = 256
_BYTES_AT_ONCE = 4 * 1024 * 1024
# The recorder counts events; long rows wait for their commit by their size.
_MOST_PENDING_BYTES = 4 * _BYTES_AT_ONCE


@dataclass(frozen=True, slots=True)
class ReadSource:
    """A source whose files hold.  `there` is how many of its rows the log has; it is `current`
    where these are all and no other version was completed since.

    `again` gives the rows as they are to be logged, from the first one on; None where the log has the
    version as a whole.  `before` is the version that another run completed last, where it is another.
    `reading` is the version of the reader; `left_out`, `unread` and `calling` are as in `SourceVersion`, and
    `warnings` say what of documents was passed over.
    """

    source: SourcePlan
    reader: str
    version: str
    rows: int
    shape: str
    files: tuple[SourceFile, ...]
    there: int
    current: bool = False
    again: Callable[[], Iterator[Conversation | LoggedRow]] | None = field(default=None, repr=False)
    reading: int = READING
    warnings: tuple[str, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)
    unread: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    before: SourceVersion | None = None
    calling: int = 0

    @property
    def note(self) -> SourceNote:
        """What `run.started` says of a source."""
        note = SourceNote(version=self.version, rows=self.rows, there=self.there)
        if self.left_out:
            note["left_out"] = self.left_out["rows"]
        return note


@dataclass(frozen=True, slots=True)
class IngestedSource:
    """A source in the log.  `new` of its `rows` were logged by this run; not `complete` when the
    run was told to stop before the last.  `left_out`, `unread` and `before` are as in `ReadSource`."""

    name: str
    version: str
    shape: str
    rows: int
    new: int
    complete: bool = True
    warnings: tuple[str, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)
    unread: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    before: SourceVersion | None = None
    changes: RowChanges = field(default_factory=RowChanges)

    async def compared(self, log: Log) -> IngestedSource:
        """The same with what became of the rows since the version before, which takes some time for many."""
        before, version = self.before, self.version
        if before is None or not self.complete:
            return self

        def changes() -> RowChanges:
            with log.cursor() as earlier, log.cursor() as later:
                return row_changes(before, earlier, version, later, log.next_seq)

        return replace(self, changes=await asyncio.to_thread(changes))


def _never() -> bool:
    return False


def check_sources(plan: Plan, allowed: Sequence[Path] = ()) -> None:
    """Raises ConfigError unless each source of rows or conversations has files that may be read.

    Reads none of them; `allowed` are folders outside the project that sources may be in.
    """
    for source in _of_rows(plan):
        locate(plan, source, allowed)


async def ingest_sources(
    plan: Plan,
    log: Log,
    recorder: Recorder,
    allowed: Sequence[Path] = (),
    stopping: Callable[[], bool] = _never,
) -> dict[str, IngestedSource]:
    """Reads every source of rows or conversations and logs what is new, by name; all is durable then.

    Raises ConfigError, before anything is logged, when any of them does not hold.
    """
    read = await read_sources(plan, log, allowed, stopping)
    return {each.source.name: await ingest(each, recorder, stopping) for each in read}


async def read_sources(
    plan: Plan,
    log: Log,
    allowed: Sequence[Path] = (),
    stopping: Callable[[], bool] = _never,
    names: Container[str] | None = None,
) -> list[ReadSource]:
    """Reads every source of rows or conversations that the log does not have, or those among some
    `names`; logs nothing.

    Those that are not yet read when `stopping` says so are left out.  Raises ConfigError, in one
    sentence, for a source that does not hold: NoRows where it is empty.
    """
    found = []
    for source in _of_rows(plan):
        if names is not None and source.name not in names:
            continue
        read = await _read(plan, locate(plan, source, allowed), log, stopping)
        if read is None:
            break
        found.append(read)
    return found


async def ingest(
    source: ReadSource, recorder: Recorder, stopping: Callable[[], bool] = _never
) -> IngestedSource:
    """Logs the rows of a source that the log does not have, then that they are complete.

    Reads beside the event loop, a slice at a time.  Raises ConfigError when a file changed since
    it was read; no version is completed then.
    """
    new, pending, first, last = 0, 0, -1, -1
    if source.again is not None:
        rows = islice(source.again(), source.there, None)
        while some := await asyncio.to_thread(_slice, rows):
            for row in some:
                last = _emit(source, row, recorder)
                first = last if first < 0 else first
                pending += row.size
            new += len(some)
            await recorder.room()
            if pending > _MOST_PENDING_BYTES:
                await recorder.settle()
                pending = 0
            if stopping():
                return _ingested(source, new, complete=False)
    if not source.current:
        payload = SourceCompleted(
            source=source.source.name,
            reader=source.reader,
            version=source.version,
            rows=source.rows,
            shape=source.shape,
            files=list(source.files),
            reading=source.reading,
        )
        if source.left_out:
            payload["left_out"] = source.left_out
        if source.unread:
            payload["unread"] = source.unread
        if source.calling:
            payload["calling"] = source.calling
        if new == source.rows == last - first + 1:
            payload["first"] = first
        recorder.emit(Kind.SOURCE_COMPLETED, payload)
        await recorder.settle()
    return _ingested(source, new)


async def _read(plan: Plan, located: Located, log: Log, stopping: Callable[[], bool]) -> ReadSource | None:
    source = located.source
    hashed = [await asyncio.to_thread(hash_file, file) for file in located.files]
    reader, names = reader_digest(plan, source), [file.name for file in located.files]
    named = [reader, [[each.file.name, each.sha256] for each in hashed]]
    newest = READING if source.type == "messages" else ROWS_READING
    versions = {reading: digest([reading, *named]) for reading in range(newest, 0, -1)}
    for version in versions.values():
        known, current, _ = await asyncio.to_thread(known_version, plan, source, version, log)
        if known is not None and known.reading == newest:
            return ReadSource(
                source,
                reader,
                version,
                known.rows,
                known.shape,
                known.files,
                known.rows,
                current,
                reading=newest,
                left_out=known.left_out,
                unread=known.unread,
                calling=known.calling,
                before=await asyncio.to_thread(version_before, plan, source, version, names, log),
            )
    scan = (
        Scan(located, tuple(hashed))
        if source.type == "messages"
        else RowScan(located, tuple(hashed), versions[newest])
    )
    while await asyncio.to_thread(scan.advance, _ROWS_AT_ONCE):
        if stopping():
            return None
    await asyncio.to_thread(scan.conclude)
    await asyncio.to_thread(remember_count, plan, located, scan.rows)
    version = versions[scan.reading]
    known, _, there = await asyncio.to_thread(known_version, plan, source, version, log)
    return ReadSource(
        source,
        reader,
        version,
        scan.rows,
        scan.shape,
        tuple(SourceFile(path=each.file.name, bytes=each.bytes, sha256=each.sha256) for each in hashed),
        there,
        again=scan.again,
        reading=newest,
        left_out=scan.left_out.found,
        unread=scan.unread.found,
        calling=scan.calling,
        before=await asyncio.to_thread(version_before, plan, source, version, names, log),
    )


def known_version(
    plan: Plan, source: SourcePlan, version: str, log: Log
) -> tuple[SourceVersion | None, bool, int]:
    """The version as it was completed, whether none was completed since, and how many of its rows the log
    has."""
    with log.cursor() as cursor:
        known = last_version(plan, source, cursor, log.next_seq, version)
        if known is None:
            return None, False, rows_there(cursor, source.name, version)
        latest = last_version(plan, source, cursor, log.next_seq)
        return known, latest == known, known.rows


def version_before(
    plan: Plan, source: SourcePlan, version: str, files: Sequence[str], log: Log
) -> SourceVersion | None:
    """The version of some files that was completed last, unless it is this one: where none was read as the
    plan does, of the same files however they were read."""
    with log.cursor() as cursor:
        latest = last_version(plan, source, cursor, log.next_seq)
        if latest is None:
            other = last_version(plan, source, cursor, log.next_seq, any_reader=True)
            same = other is not None and [file["path"] for file in other.files] == list(files)
            latest = other if same else None
    return None if latest is None or latest.version == version else latest


def _slice(rows: Iterator[Conversation | LoggedRow]) -> list[Conversation | LoggedRow]:
    found: list[Conversation | LoggedRow] = []
    size = 0
    for row in islice(rows, _ROWS_AT_ONCE):
        found.append(row)
        size += row.size
        if size > _BYTES_AT_ONCE:
            break
    return found


def _emit(source: ReadSource, row: Conversation | LoggedRow, recorder: Recorder) -> int:
    """Logs a row; gives the event's seq."""
    if isinstance(row, LoggedRow):
        return recorder.emit(Kind.SOURCE_INGESTED, row.payload, sample_id=row.row_id)
    payload = SourceIngested(
        source=source.source.name,
        version=source.version,
        row=row.number,
        file=row.file,
        line=row.line,
        hash=row.hash,
        messages=row.messages,
    )
    if row.tools:
        payload["tools"] = row.tools
    return recorder.emit(Kind.SOURCE_INGESTED, payload, sample_id=row.row_id)


def _ingested(source: ReadSource, new: int, complete: bool = True) -> IngestedSource:
    return IngestedSource(
        source.source.name,
        source.version,
        source.shape,
        source.rows,
        new,
        complete,
        source.warnings,
        source.left_out,
        source.unread,
        source.before,
        RowChanges(new, same=source.rows - new) if complete else RowChanges(new, same=source.there),
    )


def _of_rows(plan: Plan) -> Iterator[SourcePlan]:
    return (source for source in plan.sources if source.type in ("messages", "rows"))
