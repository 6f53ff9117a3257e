"""The passages of documents as rows: read and split like those of an index, and logged as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence
from pathlib import Path

from synth.base.canonical import canonical_json, digest
from synth.base.display import quoted, visible
from synth.compiler.plan.model import Plan, SourcePlan
from synth.runtime.documents import File, FileFaults, Unreadable
from synth.runtime.retrieval.corpus import Corpus, Segment
from synth.runtime.retrieval.folder import open_corpus
from synth.runtime.sources.faults import NoRows, Unusable
from synth.runtime.sources.ingest import ReadSource, known_version, read_sources, version_before
from synth.runtime.sources.rows.spool import RowSpool
from synth.store.dataset.inputs.sources import reader_digest
from synth.store.log.log import Log
from synth.store.log.source_payloads import SourceFile

# Of how passages are made and logged.
READING = 1


async def read_tables(
    plan: Plan,
    log: Log,
    allowed: Sequence[Path] = (),
    stopping: Callable[[], bool] = lambda: False,
    names: Container[str] | None = None,
) -> list[ReadSource]:
    """Reads all that a plan has from outside and the log does not have: rows, conversations and the passages
    that conversations are over; with `names` those sources alone.  Logs nothing; `ingest` does that with
    each.

    Those that are not yet read when `stopping` says so are left out.  Raises ConfigError, in one sentence,
    for a source that does not hold.
    """
    return [
        *await read_sources(plan, log, allowed, stopping, names),
        *await read_passages(plan, log, allowed, stopping, names),
    ]


async def read_passages(
    plan: Plan,
    log: Log,
    allowed: Sequence[Path] = (),
    stopping: Callable[[], bool] = lambda: False,
    names: Container[str] | None = None,
) -> list[ReadSource]:
    """Reads each source of chunks that a conversation is over, or those among some `names`, unless the log
    has it; logs nothing.

    Those that are not yet read when `stopping` says so are left out.  Raises ConfigError, in one sentence,
    for documents that cannot be read and where there are none.
    """
    found = []
    for source in plan.sources:
        if source.type != "chunk" or source.name not in plan.tables:
            continue
        if names is not None and source.name not in names:
            continue
        read = await _read(plan, source, log, allowed, stopping)
        if read is None:
            break
        found.append(read)
    return found


async def _read(
    plan: Plan, source: SourcePlan, log: Log, allowed: Sequence[Path], stopping: Callable[[], bool]
) -> ReadSource | None:
    corpus = await asyncio.to_thread(open_corpus, source, plan.folder, allowed)
    segments, warnings = await asyncio.to_thread(corpus.segments)
    reader = reader_digest(plan, source)
    version = digest([READING, reader, corpus.settings, [[each.name, each.stamp] for each in segments]])
    names = [segment_name(corpus, each) for each in segments]
    known, current, there = await asyncio.to_thread(known_version, plan, source, version, log)
    if known is not None:
        return ReadSource(
            source, reader, version, known.rows, known.shape, known.files, known.rows, current,
            reading=READING, warnings=tuple(warnings),
            before=version_before(plan, source, version, names, log),
        )  # fmt: skip
    spool, faults = RowSpool(source.name, version), FileFaults(corpus.label)
    empty: list[str] = []
    for segment in segments:
        await asyncio.to_thread(_segment, corpus, segment, spool, faults, empty)
        if stopping():
            return None
    faults.raise_any()
    if not spool.rows:
        raise NoRows(f"no document in {quoted(corpus.label, 200)} holds any text: check what is in them")
    spool.conclude()
    if empty:
        first = visible(min(empty))
        warnings.append(
            f"`{first}` holds no text and is left out"
            if len(empty) == 1
            else f"{len(empty)} documents hold no text and are left out: the first is `{first}`"
        )
    return ReadSource(
        source, reader, version, spool.rows, "passages",
        tuple(_file(corpus, segment) for segment in segments), there,
        again=spool.logged, reading=READING, warnings=tuple(warnings),
        before=version_before(plan, source, version, names, log),
    )  # fmt: skip


def _segment(corpus: Corpus, segment: Segment, spool: RowSpool, faults: FileFaults, empty: list[str]) -> None:
    """The passages of one part, into the spool."""
    file = canonical_json(segment_name(corpus, segment))
    number = 0
    try:
        for passages in corpus.read(segment):
            if not passages.chunks:
                empty.append(passages.document)
            for chunk in passages.chunks:
                number += 1
                values = {"text": chunk.text, "document": chunk.document, "heading": chunk.heading}
                by = {"document": chunk.document, "text": chunk.text}
                spool.add(file, number, values, dict(chunk.metadata), named_by=by)
    except Unreadable as fault:
        faults.add(segment.name, fault.what, fault.remedy)
    except Unusable as unusable:
        faults.add(segment.name, unusable.fault.what, "mend it there")


def segment_name(corpus: Corpus, segment: Segment) -> str:
    """How the log names a part of some documents."""
    return f"{corpus.label.rstrip('/')}/{visible(segment.name)}"


def _file(corpus: Corpus, segment: Segment) -> SourceFile:
    """What a part was read from; a table has no size."""
    size = segment.origin.path.stat().st_size if isinstance(segment.origin, File) else 0
    return SourceFile(path=segment_name(corpus, segment), bytes=size, sha256=segment.stamp)
