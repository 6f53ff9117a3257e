"""The loopback servers themselves: benchmarks and crash tests believe what they count."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.runtime.engines.hosted.openai import OpenAIEngine
from tests.kit.servers.answers import instance, sentence
from tests.kit.servers.asking import SECRET, ask, call, failure, spec
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.gemini import GeminiServer
from tests.kit.servers.openai import OpenAIServer


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def door(server: OpenAIServer) -> OpenAIEngine:
    return OpenAIEngine(spec("openai", base_url=server.base_url))


@given(st.text())
def test_a_sentence_meets_simple_needs(seed: str) -> None:
    text = sentence(seed)
    assert text.startswith("You are ")
    assert 40 <= len(text) <= 200
    assert re.fullmatch(r"[^.]+\.", text)
    assert text == sentence(seed)
    assert text != sentence(f"{seed}.")


SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.deferred(
    lambda: st.one_of(
        st.builds(
            lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
            st.integers(0, 300),
            st.integers(0, 300),
        ),
        st.builds(
            lambda least, more: {"type": "integer", "minimum": least, "maximum": least + more},
            st.integers(-50, 50),
            st.integers(0, 9),
        ),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 3}, {"enum": ["user", "model"]}]),
        st.builds(
            lambda items, least, more: {
                "type": "array",
                "items": items,
                "minItems": least,
                "maxItems": least + more,
            },
            SCHEMAS,
            st.integers(0, 4),
            st.integers(0, 4),
        ),
        st.builds(
            lambda parts: {
                "type": "object",
                "properties": parts,
                "required": sorted(parts),
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from("abc"), SCHEMAS),
        ),
        st.builds(lambda part: {"anyOf": [part, {"type": "null"}]}, SCHEMAS),
    )
)


@given(SCHEMAS, st.text())
def test_an_instance_fits_its_schema(schema: dict[str, Any], seed: str) -> None:
    jsonschema.validate(instance(schema, seed), schema)


def test_a_list_of_messages_takes_turns() -> None:
    message = {"type": "object", "properties": {"role": {"enum": ["user", "model"]}}}
    made = instance({"type": "array", "items": message, "minItems": 3, "maxItems": 8}, "seed")
    assert [one["role"] for one in made] == ["user", "model", "user", "model"]


def test_faults_come_at_their_rates_and_do_not_depend_on_arrival() -> None:
    plan = FaultPlan({"rate_limit": 0.1, "drop": 0.2, "fenced": 0.3}, seed=3)
    drawn = [plan.draw(n, f"key {n}", 0, wants_json=True) for n in range(5_000)]
    shares = {fault: times / 5_000 for fault, times in Counter(drawn).items()}
    assert shares == pytest.approx({"rate_limit": 0.1, "drop": 0.2, "fenced": 0.3, None: 0.4}, abs=0.03)
    assert drawn == [plan.draw(0, f"key {n}", 0, wants_json=True) for n in range(5_000)]
    tried_again = [plan.draw(n, f"key {n}", 1, wants_json=True) for n in range(5_000)]
    assert sum(a == b == "drop" for a, b in zip(drawn, tried_again, strict=True)) < 400
    assert "fenced" not in {plan.draw(n, f"key {n}", 0, wants_json=False) for n in range(5_000)}


def test_by_arrival_the_same_request_draws_anew() -> None:
    plan = FaultPlan({"drop": 0.5}, by="arrival")
    assert {plan.draw(n, "key", 0, wants_json=False) for n in range(30)} == {"drop", None}


def test_a_script_comes_first() -> None:
    plan = FaultPlan({"drop": 1.0}, script=("slow", None))
    assert [plan.draw(n, "key", 0, wants_json=False) for n in range(3)] == ["slow", None, "drop"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limit", "rate_limit"),
        ("server_error", "server"),
        ("drop", "connection"),
        ("cut", "connection"),
        ("garbled", "malformed"),
        ("empty", "empty"),
    ],
)
def test_a_faulty_request_succeeds_when_it_is_tried_again(
    openai_server: OpenAIServer, fault: Fault, kind: str
) -> None:
    openai_server.faults = FaultPlan(script=(fault,), retry_after=2.0)
    failed = failure(lambda: door(openai_server), call())
    assert (failed.kind, failed.retryable) == (kind, True)
    assert ask(lambda: door(openai_server), call()).text.startswith("You are")
    first, second = openai_server.received
    assert (first.key, first.fault, second.fault) == (second.key, fault, None)


def test_json_comes_fenced_or_in_half(openai_server: OpenAIServer) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    openai_server.faults = FaultPlan(script=("fenced", "malformed"))
    fenced = ask(lambda: door(openai_server), call(schema=schema)).text
    half = ask(lambda: door(openai_server), call(schema=schema)).text
    assert fenced.startswith("```json\n{")
    assert fenced.endswith("}\n```")
    with pytest.raises(json.JSONDecodeError):
        json.loads(half)


def test_the_same_question_has_the_same_key_and_answer(openai_server: OpenAIServer) -> None:
    texts = [ask(lambda: door(openai_server), call("one")).text for _ in range(2)]
    other = ask(lambda: door(openai_server), call("two")).text
    assert texts[0] == texts[1] != other
    assert sorted(openai_server.answered.values()) == [1, 2]
    assert openai_server.stats() == {
        "total": 3,
        "by_status": {"200": 3},
        "in_flight": 0,
        "max_in_flight": 1,
        "answered": 2,
        "answered_again": 1,
    }


def test_a_full_server_says_so(openai_server: OpenAIServer) -> None:
    openai_server.capacity = 0
    assert failure(lambda: door(openai_server), call()).kind == "rate_limit"
    assert openai_server.by_status == {429: 1}


@pytest.mark.parametrize(
    ("module", "path", "body"),
    [
        ("openai", "v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        (
            "gemini",
            "v1/models/m:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
        ),
    ],
)
def test_a_server_runs_as_a_process(module: str, path: str, body: dict[str, Any]) -> None:
    command = [sys.executable, "-m", f"tests.kit.servers.{module}", "--port", "0", "--empty-rate", "1"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            data = json.dumps(body).encode()
            request = urllib.request.Request(f"{url}/{path}", data, {"Content-Type": "application/json"})
            urllib.request.urlopen(request).close()
            with urllib.request.urlopen(f"{url}/stats") as answer:
                assert json.load(answer)["by_status"] == {"200": 1}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_both_servers_can_run_at_once(openai_server: OpenAIServer, gemini_server: GeminiServer) -> None:
    assert openai_server.port != gemini_server.port
    ask(lambda: door(openai_server), call())
    assert (openai_server.total, gemini_server.total) == (1, 0)
