"""Bringing an index up to date with what it is made from, as one new version of its table.

All that changed is read first, so that a fault costs nothing; then what has no vector yet is
embedded; then the table is written.  Whatever a crash leaves half done, the next ingestion takes
back: the state names the version that holds, and is changed last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from synth.base.canonical import digest
from synth.base.display import quoted, visible
from synth.base.errors import ConfigError
from synth.compiler.plan.model import SourcePlan
from synth.runtime.documents import FileFaults, Unreadable
from synth.runtime.retrieval.corpus import Corpus, Segment
from synth.runtime.retrieval.lance import ChunkTable, open_table, tag, write
from synth.runtime.retrieval.spool import Keeper, Spool
from synth.runtime.retrieval.state import Part, Record, State
from synth.runtime.retrieval.vectors import OnProgress, Vectors

if TYPE_CHECKING:
    from lancedb import AsyncConnection, AsyncTable

# Of how passages are made and kept: another number makes every index anew.
FORMAT = 1

# Names of metadata that filters are checked against.
_MOST_KEYS = 500


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an index holds, and what came of its documents this time: `new` are those of files that
    are new or changed, `removed` those of files that are gone.  `embedded` texts were paid for."""

    documents: int
    chunks: int
    new: int
    unchanged: int
    removed: int
    version: int
    digest: str
    embedded: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingestion:
    """One source's corpus on its way into one table."""

    source: SourcePlan
    corpus: Corpus
    connection: AsyncConnection
    state: State
    vectors: Vectors | None
    full_text: bool

    async def run(self, on_progress: OnProgress) -> IngestReport:
        """Raises ConfigError for what cannot be read, EngineError where the embedder fails."""
        with self.state.writing():
            record, table = await self._recover()
            segments, warnings = await asyncio.to_thread(self.corpus.segments)
            known = self.state.parts(self.source.name) if record.version else {}
            settings = self._settings()
            content = digest([settings, sorted([segment.name, segment.stamp] for segment in segments)])[:16]
            if record.version and record.digest == content:
                return _report(record, list(known.values()), (), (), 0, warnings)
            keeper = Keeper(self.source.keep)
            if record.settings != settings or keeper.compares:
                table = None
            changed = [
                segment
                for segment in segments
                if table is None or segment.name not in known or known[segment.name].stamp != segment.stamp
            ]
            with Spool() as spool:
                fresh = await asyncio.to_thread(self._read, changed, keeper, spool)
                names = {segment.name for segment in segments} - fresh.keys()
                parts = [*(part for name, part in known.items() if name in names), *fresh.values()]
                self._require_passages(parts)
                embedded = 0
                if self.vectors is not None:
                    embedded = await self.vectors.embed_passages(spool.texts, on_progress)
                gone = [name for name in known if name not in names]
                keys = set(record.keys if table is not None else ()) | spool.keys
                table = await self._write(table, gone, spool)
            record = Record(
                version=await table.version(),
                settings=settings,
                digest=content,
                keys=tuple(sorted(keys)[:_MOST_KEYS]),
                embedder=self.vectors.name if self.vectors is not None else None,
            )
            await tag(table, f"synth-{content}", record.version)
            self.state.save(self.source.name, record, parts)
            removed = [known[name] for name in gone if name not in fresh]
            return _report(record, parts, list(fresh.values()), removed, embedded, warnings)

    async def _recover(self) -> tuple[Record, AsyncTable | None]:
        """What holds, and the table at that version.  Takes back what was written and not recorded."""
        name = self.source.name
        record, table = self.state.record(name), await open_table(self.connection, name)
        if record is None and table is not None:
            raise ConfigError(
                f"the index of `{name}` has a table of that name which is none of its own: "
                'give it another folder, remove that one, or read the table with the reader lancedb("...")'
            )
        if record is None:
            # Before the table itself: one that a crash leaves behind is then known to be ours.
            self.state.save(name, Record(), ())
        if record is None or record.version == 0 or table is None:
            return Record(), None
        if await table.version() != record.version:
            try:
                await table.checkout(record.version)
            except ValueError:
                return Record(), None
            await table.restore()
            record = replace(record, version=await table.version())
            self.state.save(name, record)
        return record, table

    def _settings(self) -> str:
        # Without what is new where it is not set, so that no index is made again for it.
        new = {"of": None, "source": ""}
        unset = [
            {name for name, default in new.items() if getattr(check, name) == default}
            for check in self.source.keep
        ]
        keep = [
            check.model_dump(mode="json", exclude=names)
            for check, names in zip(self.source.keep, unset, strict=True)
        ]
        embedder = self.vectors.name if self.vectors is not None else None
        return digest([FORMAT, self.corpus.settings, keep, self.full_text, embedder])

    def _read(self, segments: Sequence[Segment], keeper: Keeper, spool: Spool) -> dict[str, Part]:
        """The passages of some parts, into the spool.  Raises ConfigError when one cannot be read."""
        faults = FileFaults(self.corpus.label)
        parts: dict[str, Part] = {}
        for segment in segments:
            documents: set[str] = set()
            empty = chunks = 0
            try:
                for passages in self.corpus.read(segment):
                    if not passages.chunks:
                        empty += 1
                        continue
                    documents.add(passages.document)
                    for chunk, vector in passages.pairs():
                        if keeper.keeps(chunk):
                            spool.add(segment.name, chunk, vector)
                            chunks += 1
            except Unreadable as fault:
                faults.add(segment.name, fault.what, fault.remedy)
            parts[segment.name] = Part(segment.name, segment.stamp, len(documents), empty, chunks)
        faults.raise_any()
        return parts

    def _require_passages(self, parts: Collection[Part]) -> None:
        if any(part.chunks for part in parts):
            return
        label = quoted(self.corpus.label, 200)
        if any(part.documents for part in parts):
            raise ConfigError(
                f"source `{self.source.name}`: `keep` leaves no passage of {label}: ease its checks"
            )
        raise ConfigError(f"no document in {label} holds any text: check what is in them")

    async def _write(self, table: AsyncTable | None, gone: Sequence[str], spool: Spool) -> AsyncTable:
        vectors, dimension = self.vectors, spool.dimension()
        if vectors is not None and dimension is None:
            first = next(spool.texts(), None)
            dimension = len(vectors.passages([first])[0]) // 4 if first is not None else None
        if table is not None:
            dimension = await ChunkTable(table).dimension()
        return await write(
            self.connection,
            self.source.name,
            table,
            dimension=dimension,
            gone=gone,
            rows=lambda columns: spool.batches(columns, vectors.passages if vectors is not None else None),
            full_text=self.full_text,
        )


def _report(
    record: Record,
    parts: Sequence[Part],
    fresh: Iterable[Part],
    removed: Iterable[Part],
    embedded: int,
    warnings: Sequence[str],
) -> IngestReport:
    documents, new = (sum(part.documents for part in counted) for counted in (parts, fresh))
    without = [part for part in parts if part.empty]
    if without:
        count = sum(part.empty for part in without)
        first = visible(min(part.name for part in without))
        warnings = [
            *warnings,
            f"{count} document{'s hold' if count > 1 else ' holds'} no text and "
            f"{'are' if count > 1 else 'is'} left out: {'the first in ' if count > 1 else ''}`{first}`",
        ]
    return IngestReport(
        documents=documents,
        chunks=sum(part.chunks for part in parts),
        new=new,
        unchanged=documents - new,
        removed=sum(part.documents for part in removed),
        version=record.version,
        digest=record.digest,
        embedded=embedded,
        warnings=tuple(warnings),
    )
