"""An index over a source's passages: brought up to date, then asked."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synth.base.display import quoted, visible
from synth.base.errors import ConfigError, EngineError
from synth.base.text import valid_text
from synth.compiler.plan.model import SourcePlan
from synth.compiler.stdlib.checks.fold import fold
from synth.runtime.documents.paths import inside_project
from synth.runtime.events.budget import RunBudget
from synth.runtime.retrieval.corpus import Corpus
from synth.runtime.retrieval.embedders import Embedder, default_embedder
from synth.runtime.retrieval.errors import RetrievalShort
from synth.runtime.retrieval.folder import open_corpus
from synth.runtime.retrieval.ingest import Ingestion, IngestReport
from synth.runtime.retrieval.lance import ChunkTable, connect, open_table, require_lancedb
from synth.runtime.retrieval.pick import BREADTH, Hit, draw, fuse, pick, vary
from synth.runtime.retrieval.shared import Shared
from synth.runtime.retrieval.state import FILE_NAME, Record, State
from synth.runtime.retrieval.vectors import OnProgress, Vectors
from synth.runtime.retrieval.where import to_sql
from synth.runtime.service.patience import Patience

if TYPE_CHECKING:
    from lancedb import AsyncConnection

Found = TypeVar("Found")
Passage = dict[str, Any]

# A ranking is made at least this deep, and four times as deep when it turns out too short.
_DEPTH = 64
# In characters; what a turn says may be long, and an embedder reads every window of it.
_LONGEST_QUERY = 8_000
# Further than this nothing is about the query: fewer passages are given then.
_DEEPEST = 4096
# What is held in memory: hits of rankings at some 200 bytes, ids at 20, passages at some kilobytes.
_MOST_HITS = 200_000
_MOST_IDS = 2_000_000
_MOST_PASSAGES = 4096


@dataclass(frozen=True, slots=True)
class Query:
    """What `retrieve` is asked for; `documents` bounds how many the passages come from."""

    text: str
    top_k: int = 3
    documents: tuple[int | None, int | None] = (None, None)
    where: str | None = None
    variety: int | None = None


def open_index(
    source: SourcePlan, folder: Path, allowed: Sequence[Path] = (), embedder: Embedder | None = None
) -> Index:
    """The index of a source of chunks; paths are relative to `folder`, the recipe's.

    A source without `index` is searched by full text, in memory.  One that searches by vectors
    without an `embedder` gets the packaged model.  Nothing is read or loaded yet.  Raises
    ConfigError for paths, splitters and packages that cannot be used, EngineError for an embedder.
    """
    require_lancedb()
    arguments: Mapping[str, Any] = source.index.arguments if source.index is not None else {}
    search = str(arguments.get("search", "text"))
    corpus = open_corpus(source, folder, allowed)
    place = None
    if source.index is not None:
        place = inside_project(folder, str(arguments["uri"]), allowed, f"the index of `{source.name}`")
        if place.exists() and not place.is_dir():
            raise ConfigError(f"the index of `{source.name}`: {quoted(str(arguments['uri']), 200)} is a file")
    if search == "text":
        embedder = None
    elif embedder is None:
        try:
            embedder = default_embedder()
        except EngineError as error:
            raise ConfigError(f'the index of `{source.name}` has search = "{search}": {error}') from None
    return Index(source, corpus, place, search, embedder)


class Index:
    """Opened by `open_index`.  Before it is asked it is to be ingested, or loaded as it is.

    Answers depend on the version, the arguments and nothing else: not on threads, on what was
    asked before, or on how the table came to hold what it holds.
    """

    def __init__(
        self, source: SourcePlan, corpus: Corpus, place: Path | None, search: str, embedder: Embedder | None
    ) -> None:
        self.name = source.name
        self.search = search
        self.version = 0
        self.digest = ""
        self._source = source
        self._corpus = corpus
        self._place = place
        self._embedder = embedder
        # What it waits for an embedder by: the run's bounds, and patience.
        self.stop: RunBudget | None = None
        self.patience = Patience.of()
        self._connection: AsyncConnection | None = None
        self._state: State | None = None
        self._vectors: Vectors | None = None
        self._table: ChunkTable | None = None
        self._record = Record()
        self._rankings: Shared[Hit] = Shared(_MOST_HITS)
        self._passages: OrderedDict[str, Passage] = OrderedDict()
        self._ids: Shared[str] = Shared(_MOST_IDS)

    async def ingest(self, on_progress: OnProgress = lambda done, total: None) -> IngestReport:
        """Reads what is new or changed, and makes that a version; nothing where nothing changed.

        `on_progress` is told how many texts are embedded, of how many.  Raises ConfigError, in one
        sentence, for documents that cannot be used, and EngineError where the embedder fails.  It
        may be cancelled: vectors that were made are kept.
        """
        with self._as_config_error():
            connection, state = await self._open(create=True)
            ingestion = Ingestion(
                self._source, self._corpus, connection, state, self._vectors, self.search != "vector"
            )
            report = await ingestion.run(on_progress)
            await self.load()
        return report

    async def load(self, version: int | None = None) -> None:
        """Makes a version the one that is asked, the newest ingested by default; reads no documents.

        Raises ConfigError when there is none, or not that one.
        """
        with self._as_config_error():
            connection, state = await self._open(create=False)
            record = state.record(self.name)
            table = await open_table(connection, self.name) if record and record.version else None
            if record is None or table is None:
                raise ConfigError(f"the index of `{self.name}` has not been made yet: run the recipe first")
            try:
                await table.checkout(record.version if version is None else version)
            except ValueError:
                missing = version or record.version
                raise ConfigError(
                    f"the index of `{self.name}` has no version {missing}: run the recipe again"
                ) from None
            self._record, self._table = record, ChunkTable(table)
            self.version, self.digest = version or record.version, record.digest
            await self._rankings.clear()
            self._passages.clear()
            await self._ids.clear()

    async def retrieve(
        self,
        query: str,
        top_k: int = 3,
        documents: tuple[int | None, int | None] = (None, None),
        where: str | None = None,
        variety: int | None = None,
    ) -> list[Passage]:
        """The passages nearest to a query, best first, each with id, document, heading, text,
        metadata and score.  Of a long query the first 8,000 characters count.

        `variety` is a number of the sample's own: with it the passages are drawn for that number
        from the best `8 * top_k`, the better ones more often, so that samples with one query do
        not all see the same.  Fewer than `top_k` are given where the filter or the words leave
        fewer.  Raises RetrievalShort where there is none, or too few documents; BadFilter.
        """
        text = _cut(query)
        low, high = documents
        low = max(low or 1, 1)
        if top_k < 1 or (high is not None and high < low):
            raise RetrievalShort(f"`{self.name}`: {top_k} passages from {low}..{high} documents cannot be")
        if not text.strip():
            raise RetrievalShort(f"`{self.name}` was asked for passages about nothing: the query is empty")
        sql = self._sql(where)
        depth = _deep_enough(top_k * (BREADTH if variety is not None else 1))
        while True:
            ranking = await self._ranking(text, sql, depth)
            complete = len(ranking) < depth
            order = ranking if variety is None else vary(ranking, top_k, (text, variety))
            chosen = pick(order, top_k, low, high)
            if chosen is not None and (complete or len(chosen) == top_k or depth >= _DEEPEST):
                break
            if complete:
                raise self._short(text, sql, ranking, low)
            depth *= 4
        if not chosen:
            raise self._short(text, sql, ranking, low)
        return await self._passages_of(sorted(chosen, key=lambda hit: hit.order))

    async def retrieve_many(self, queries: Sequence[Query]) -> list[list[Passage] | RetrievalShort]:
        """`retrieve` for each query, side by side; what one has too little for is its own."""

        async def one(query: Query) -> list[Passage] | RetrievalShort:
            try:
                return await self.retrieve(
                    query.text, query.top_k, query.documents, query.where, query.variety
                )
            except RetrievalShort as short:
                return short

        return list(await asyncio.gather(*map(one, queries)))

    async def sample(
        self, count: int = 1, about: str | None = None, seed: int = 0, where: str | None = None
    ) -> list[Passage]:
        """`count` passages drawn for a seed: from all, or with `about` from the `10 * count` nearest.

        Raises RetrievalShort where there are fewer, BadFilter.
        """
        sql = self._sql(where)
        if about is not None:
            text = _cut(about)
            nearest = await self._ranking(text, sql, 10 * count) if text.strip() else []
            if len(nearest) < count:
                raise RetrievalShort(
                    f"`{self.name}` has {len(nearest)} passages about {quoted(text, 80)}, "
                    f"and {count} are asked for"
                )
            places = draw(count, len(nearest), (self.name, text, seed))
            return await self._passages_of([nearest[place] for place in sorted(places)])
        ids: Any = await self._ids.get(sql, lambda: self._all_ids(sql))
        if len(ids) < count:
            raise RetrievalShort(f"`{self.name}` has {len(ids)} such passages, and {count} are asked for")
        drawn = [ids[place].as_py() for place in draw(count, len(ids), (self.name, seed))]
        return await self._passages_of([Hit(id_, "", 0.0) for id_ in drawn])

    @property
    def waiting_for(self) -> list[str]:
        """What is to be said of an embedder that does not answer."""
        return [] if self._vectors is None else self._vectors.waiting_for

    async def close(self) -> None:
        """Closes what was opened; the index is of no use afterwards."""
        await self._rankings.clear()
        await self._ids.clear()
        if self._vectors is not None:
            await self._vectors.close()
        if self._state is not None:
            self._state.close()
        if self._connection is not None:
            self._connection.close()

    async def _open(self, *, create: bool) -> tuple[AsyncConnection, State]:
        if self._connection is None or self._state is None:
            if not create and self._place is not None and not (self._place / FILE_NAME).is_file():
                raise ConfigError(f"the index of `{self.name}` has not been made yet: run the recipe first")
            self._state = State(self._place)
            self._connection = await connect(self._place)
            if self._embedder is not None:
                self._vectors = Vectors(self._embedder, self._state, self.stop, self.patience)
        return self._connection, self._state

    async def _ranking(self, text: str, sql: str | None, depth: int) -> Sequence[Hit]:
        """The best `depth` hits, or all."""
        return await self._rankings.get((text, sql, depth), lambda: self._rank(text, sql, depth))

    async def _all_ids(self, sql: str | None) -> Any:
        table = self._ready_table()
        with self._as_config_error():
            return await table.ids(sql)

    async def _rank(self, text: str, sql: str | None, depth: int) -> list[Hit]:
        table, rankings = self._ready_table(), []
        # First of all, so that those who ask at once are embedded together.
        vector = await self._vectors.query(text) if self._vectors is not None else None
        with self._as_config_error():
            if self.search != "vector":
                rankings.append(await table.search_text(fold(text), depth, sql))
            if vector is not None:
                rankings.append(await table.search_vector(vector, depth, sql))
        return fuse(rankings)[:depth] if len(rankings) > 1 else rankings[0]

    async def _passages_of(self, hits: Sequence[Hit]) -> list[Passage]:
        # Taken now: while others are fetched these may be forgotten.
        known = {hit.id: self._passages[hit.id] for hit in hits if hit.id in self._passages}
        missing = [hit.id for hit in hits if hit.id not in known]
        if missing:
            table = self._ready_table()
            with self._as_config_error():
                fetched = await table.fetch(missing)
            known.update(fetched)
            self._passages.update(fetched)
            while len(self._passages) > _MOST_PASSAGES:
                self._passages.popitem(last=False)
        passages = ((known[hit.id], hit.score) for hit in hits)
        return [
            {**passage, "metadata": dict(passage["metadata"]), "score": score} for passage, score in passages
        ]

    def _ready_table(self) -> ChunkTable:
        if self._table is None:
            raise RuntimeError("the index is neither ingested nor loaded")
        return self._table

    def _sql(self, where: str | None) -> str | None:
        if where is None or not where.strip():
            return None
        return to_sql(valid_text(where), self._record.keys, self.name)

    def _short(self, text: str, sql: str | None, ranking: Sequence[Hit], low: int) -> RetrievalShort:
        documents = len({hit.document for hit in ranking})
        where = " under that filter" if sql is not None else ""
        if documents == 0:
            return RetrievalShort(f"`{self.name}` has nothing about {quoted(text, 80)}{where}")
        return RetrievalShort(
            f"`{self.name}` has passages about {quoted(text, 80)}{where} in {documents} "
            f"document{'s' * (documents != 1)}, and at least {low} are asked for"
        )

    @contextmanager
    def _as_config_error(self) -> Iterator[None]:
        """What the store's library raises, as one sentence."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            place = visible(str(self._place)) if self._place is not None else "in memory"
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"the index of `{self.name}` ({place}) cannot be used ({reason}): "
                "check that the folder can be written, or remove it to have it made again"
            ) from error


def _cut(query: str) -> str:
    return valid_text(query)[:_LONGEST_QUERY]


def _deep_enough(count: int) -> int:
    depth = _DEPTH
    while depth < count:
        depth *= 4
    return depth
