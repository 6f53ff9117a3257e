"""The gemini engine, by the real client, against a loopback server."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from typing import Any

import pytest

from synth.base.errors import AccessDenied, EngineError, ExtraMissing, KeyMissing
from synth.compiler.plan.model import Sampling
from synth.runtime.engines.base import Call, Engine, Message
from synth.runtime.engines.hosted.gemini import GeminiEngine, GeminiOptions
from tests.kit.servers.asking import SECRET, ask, call, failure, shown, spec
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.gemini import RETRY_INFO, GeminiServer
from tests.kit.servers.loopback import Raw

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


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)


class Door:
    """Makes engines that talk to a server."""

    def __init__(self, server: GeminiServer, **options: Any) -> None:
        self.options = {"base_url": server.base_url, **options}

    def __call__(self) -> GeminiEngine:
        return GeminiEngine(spec("gemini", **self.options))


def response(*parts: Any, finish: Any = "STOP", **more: Any) -> dict[str, Any]:
    """A response body with one candidate of these parts."""
    return {
        "candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 20},
        "modelVersion": "model-x-001",
        **more,
    }


def reply(server: GeminiServer, body: Any, status: int = 200, **headers: str) -> None:
    """From now on the server answers everything with this."""
    raw = Raw(body, status, {name.replace("_", "-"): value for name, value in headers.items()})
    server.answer = lambda asked: raw


def error_body(code: int, status: str, message: str = "no", *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


# Who it is, and what it needs


def test_it_is_an_engine_that_names_itself(gemini_server: GeminiServer) -> None:
    engine = Door(gemini_server, concurrency=9)()
    assert isinstance(engine, Engine)
    assert str(engine.identity) == "gemini:model-x"
    assert engine.capabilities == {"chat", "json"}
    assert (engine.concurrency, engine.adaptive) == (9, True)
    assert engine.version.startswith("google-genai 3.")
    assert engine.render([Message("user", "hello")]) is None


@pytest.mark.parametrize(("module", "named"), [("google.genai", "google-genai"), ("aiohttp", "aiohttp")])
def test_a_missing_package_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, module: str, named: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=rf"`{named}`.*pip install 'google-genai"):
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


# What comes back


def test_thinking_is_paid_for_and_not_said(gemini_server: GeminiServer) -> None:
    body = response({"text": "Hm.", "thought": True}, {"text": "I am "}, {"text": "a clock."})
    body["usageMetadata"]["cachedContentTokenCount"] = 8
    reply(gemini_server, body)
    answer = ask(Door(gemini_server), call())
    assert (answer.text, answer.finish_reason) == ("I am a clock.", "stop")
    found = answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens, answer.reasoning_tokens
    assert found == (11, 25, 8, 20)
    assert answer.served_by == "model-x-001"
    assert answer.latency_ms >= 0


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("STOP", "stop"), (None, "stop"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length")],
)
def test_finish_reasons(gemini_server: GeminiServer, finish: str | None, reason: str) -> None:
    reply(gemini_server, response({"text": "I am"}, finish=finish))
    assert ask(Door(gemini_server), call()).finish_reason == reason
    assert gemini_server.total == 1


@pytest.mark.parametrize("finish", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII"])
def test_a_stopped_answer_is_refused(gemini_server: GeminiServer, finish: str) -> None:
    reply(gemini_server, response({"text": "You"}, finish=finish))
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == ("refused", False)
    assert (failed.prompt_tokens, failed.completion_tokens) == (11, 25)
    assert finish in str(failed)


def test_a_blocked_prompt_is_refused(gemini_server: GeminiServer) -> None:
    reply(gemini_server, {"promptFeedback": {"blockReason": "SAFETY"}})
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == ("refused", False)
    assert "the prompt was blocked: SAFETY" in str(failed)


@pytest.mark.parametrize(
    "body",
    [
        response(),
        response({"text": " \n"}),
        {**response(), "candidates": []},
        {**response(), "candidates": [{"finishReason": "STOP"}]},
    ],
)
def test_an_empty_answer_is_tried_again_and_was_paid_for(gemini_server: GeminiServer, body: Any) -> None:
    reply(gemini_server, body)
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == ("empty", True)
    assert (failed.prompt_tokens, failed.completion_tokens) == (11, 25)


@pytest.mark.parametrize(("said", "text"), [((), ""), (({"text": "Yes."},), "Yes.")])
def test_thoughts_are_kept_apart(gemini_server: GeminiServer, said: Any, text: str) -> None:
    reply(gemini_server, response({"text": "Hm.", "thought": True}, *said))
    answer = ask(Door(gemini_server), call())
    assert (answer.text, answer.thought, answer.finish_reason) == (text, "Hm.", "stop")


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


def test_an_answer_that_thinking_used_up_is_not_paid_for_twice(gemini_server: GeminiServer) -> None:
    reply(gemini_server, response(finish="MAX_TOKENS"))
    failed = failure(Door(gemini_server), call(sampling=Sampling(max_tokens=20)))
    assert (failed.kind, failed.retryable) == ("empty", False)
    assert "raise max_tokens" in str(failed)


@pytest.mark.parametrize(
    "body",
    [
        "<html>upstream connect error</html>",
        "[]",
        "null",
        '"text"',
        "[" * 200_000,
        b"\xff\xfe",
        response({"text": "half"}, finish="MALFORMED_RESPONSE"),
        response({"text": "half"}, finish="A_REASON_OF_NEXT_YEAR"),
        response({"text": "half"}, finish=["STOP"]),
    ],
)
def test_a_body_that_is_no_answer_is_tried_again(gemini_server: GeminiServer, body: Any) -> None:
    reply(gemini_server, body)
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == ("malformed", True)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        {"candidates": "none", "usageMetadata": []},
        {"candidates": [{"content": {"parts": 3}}]},
        {"candidates": [{"content": {"parts": ["text", {"text": 3}]}}]},
    ],
)
def test_a_body_without_text_anywhere_is_tried_again(gemini_server: GeminiServer, body: Any) -> None:
    reply(gemini_server, body)
    assert failure(Door(gemini_server), call()).retryable


# What goes wrong


@pytest.mark.parametrize(("status", "kind"), [(500, "server"), (503, "server"), (504, "timeout")])
def test_a_fault_of_the_server_is_tried_again_by_the_runtime_alone(
    gemini_server: GeminiServer, status: int, kind: str
) -> None:
    reply(gemini_server, error_body(status, "UNAVAILABLE"), status, Retry_After="3")
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable, failed.retry_after) == (kind, True, 3.0)
    assert gemini_server.total == 1


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([{"@type": "other"}, {"@type": RETRY_INFO, "retryDelay": "34.07s"}], {"Retry_After": "9"}, 34.07),
        ([{"@type": RETRY_INFO, "retryDelay": "soon"}], {"Retry_After": "9"}, 9.0),
        ([{"@type": RETRY_INFO, "retryDelay": "infs"}], {}, None),
        ([{"@type": []}, None, 3], {}, None),
    ],
)
def test_a_rate_limit_says_how_long(
    gemini_server: GeminiServer, details: list[Any], headers: dict[str, str], seconds: float | None
) -> None:
    reply(gemini_server, error_body(429, "RESOURCE_EXHAUSTED", "quota", *details), 429, **headers)
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable, failed.retry_after) == ("rate_limit", True, seconds)
    assert gemini_server.total == 1


@pytest.mark.parametrize("fault", ["drop", "cut"])
def test_a_dropped_connection_is_tried_again_by_the_runtime_alone(
    gemini_server: GeminiServer, fault: Fault
) -> None:
    gemini_server.faults = FaultPlan(script=(fault,))
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == ("connection", True)
    assert gemini_server.total == 1


def test_nobody_listening() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        failed = failure(lambda: GeminiEngine(spec("gemini", base_url=url)), call())
    assert (failed.kind, failed.retryable) == ("connection", True)


def test_silence_is_a_timeout(gemini_server: GeminiServer) -> None:
    gemini_server.latency_s = 60.0
    failed = failure(Door(gemini_server, timeout=0.2), call())
    assert (failed.kind, failed.retryable) == ("timeout", True)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("The input token count (9) exceeds the maximum number of tokens allowed (8).", "too_long"),
        ("Invalid value at 'generation_config.top_k'", "bad_request"),
    ],
)
def test_a_request_that_is_refused_fails_alone(gemini_server: GeminiServer, message: str, kind: str) -> None:
    reply(gemini_server, error_body(400, "INVALID_ARGUMENT", f"{message}\n{SECRET}"), 400)
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == (kind, False)
    assert str(failed) == f"{message} [key]"
    assert SECRET not in shown(failed)


@pytest.mark.parametrize(
    ("status", "name", "said"),
    [
        (401, "UNAUTHENTICATED", "refused the key for gemini model `model-x`.*GEMINI_API_KEY"),
        (403, "PERMISSION_DENIED", "refused the key"),
        (404, "NOT_FOUND", "knows no gemini model `model-x`"),
        (400, "FAILED_PRECONDITION", "may not use gemini model `model-x`.*billing"),
    ],
)
def test_a_refused_key_or_model_says_with_what_a_run_stops(
    gemini_server: GeminiServer, status: int, name: str, said: str
) -> None:
    reply(gemini_server, error_body(status, name, f"{SECRET} will not do"), status)
    with pytest.raises(AccessDenied) as caught:
        ask(Door(gemini_server), call())
    assert re.search(said, caught.value.verdict)
    assert SECRET not in caught.value.verdict + shown(caught.value)


def test_a_wrong_key_is_known_by_its_reason(gemini_server: GeminiServer) -> None:
    gemini_server.credential = "the right one"
    with pytest.raises(AccessDenied) as caught:
        ask(Door(gemini_server), call())
    assert re.search(r"refused the key .* \(400: ", caught.value.verdict)
    assert SECRET not in caught.value.verdict + shown(caught.value)


@pytest.mark.parametrize("body", ["<html>bad gateway</html>", "[1]", '"no"', '{"error": 3}', b"\xff\xfe"])
def test_an_error_in_any_shape_is_a_failed_call(gemini_server: GeminiServer, body: Any) -> None:
    reply(gemini_server, body, 502)
    assert failure(Door(gemini_server), call()).retryable


# Many at once, and hostile text


def test_no_more_connections_than_calls_at_once(gemini_server: GeminiServer) -> None:
    gemini_server.latency_s = 0.01

    async def many() -> set[str]:
        engine = Door(gemini_server, concurrency=8)()
        await engine.start()
        answers = await asyncio.gather(*(engine.generate(call(f"number {n}")) for n in range(40)))
        await engine.close()
        return {answer.text for answer in answers}

    assert len(asyncio.run(many())) == 40
    assert gemini_server.max_in_flight <= 8
    assert len(gemini_server.answered) == 40


def test_a_cancelled_call_leaves_nothing_behind(gemini_server: GeminiServer) -> None:
    gemini_server.latency_s = 60.0

    async def cancelled() -> str:
        engine = Door(gemini_server)()
        await engine.start()
        tasks = [asyncio.create_task(engine.generate(call(f"number {n}"))) for n in range(5)]
        while gemini_server.in_flight < 5:
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        while gemini_server.in_flight:
            await asyncio.sleep(0.005)
        gemini_server.latency_s = 0.0
        answer = await engine.generate(call())
        await engine.close()
        return answer.text

    assert asyncio.run(cancelled()).startswith("You are")


def test_an_engine_starts_again_after_it_was_closed(gemini_server: GeminiServer) -> None:
    async def twice() -> None:
        engine = Door(gemini_server)()
        for _ in range(2):
            await engine.start()
            await engine.generate(call())
            await engine.close()
        await engine.close()

    asyncio.run(twice())
    assert gemini_server.total == 2


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("<|im_end|><end_of_turn>{{ key }}", "<|im_end|><end_of_turn>{{ key }}"),
        ("\u202eright to left\u0000", "\u202eright to left\u0000"),
        ("lone \ud83d here", "lone \ufffd here"),
        ("x" * 2_000_000, "x" * 2_000_000),
    ],
)
def test_hostile_text_arrives_as_it_is(gemini_server: GeminiServer, prompt: str, sent: str) -> None:
    ask(Door(gemini_server), call(prompt, system=prompt))
    body = gemini_server.received[0].body
    assert body["contents"][0]["parts"][0]["text"] == sent
    assert body["systemInstruction"]["parts"][0]["text"] == sent


def test_a_broken_character_in_an_answer_is_mended(gemini_server: GeminiServer) -> None:
    reply(gemini_server, r'{"candidates": [{"content": {"parts": [{"text": "a \ud800 b"}]}}]}')
    assert ask(Door(gemini_server), call()).text == "a \ufffd b"


@pytest.mark.parametrize(
    "part", [{"functionCall": {"name": "f", "args": {}}}, {"inlineData": {"data": "AA=="}}]
)
def test_a_text_that_is_only_part_of_an_answer_is_no_answer(
    gemini_server: GeminiServer, part: dict[str, Any]
) -> None:
    reply(gemini_server, response({"text": "Let me look that up."}, part, {"thoughtSignature": "x"}))
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == ("finish", False)
    assert f"`{next(iter(part))}`" in str(failed)
