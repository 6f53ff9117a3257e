"""Asking an index: order, bounds on documents, variety, samples, hostile queries."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth.base.errors import CallFailed, EngineDied
from synth.compiler.stdlib.filters import cited, numbered
from synth.runtime.retrieval import vectors as vectors_module
from synth.runtime.retrieval.errors import RetrievalShort
from synth.runtime.retrieval.index import Index, Query, open_index
from tests.documents.helpers import lay
from tests.kit.support import ROOT, environment
from tests.retrieval.helpers import Counting, ask, corpus, ingest, run, simulated, source, with_index

SEARCHES = ("text", "vector", "hybrid")


def order(passages: Sequence[dict[str, Any]]) -> list[tuple[float, str]]:
    return [(-passage["score"], passage["id"]) for passage in passages]


@pytest.mark.parametrize("search", SEARCHES)
def test_passages_come_best_first_and_are_json(university: Path, search: str) -> None:
    passages = ask(university, source(search), "biaya kuliah", simulated(), top_k=3)
    assert passages[0]["document"] == "biaya/s1.md"
    assert order(passages) == sorted(order(passages))
    assert json.loads(json.dumps(passages)) == passages
    assert set(passages[0]) == {"id", "document", "heading", "text", "metadata", "score"}
    assert passages[0]["metadata"] == {"folder": "biaya"}
    assert numbered(passages).startswith("[1] Biaya kuliah\n\nBiaya S1")
    assert cited(passages).startswith("(biaya/s1.md)\n")


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("BIAYA KULIAH", "biaya/s1.md"),
        ("انا", "umum.md"),
        ("أنا", "umum.md"),
        ("هَيثم", "umum.md"),
        ("quran", "beasiswa/tahfidz.md"),
        ("tiga-kali!", "biaya/cicilan.md"),
    ],
)
def test_words_are_found_however_they_are_written(university: Path, query: str, document: str) -> None:
    assert ask(university, source(), query, top_k=1)[0]["document"] == document


@pytest.mark.parametrize("search", SEARCHES)
def test_the_best_are_the_same_at_any_depth(tmp_path: Path, search: str) -> None:
    """Many scores are equal here, and the table would give any of them."""
    folder = lay(tmp_path, corpus(60))

    async def go(index: Index) -> None:
        await index.ingest()
        for query in ("kata1 kata2", "kata7", "kata3 kata50 kata9"):
            longest = await index.retrieve(query, top_k=120)
            assert len(longest) > 30
            assert len({passage["score"] for passage in longest}) < len(longest)
            for top_k in (1, 2, 3, 7, 30, 59):
                shorter = await index.retrieve(query, top_k=top_k)
                if search != "hybrid":
                    assert shorter == longest[:top_k]
                assert order(shorter) == sorted(order(shorter))

    with_index(folder, source(search), go, simulated())


@pytest.mark.parametrize("search", SEARCHES)
def test_passages_come_from_as_many_documents_as_are_asked_for(tmp_path: Path, search: str) -> None:
    folder = lay(tmp_path, corpus(20))

    async def go(index: Index) -> None:
        await index.ingest()
        for low, high in ((1, None), (2, None), (3, 3), (None, 1), (1, 2), (4, None)):
            passages = await index.retrieve("kata1 kata2 kata3", top_k=4, documents=(low, high))
            documents = {passage["document"] for passage in passages}
            assert (low or 1) <= len(documents) <= (high or 4)
            if high != 1:
                assert len(passages) == 4

    with_index(folder, source(search), go, simulated())


def test_further_documents_are_looked_for_as_deep_as_it_takes(tmp_path: Path) -> None:
    many = " ".join(f"biaya kuliah nomor {n}.\n\n" for n in range(1200))
    folder = lay(
        tmp_path, {"synth.toml": "", "docs/a.md": many, "docs/b.md": "sekali biaya " + "kata " * 150}
    )
    plan = source()
    passages = ask(folder, plan, "biaya kuliah", top_k=3, documents=(2, None))
    assert Tally(passage["document"] for passage in passages) == {"a.md": 2, "b.md": 1}


def test_too_few_documents_or_passages_is_a_reason(university: Path) -> None:
    async def go(index: Index) -> list[str]:
        await index.ingest()
        asked: list[dict[str, Any]] = [
            {"query": "kamar", "documents": (2, None)},
            {"query": "tuition fees"},
            {"query": "biaya", "where": "folder = 'nowhere'"},
            {"query": " \n"},
            {"query": "?!"},
            {"query": "biaya", "documents": (3, 2)},
            {"query": "biaya", "top_k": 2, "documents": (3, None)},
        ]
        reasons = []
        for arguments in asked:
            with pytest.raises(RetrievalShort) as caught:
                await index.retrieve(**arguments)
            reasons.append(str(caught.value))
        return reasons

    assert with_index(university, source(), go) == [
        "`docs` has passages about `kamar` in 1 document, and at least 2 are asked for",
        "`docs` has nothing about `tuition fees`",
        "`docs` has nothing about `biaya` under that filter",
        "`docs` was asked for passages about nothing: the query is empty",
        "`docs` has nothing about `?!`",
        "`docs`: 3 passages from 3..2 documents cannot be",
        "`docs` has passages about `biaya` in 3 documents, and at least 3 are asked for",
    ]


def test_variety_gives_each_sample_passages_of_its_own(tmp_path: Path) -> None:
    folder = lay(tmp_path, corpus(60))

    async def go(index: Index) -> None:
        await index.ingest()
        best = {passage["id"] for passage in await index.retrieve("kata1 kata2", top_k=24)}
        seen = set()
        for ordinal in range(85):
            passages = await index.retrieve("kata1 kata2", documents=(2, None), variety=ordinal)
            assert passages == await index.retrieve("kata1 kata2", documents=(2, None), variety=ordinal)
            assert len({passage["document"] for passage in passages}) >= 2
            assert order(passages) == sorted(order(passages))
            seen.add(tuple(passage["id"] for passage in passages))
            assert {passage["id"] for passage in passages} <= best
        assert len(seen) > 70

    with_index(folder, source("hybrid"), go, simulated())


def test_samples_are_drawn_for_a_seed(tmp_path: Path) -> None:
    folder = lay(tmp_path, corpus(30))

    async def go(index: Index) -> None:
        await index.ingest()
        drawn = [await index.sample(2, seed=seed) for seed in range(120)]
        tally = Tally(passage["id"] for passages in drawn for passage in passages)
        assert len(tally) > 55
        assert await index.sample(3, seed=5) == await index.sample(3, seed=5)
        assert len({passage["id"] for passage in await index.sample(60, seed=1)}) == 60
        with pytest.raises(RetrievalShort, match="has 60 such passages, and 61 are asked for"):
            await index.sample(61)
        nearest = {passage["id"] for passage in await index.retrieve("kata1 kata2", top_k=20)}
        about = [await index.sample(2, "kata1 kata2", seed) for seed in range(40)]
        assert all({passage["id"] for passage in passages} <= nearest for passages in about)
        assert len({tuple(passage["id"] for passage in passages) for passages in about}) > 20
        with pytest.raises(RetrievalShort, match="has 0 passages about `nothing`"):
            await index.sample(1, "nothing")

    with_index(folder, source(), go)


def test_asking_side_by_side_gives_what_asking_in_turn_does(tmp_path: Path) -> None:
    folder = lay(tmp_path, corpus(30))
    embedder = Counting()
    queries = [
        Query(f"kata{n % 12} kata{n % 7}", 3, (2, None), None if n % 2 else "folder = 'f1'", n)
        for n in range(200)
    ]
    queries.append(Query("", 3))

    async def go(index: Index) -> None:
        await index.ingest()
        embedder.asked.clear()
        together = await index.retrieve_many(queries)
        assert len(embedder.texts) == len(set(embedder.texts)) == len({query.text for query in queries}) - 1
        assert len(embedder.asked) < len(embedder.texts)
        assert isinstance(together[-1], RetrievalShort)
        for query, passages in zip(queries[:-1], together[:-1], strict=True):
            assert passages == await index.retrieve(
                query.text, query.top_k, query.documents, query.where, query.variety
            )

    with_index(folder, source("hybrid"), go, embedder)
    again = Counting()
    with_index(folder, source("hybrid"), lambda index: go_again(index, queries), again)
    assert again.asked == []


async def go_again(index: Index, queries: list[Query]) -> None:
    await index.ingest()
    await index.retrieve_many(queries)


def test_a_cancelled_asker_takes_nothing_from_the_others(university: Path) -> None:
    async def go(index: Index) -> None:
        await index.ingest()
        first = asyncio.ensure_future(index.retrieve("biaya"))
        second = asyncio.ensure_future(index.retrieve("biaya"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)[0]["document"] == "biaya/s1.md"
        with pytest.raises(asyncio.CancelledError):
            await first

    with_index(university, source("hybrid"), go, Counting())


def test_a_service_that_stutters_is_asked_again(university: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "backoff", lambda *_: 0.0)

    def fault(asked: int) -> Exception | None:
        return CallFailed("rate_limit", "slow down", retryable=True) if asked % 2 else None

    embedder = Counting(fault=fault)
    assert ask(university, source("vector"), "biaya", embedder)
    dead = Counting("dead", lambda asked: CallFailed("server", "down", retryable=True))
    monkeypatch.undo()
    monkeypatch.setattr("synth.runtime.service.patience.PATIENCE_S", 0.5)
    with pytest.raises(EngineDied, match=r"has not answered \d tries in a row .last: down.; .* --patience"):
        ingest(university, source("vector"), dead)
    assert 1 < len(dead.asked) < 9


HOSTILE = [
    "\0",
    "\ud800",
    "\u202e",
    "a" * 1_000_000,
    "x " * 200_000,
    "' OR 1=1 --",
    "{{ x }}",
    "a\nb",
    '*?~^:"()[]',
]


@pytest.mark.parametrize("search", SEARCHES)
def test_hostile_queries_break_nothing(university: Path, search: str) -> None:
    async def go(index: Index) -> None:
        await index.ingest()
        for query in HOSTILE:
            (answer,) = await index.retrieve_many([Query(query + " biaya")])
            assert len(str(answer)) < 300 if isinstance(answer, RetrievalShort) else answer

    with_index(university, source(search), go, simulated())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(queries=st.lists(st.text(max_size=30), min_size=1, max_size=20))
def test_any_text_can_be_asked(university: Path, queries: list[str]) -> None:
    async def go(index: Index) -> None:
        await index.ingest()
        for answer in await index.retrieve_many([Query(query) for query in queries]):
            assert isinstance(answer, RetrievalShort) or order(answer) == sorted(order(answer))

    with_index(university, source("hybrid"), go, simulated())


THREADS = """
import asyncio, json, sys
from pathlib import Path
from tests.retrieval.helpers import simulated, source, with_index

