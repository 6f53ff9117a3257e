"""The gemini engine: what it makes of a loopback server's answers, hostile ones too."""

from __future__ import annotations

from typing import Any

import pytest

from synth.compiler.plan.models import Sampling
from tests.engines.hosted.gemini_door import Door, reply, response
from tests.kit.servers.asking import ask, call, failure
from tests.kit.servers.gemini import GeminiServer

pytestmark = pytest.mark.usefixtures("gemini_environment")


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
