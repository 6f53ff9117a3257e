"""The gemini engine: who it is, what it needs and what it sends, by a loopback server."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from synth.base.errors import EngineError, ExtraMissing, KeyMissing
from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import Call, Engine, Message
from synth.runtime.engines.hosted.gemini import GeminiEngine, GeminiOptions
from tests.engines.hosted.gemini_door import Door
from tests.kit.servers.asking import SECRET, ask, call, failure, shown, spec
from tests.kit.servers.gemini import GeminiServer

pytestmark = pytest.mark.usefixtures("gemini_environment")

MESSAGES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"role": {"enum": ["user", "model"]}, "content": {"type": "string", "maxLength": 90}},
        "required": ["role", "content"],
    },
    "minItems": 2,
    "maxItems": 4,
}


# Who it is, and what it needs


def test_it_is_an_engine_that_names_itself(gemini_server: GeminiServer) -> None:
    engine = Door(gemini_server, concurrency=9)()
    assert isinstance(engine, Engine)
    assert str(engine.identity) == "gemini:model-x"
    assert engine.capabilities == {"chat", "json", "tools"}
    assert (engine.concurrency, engine.adaptive) == (9, True)
    assert engine.version.startswith("google-genai 3.")
    assert engine.render([Message("user", "hello")]) is None


@pytest.mark.parametrize(("module", "named"), [("google.genai", "google-genai"), ("aiohttp", "aiohttp")])
def test_a_missing_package_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, module: str, named: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=rf"`{named}`.*pip install .*'google-genai"):
        GeminiEngine(spec("gemini"))


def test_without_a_key_both_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(KeyMissing, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        GeminiEngine(spec("gemini"))
    with pytest.raises(KeyMissing, match=r"set OTHER_KEY$"):
        GeminiEngine(spec("gemini", api_key_env="OTHER_KEY"))


@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GOOGLE_API_KEY", "OTHER_KEY"])
def test_the_key_is_sent(gemini_server: GeminiServer, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv(variable, "key-of-another")
    named = {"api_key_env": variable} if variable == "OTHER_KEY" else {}
    ask(Door(gemini_server, **named), call())
    assert gemini_server.received[0].credential == "key-of-another"


def test_the_clients_own_variable_gives_the_address(
    gemini_server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini_server.base_url)
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    ask(lambda: GeminiEngine(spec("gemini")), call())
    assert gemini_server.total == 1


def test_a_wrong_option_is_named_but_its_value_is_not() -> None:
    with pytest.raises(EngineError, match=r"^model `author`: .*no option `api_key`; it has") as caught:
        GeminiEngine(spec("gemini", api_key=SECRET))
    assert SECRET not in shown(caught.value)


def test_asking_before_the_start_is_a_fault_of_the_program(gemini_server: GeminiServer) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        asyncio.run(Door(gemini_server)().generate(call()))


# What goes over the wire


def test_sampling_roles_and_system_are_sent(gemini_server: GeminiServer) -> None:
    asked = Call(
        key="key",
        messages=(Message("system", "s"), Message("user", "u"), Message("model", "m"), Message("user", "v")),
        token_ids=None,
        schema=None,
        sampling=Sampling(temperature=0.3, top_p=0.9, top_k=40, max_tokens=50, stop=("END",)),
        seed=2**64 - 1,
    )
    ask(Door(gemini_server), asked)
    body = gemini_server.received[0].body
    assert [part["text"] for part in body["systemInstruction"]["parts"]] == ["s"]
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "u"}]},
        {"role": "model", "parts": [{"text": "m"}]},
        {"role": "user", "parts": [{"text": "v"}]},
    ]
    assert body["generationConfig"] == {
        "temperature": 0.3,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 50,
        "stopSequences": ["END"],
        "seed": 2**31 - 1,
    }


def test_what_is_sent_by_default(gemini_server: GeminiServer) -> None:
    ask(Door(gemini_server), call("Hello"))
    assert gemini_server.received[0].body == {
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "generationConfig": {"seed": 7},
    }


def test_a_schema_is_sent_and_answered(gemini_server: GeminiServer) -> None:
    answer = ask(Door(gemini_server), call(schema=MESSAGES))
    config = gemini_server.received[0].body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == MESSAGES
    assert [message["role"] for message in json.loads(answer.text)] == ["user", "model"]


def test_a_conversation_without_a_message_to_answer_fails_alone(gemini_server: GeminiServer) -> None:
    asked = Call(
        key="key",
        messages=(Message("system", "s"),),
        token_ids=None,
        schema=None,
        sampling=Sampling(),
        seed=0,
    )
    failed = failure(Door(gemini_server), asked)
    assert (failed.kind, failed.retryable) == ("bad_request", False)


def test_a_request_leaves_out_and_takes_what_the_options_say(gemini_server: GeminiServer) -> None:
    door = Door(
        gemini_server,
        omit=["seed", "temperature", "system"],
        extra_body={"generationConfig": {"topK": 5}, "labels": {"a": "b"}},
        reasoning="low",
        include_thoughts=True,
    )
    ask(door, call("Who?", system="Be terse.", sampling=Sampling(temperature=0.5, max_tokens=9)))
    sent = gemini_server.received[0].body
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "Be terse.\n\nWho?"}]}]
    assert sent["labels"] == {"a": "b"}
    assert sent["generationConfig"] == {
        "maxOutputTokens": 9,
        "topK": 5,
        "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
    }
    assert "systemInstruction" not in sent


@pytest.mark.parametrize(
    ("model", "reasoning", "config"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576}),
        ("gemini-3-flash", "minimal", {"thinkingLevel": "MINIMAL"}),
    ],
)
def test_reasoning_is_said_in_the_models_own_terms(
    model: str, reasoning: str, config: dict[str, Any]
) -> None:
    assert GeminiOptions(reasoning=reasoning).thinking(model) == config
    assert GeminiOptions().thinking(model) is None


def test_reasoning_that_a_model_has_no_word_for_is_refused() -> None:
    with pytest.raises(EngineError, match="cannot be asked for reasoning `none`"):
        GeminiOptions(reasoning="none").thinking("gemini-3-pro")
