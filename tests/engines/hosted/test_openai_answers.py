"""The openai engine: what it makes of a loopback server's answers, hostile ones too."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.text import valid_text
from synth.compiler.plan.models import Sampling
from tests.engines.hosted.openai_door import Door, completion, reply
from tests.kit.servers.asking import ask, call, failure
from tests.kit.servers.loopback import Raw
from tests.kit.servers.openai import OpenAIServer

pytestmark = pytest.mark.usefixtures("openai_environment")


def test_what_a_completion_holds(openai_server: OpenAIServer) -> None:
    body = completion("I am a clock.")
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 8}
    reply(openai_server, body)
    answer = ask(Door(openai_server), call())
    assert (answer.text, answer.finish_reason) == ("I am a clock.", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (11, 5, 8)
    assert answer.served_by == "model-x-0613"
    assert answer.latency_ms >= 0


def test_an_answer_cut_at_the_limit_says_so(openai_server: OpenAIServer) -> None:
    answer = ask(Door(openai_server), call(sampling=Sampling(max_tokens=3)))
    assert (len(answer.text), answer.finish_reason) == (12, "length")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"completion_tokens_details": {"reasoning_tokens": 4}}, (11, 5, 0, 4)),
        ({"prompt_cache_hit_tokens": 3}, (11, 5, 3, 0)),
        ({"cached_tokens": 3}, (11, 5, 3, 0)),
        ({"total_tokens": 16}, (11, 5, 0, 0)),
        # Thinking that only the total has, as some services count it.
        ({"total_tokens": 46}, (11, 35, 0, 30)),
        ({"total_tokens": 46, "completion_tokens_details": {"reasoning_tokens": 30}}, (11, 35, 0, 30)),
        # Parts are no larger than the whole; what cannot be is not said.
        ({"prompt_tokens_details": {"cached_tokens": 900}}, (11, 5, 11, 0)),
        ({"prompt_tokens_details": {"cached_tokens": -9}}, (11, 5, 0, 0)),
        ({"completion_tokens_details": {"reasoning_tokens": 10**30}}, (11, 5, 0, 0)),
        ({"prompt_tokens": -3, "completion_tokens": "many"}, (0, 0, 0, 0)),
        ({"prompt_tokens": 10**15, "completion_tokens": True}, (0, 0, 0, 0)),
        ({"prompt_tokens": 11.0}, (11, 5, 0, 0)),
        ({"prompt_tokens_details": None, "completion_tokens_details": []}, (11, 5, 0, 0)),
    ],
)
def test_usage_is_read_as_servers_give_it(
    openai_server: OpenAIServer, usage: dict[str, Any], expected: tuple[int, ...]
) -> None:
    body = completion("Yes.")
    body["usage"].update(usage)
    reply(openai_server, body)
    answer = ask(Door(openai_server), call())
    found = answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens, answer.reasoning_tokens
    assert found == expected


@pytest.mark.parametrize(("status", "lost"), [(500, True), (504, True), (503, False), (429, False)])
def test_a_failure_says_whether_it_may_have_been_paid_for(
    openai_server: OpenAIServer, status: int, lost: bool
) -> None:
    openai_server.answer = lambda asked: Raw("{}", status)
    assert failure(Door(openai_server), call()).lost == lost


def test_usage_may_be_missing(openai_server: OpenAIServer) -> None:
    reply(openai_server, {"choices": [{"message": {"content": "Yes."}}], "usage": None})
    answer = ask(Door(openai_server), call())
    assert (answer.text, answer.prompt_tokens, answer.served_by) == ("Yes.", 0, None)


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_an_empty_answer_is_tried_again_and_was_paid_for(openai_server: OpenAIServer, text: Any) -> None:
    reply(openai_server, completion(text))
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable) == ("empty", True)
    assert (failed.prompt_tokens, failed.completion_tokens) == (11, 5)


def test_an_answer_that_reasoning_used_up_is_not_paid_for_twice(openai_server: OpenAIServer) -> None:
    body = completion("")
    body["choices"][0]["finish_reason"] = "length"
    reply(openai_server, body)
    failed = failure(Door(openai_server), call(sampling=Sampling(max_tokens=5)))
    assert (failed.kind, failed.retryable) == ("empty", False)
    assert "raise max_tokens" in str(failed)


def test_refusals_are_final(openai_server: OpenAIServer) -> None:
    reply(openai_server, completion(None, refusal="I cannot help with that."))
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable, failed.completion_tokens) == ("refused", False, 5)
    assert "I cannot help" in str(failed)

    body = completion("You are a")
    body["choices"][0]["finish_reason"] = "content_filter"
    reply(openai_server, body)
    assert failure(Door(openai_server), call()).kind == "refused"


@pytest.mark.parametrize(
    "body",
    [
        "<html>upstream connect error</html>",
        "",
        "[]",
        "null",
        "[" * 200_000,
        {"choices": []},
        {"choices": "none"},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": [{"type": "image_url", "image_url": {}}]}}]},
        {"choices": [{"message": {"content": 4}}]},
    ],
)
def test_a_body_that_is_no_completion_is_tried_again(openai_server: OpenAIServer, body: Any) -> None:
    reply(openai_server, body)
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable) == ("malformed", True)


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("<|im_end|><end_of_turn>{{ key }}", "<|im_end|><end_of_turn>{{ key }}"),
        ("\u202eright to left\u0000", "\u202eright to left\u0000"),
        ("lone \ud83d here", "lone \ufffd here"),
        ("x" * 2_000_000, "x" * 2_000_000),
    ],
)
def test_hostile_text_arrives_as_it_is(openai_server: OpenAIServer, prompt: str, sent: str) -> None:
    ask(Door(openai_server), call(prompt))
    assert openai_server.received[0].body["messages"][0]["content"] == sent


def test_a_broken_character_in_an_answer_is_mended(openai_server: OpenAIServer) -> None:
    reply(openai_server, r'{"choices": [{"message": {"content": "a \ud800 b"}}]}')
    assert ask(Door(openai_server), call()).text == "a \ufffd b"


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_is_made_valid_and_valid_text_is_not_touched(text: str) -> None:
    valid = valid_text(text)
    valid.encode()
    assert valid_text(valid) == valid
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert valid == text