async def go(index):
    report = await index.ingest()
    found = [
        await index.retrieve(f"kata{n} kata{n * 3 % 60}", 5, (2, None), None, n) for n in range(40)
    ]
    return [report.digest, found, await index.sample(3, "kata1", 4)]

print(json.dumps(with_index(Path(sys.argv[1]), source("hybrid"), go, simulated())))
"""


@pytest.mark.slow
def test_the_order_is_the_same_at_one_and_at_four_threads(tmp_path: Path) -> None:
    answers = []
    for threads in ("1", "4"):
        folder = lay(tmp_path / threads, corpus(80))
        limits = dict.fromkeys(("LANCE_CPU_THREADS", "TOKIO_WORKER_THREADS", "RAYON_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", THREADS, str(folder)],
            cwd=ROOT,
            env=environment({**limits, "OMP_NUM_THREADS": threads}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stderr == ""
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1]
    assert len(answers[0][1]) == 40


def test_what_is_asked_before_it_is_made_is_a_mistake_of_ours(university: Path) -> None:
    async def go() -> None:
        index = open_index(source(), university)
        try:
            with pytest.raises(RuntimeError, match="neither ingested nor loaded"):
                await index.retrieve("biaya")
        finally:
            await index.close()

    run(go())
    assert not os.path.exists(university / "index")
