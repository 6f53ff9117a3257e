"""Services that lie: each lie costs calls, never the run, and nothing that was sent is written anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import synth
from synth.base.errors import CallFailed, EngineError
from synth.runtime.engines.base import EngineSpec
from synth.runtime.retrieval.embedders import open_embedder
from tests.kit.servers.lying import FIELDS, GEMINI, LIES, Exchange, LyingServer, fields
from tests.kit.support import query

KEY = "sk-lies-0123456789/abc+DEF=="
CUSTOM = "custom/secret+0987654321="
PLACE = "org-hidden-77"
RECIPE = """edition 1

recipe lies { seed = 7 }

model author: model<chat> from openai("large")

conversation talk times 3 {
  turn question: user = "Say something about number {{ nth }}."
  turn answer: model by author { prompt = "{{ question }}", max_tokens = 60, on_length = keep }
  train_on = [answer]
}

export train: messages from talk to "out/talk"
"""

# Lies after which the answer is sound.
HARMLESS = {
    *("chunks_with_trailers", "old_fashioned", "says_to_go_on", "odd_headers", "goes_on_speaking"),
    *("packed", "packed_raw", "packed_twice", "marked_order", "repeats_in_an_answer", "repeats_encoded"),
}
# What another client would read for itself.
OTHER = (
    *("bomb", "deep", "deep_objects", "error_429", "goes_on_for_ever", "leads_away_307", "odd_headers"),
    *("repeats_in_an_answer", "repeats_in_an_error", "wait_far"),
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Api-Key: {CUSTOM}")
    monkeypatch.setenv("OPENAI_ORG_ID", PLACE)
    for name in ("GOOGLE_API_KEY", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("synth.runtime.calls.retry.backoff", lambda *_: 0.01)
    monkeypatch.setattr("synth.runtime.service.patience.LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr("synth.runtime.engines.wire.bodies.MOST_BYTES", 4 << 20)


def run(folder: Path, server: LyingServer, backend: str = "openai", **options: Any) -> synth.RunReport:
    recipe = folder / "lies.recipe"
    recipe.write_text(RECIPE, "utf-8")
    place = (
        synth.OpenAI("m", base_url=f"{server.address}/v1", concurrency=2, timeout=0.5)
        if backend == "openai"
        else synth.Gemini("m", base_url=server.address, concurrency=2, timeout=0.5)
    )
    plan = synth.compile(recipe)
    return synth.run(plan, log=folder / "log.duckdb", models={"author": place}, patience=20, **options)


def payloads(folder: Path, kind: str) -> list[Mapping[str, Any]]:
    found = query(folder / "log.duckdb", "SELECT payload FROM events WHERE kind = ? ORDER BY seq", [kind])
    return [json.loads(payload) for (payload,) in found]


def assert_nothing_leaked(folder: Path, *said: str) -> None:
    written = [str(row) for row in query(folder / "log.duckdb", "SELECT * FROM events")]
    written += [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    for text in (*written, *said):
        for secret in (KEY, CUSTOM, PLACE):
            assert secret not in text
            assert secret.encode().hex() not in text


def assert_whole(folder: Path, report: synth.RunReport) -> None:
    assert report.outcome == "finished"
    assert len(payloads(folder, "sample.completed")) == 3
    texts = [event["text"] for event in payloads(folder, "call.completed")]
    assert not [text for text in texts if "Stale" in text]
    assert_nothing_leaked(folder, str(report), repr(report), str(report.counts))


@pytest.mark.parametrize("name", sorted(LIES))
def test_a_lie_costs_calls_and_not_the_run(tmp_path: Path, name: str) -> None:
    with LyingServer(LIES[name]) as server:
        report = run(tmp_path, server)
    assert_whole(tmp_path, report)
    failed = payloads(tmp_path, "call.failed")
    assert bool(failed) == (name not in HARMLESS), [event["message"] for event in failed]
    assert all(event["message"] for event in failed)


@pytest.mark.parametrize("name", OTHER)
def test_a_lie_to_the_other_client_costs_no_more(tmp_path: Path, name: str) -> None:
    with LyingServer(LIES[name]) as server:
        report = run(tmp_path, server, "gemini")
    assert_whole(tmp_path, report)
    assert bool(payloads(tmp_path, "call.failed")) == (name not in HARMLESS)


@pytest.mark.parametrize(
    ("backend", "lies", "name"),
    [
        *(("openai", FIELDS, name) for name in sorted(FIELDS)),
        *(("gemini", GEMINI, name) for name in sorted(GEMINI)),
    ],
)
def test_a_field_that_lies_is_left_out_and_told(tmp_path: Path, backend: str, lies: Any, name: str) -> None:
    with LyingServer(fields(lies, name)) as server:
        report = run(tmp_path, server, backend)
    assert_whole(tmp_path, report)
    odd = [said for event in payloads(tmp_path, "call.completed") for said in event.get("odd", ())]
    failed = payloads(tmp_path, "call.failed")
    if name.startswith(("tokens", "usage", "total", "model", "text_is_half")):
        assert len(odd) >= 2
        assert not failed
        tokens = query(tmp_path / "log.duckdb", "SELECT max(prompt_tokens), min(prompt_tokens) FROM events")
        assert max(tokens[0]) < 100
        assert min(tokens[0]) > 0
    elif name not in ("text_in_parts", "thinks_again_and_again", "thinks_deeply", "keys_twice"):
        assert failed
    assert all(len(said) < 400 and said.isprintable() for said in odd)


def test_what_leads_away_gets_nothing_and_says_so(tmp_path: Path) -> None:
    with LyingServer(LIES["status_500"], times=0) as other:

        async def away(exchange: Exchange) -> None:
            place = f"Location: http://localhost:{other.port}/v1/chat/completions"
            await exchange.reply(b"", 307, place)

        for backend in ("openai", "gemini"):
            folder = tmp_path / backend
            folder.mkdir()
            with LyingServer(away, times=1000) as server, pytest.raises(EngineError) as caught:
                run(folder, server, backend)
            said = str(caught.value)
            assert f"sends its callers to `localhost:{other.port}` (307)" in said
            assert "set base_url" in said
            assert_nothing_leaked(folder, said)
        assert other.seen == []


@pytest.mark.parametrize("name", ["deep", "page", "bomb", "speaks_tls", "error_401", "status_204"])
def test_a_service_that_only_lies_ends_a_run_with_a_sentence(tmp_path: Path, name: str) -> None:
    with LyingServer(LIES[name], times=10**6) as server:
        try:
            report = run(tmp_path, server)
        except EngineError as error:
            said = str(error)
        else:
            assert report.outcome == "stuck"
            said = report.reason
        assert len(server.seen) < 100
    assert "\n" not in said
    assert_nothing_leaked(tmp_path, said)


VECTORS: Mapping[str, Any] = {
    "no_numbers": [["a", "b", "c"]],
    "not_a_number": [[float("nan"), 1.0, 1.0]],
    "too_large": [[1e308, 1.0, 1.0]],
    "endless": [[float("inf"), 1.0, 1.0]],
    "true": [[True, 1.0, 1.0]],
    "nested": [[[1.0], [1.0], [1.0]]],
    "nothing": [[]],
    "zeros": [[0.0, 0.0, 0.0]],
    "words": ["AACAPwAAgD8="],
    "too_many": [[1.0, 2.0, 3.0]] * 3,
    "of_two_lengths": [[1.0, 2.0, 3.0], [1.0, 2.0]],
    "null": None,
}


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_vectors_that_lie_are_a_failed_call(name: str) -> None:
    import asyncio

    async def tell(exchange: Exchange) -> None:
        rows = VECTORS[name]
        data = rows and [{"index": n, "embedding": vector} for n, vector in enumerate(rows)]
        await exchange.reply(json.dumps({"data": data}).encode())

    async def embed(server: LyingServer) -> list[list[float]]:
        options = {"base_url": f"{server.address}/v1"}
        embedder = open_embedder(EngineSpec("embedder", "openai", "m", options=options))
        await embedder.start()
        try:
            for _ in range(2):
                with pytest.raises(CallFailed) as caught:
                    await embedder.embed(["one", "two"], "passage")
                assert caught.value.kind == "malformed"
            return [list(vector) for vector in await embedder.embed(["one", "two"], "passage")]
        finally:
            await embedder.close()

    with LyingServer(tell) as server:
        assert asyncio.run(embed(server)) == [[1.0, 0.5, 0.0], [1.0, 0.5, 1.0]]


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{KEY}@127.0.0.1:9/v1",
        f"http://{KEY}@127.0.0.1:9",
        f"https://api.example/v1?key={KEY}",
        f"https://api.example/v1#{KEY}",
        f"ftp://api.example/{KEY}",
        f"http://api.example:port/{KEY}",
        f"http:///{KEY}",
    ],
)
def test_an_address_that_holds_more_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    recipe = tmp_path / "lies.recipe"
    recipe.write_text(RECIPE, "utf-8")
    plan = synth.compile(recipe)
    go = partial(synth.run, plan, log=tmp_path / "log.duckdb")
    said = []
    for place in (synth.OpenAI, synth.Gemini):
        with pytest.raises(EngineError, match="`base_url`") as caught:
            place("m", base_url=address)
        said.append(str(caught.value))
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(EngineError, match="OPENAI_BASE_URL") as caught:
        go(models={"author": synth.OpenAI("m")})
    for sentence in (*said, str(caught.value)):
        assert KEY not in sentence
        assert "\n" not in sentence
