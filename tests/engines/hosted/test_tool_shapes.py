"""Responses with calls in every shape: each is calls, or malformed, or a failed call, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.canonical import canonical_json
from synth.base.errors import CallFailed
from synth.runtime.engines.base import Completion
from synth.runtime.engines.hosted import session as hosted
from synth.runtime.engines.hosted.gemini import GeminiEngine
from synth.runtime.engines.hosted.openai import OpenAIEngine
from tests.kit.servers.asking import call, spec

ODD = st.sampled_from(
    [
        *(
            "\ud800",
            "\0",
            "",
            " ",
            "x" * 300,
            "{",
            "NaN",
            '{"a": 1, "a": 2}',
            "[" * 2000,
            '{"a": 1e999}',
            "{}",
            "[]",
        )
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | ODD
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | ODD, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["lookup", "nobody", "tool_calls"]) | JSON
FUNCTION = st.fixed_dictionaries(
    {}, optional={"name": NAMES, "arguments": JSON | st.just('{"number": "A-1"}')}
)
CALLED = st.fixed_dictionaries(
    {},
    optional={"id": JSON, "type": JSON, "function": FUNCTION | JSON, "extra_content": JSON, "custom": JSON},
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "content": JSON,
        "tool_calls": st.lists(CALLED | JSON, max_size=3) | JSON,
        "function_call": FUNCTION | JSON,
        "reasoning": JSON,
    },
)
WORDS = (
    st.sampled_from(["stop", "tool_calls", "length", "STOP", "MAX_TOKENS", "MALFORMED_FUNCTION_CALL"]) | JSON
)
OPENAI = st.builds(
    lambda message, word: {
        "choices": [{"message": message, "finish_reason": word}],
        "usage": {"prompt_tokens": 5},
    },
    MESSAGE,
    WORDS,
)
PART = st.fixed_dictionaries(
    {},
    optional={
        "functionCall": st.fixed_dictionaries({}, optional={"name": NAMES, "args": JSON, "id": JSON}) | JSON,
        "thoughtSignature": JSON,
        "text": JSON,
        "thought": JSON,
    },
)
GEMINI = st.builds(
    lambda parts, word, said: {
        "candidates": [{"content": {"parts": parts}, "finishReason": word, "finishMessage": said}]
    },
    st.lists(PART | JSON, max_size=3) | JSON,
    WORDS,
    JSON,
)
LOOKUP = {"type": "function", "function": {"name": "lookup", "description": "", "parameters": {}}}
ASKED = replace(call(), tools=(LOOKUP,))


def reader(engine: type[OpenAIEngine | GeminiEngine]) -> Callable[[Any], Completion]:
    made = engine(replace(spec(engine.__name__.removesuffix("Engine").lower()), asked=False))

    def read(body: Any) -> Completion:
        data = json.dumps(body).encode()
        answer: Completion = hosted.read(lambda: made._completion(data, ASKED, 1))
        return answer

    return read


def holds(read: Callable[[Any], Completion], body: Any) -> None:
    failed = ""
    try:
        answer = read(body)
    except CallFailed as error:
        failed = str(error)
    assert "cannot be read (" not in failed, "a shape that nobody thought of"
    if failed:
        return
    canonical_json([[each.name, each.arguments, each.signature] for each in answer.calls]).encode()
    answer.text.encode()
    assert not (answer.calls and answer.malformed is not None)
    if answer.malformed is not None:
        assert "\n" not in answer.malformed
        answer.malformed.encode()


@pytest.fixture(scope="module")
def openai_read() -> Callable[[Any], Completion]:
    return reader(OpenAIEngine)


@pytest.fixture(scope="module")
def gemini_read() -> Callable[[Any], Completion]:
    return reader(GeminiEngine)


@given(body=OPENAI)
def test_responses_of_openais_protocol(openai_read: Callable[[Any], Completion], body: Any) -> None:
    holds(openai_read, body)


@given(body=GEMINI)
def test_responses_of_gemini(gemini_read: Callable[[Any], Completion], body: Any) -> None:
    holds(gemini_read, body)
