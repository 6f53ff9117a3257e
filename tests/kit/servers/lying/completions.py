"""Lies in a completion's fields, for each of the two protocols."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.kit.servers.lying.server import Body, Exchange, Lie


def _of(*path: str | int, value: Any) -> Callable[[Body], None]:
    def change(body: Body) -> None:
        at: Any = body
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


def _text(old: bytes, new: bytes) -> Callable[[Body], bytes]:
    return lambda body: json.dumps(body).encode().replace(old, new)


_ODD_COUNTS = {
    "below_zero": -100_000,
    "beyond_31_bits": 2**31,
    "beyond_63_bits": 2**63,
    "half": 0.5,
    "not_a_number": float("nan"),
    "endless": float("inf"),
    "true": True,
    "words": "many",
    "list": [1],
}
_CHOICE = ("choices", 0, "message", "content")
_PART = ("candidates", 0, "content", "parts")
FIELDS: dict[str, Callable[[Body], Any]] = {
    **{f"tokens_{name}": _of("usage", "prompt_tokens", value=odd) for name, odd in _ODD_COUNTS.items()},
    "tokens_of_4000_digits": _text(b'"prompt_tokens": 5', b'"prompt_tokens": ' + b"9" * 5000),
    "tokens_1e400": _text(b'"prompt_tokens": 5', b'"prompt_tokens": 1e400'),
    "total_of_a_million_million": _of("usage", "total_tokens", value=10**12),
    "usage_is_words": _of("usage", value="many"),
    "model_is_a_list": _of("model", value=["m"]),
    "model_is_half_a_character": _of("model", value="m\ud800\0\x1b[2J"),
    "model_of_a_megabyte": _of("model", value="m" * 1_000_000),
    "text_is_half_a_character": _of(*_CHOICE, value="a\ud800b\0 c"),
    "text_is_null": _of(*_CHOICE, value=None),
    "text_is_an_object": _of(*_CHOICE, value={"a": 1}),
    "text_is_a_number": _of(*_CHOICE, value=7),
    "text_in_parts": _of(*_CHOICE, value=[{"type": "text", "text": "Fine."}]),
    "parts_are_odd": _of(*_CHOICE, value=[5, None, {"type": ["x"]}, [[]]]),
    "choices_are_words": _of("choices", value="x"),
    "no_choices": _of("choices", value=[]),
    "ended_by_a_number": _of("choices", 0, "finish_reason", value=7),
    "ended_by_a_list": _of("choices", 0, "finish_reason", value=[[]]),
    "calls_a_tool": _of("choices", 0, "message", value={"tool_calls": [{"id": "\ud800"}], "content": None}),
    "refusal_is_a_list": _of("choices", 0, "message", "refusal", value=[{"a": "\ud800"}]),
    "thinks_deeply": _of("choices", 0, "message", "reasoning", value=[[[[{"text": ["\ud800"]}]]]]),
    "thinks_again_and_again": _of(*_CHOICE, value="<think>a</think>\n" * 20_000 + "Fine."),
    "keys_twice": _text(b'"id": "x"', b'"id": "x", "usage": [], "usage": {}, "choices": 5'),
}
GEMINI: dict[str, Callable[[Body], Any]] = {
    **{
        f"tokens_{name}": _of("usageMetadata", "promptTokenCount", value=odd)
        for name, odd in _ODD_COUNTS.items()
        if name in ("beyond_31_bits", "not_a_number")
    },
    "usage_is_a_list": _of("usageMetadata", value=[1]),
    "model_is_half_a_character": _of("modelVersion", value="m\ud800"),
    "text_is_half_a_character": _of(*_PART, value=[{"text": "a\ud800b"}]),
    "parts_are_words": _of(*_PART, value="x"),
    "parts_are_odd": _of(*_PART, value=[5, None, {"text": 7}, [[]]]),
    "candidates_are_words": _of("candidates", value="x"),
    "blocked_by_an_object": _of("promptFeedback", value={"blockReason": {"a": ["\ud800"]}}),
    "ended_by_a_number": _of("candidates", 0, "finishReason", value=7),
    "calls_a_function": _of(*_PART, value=[{"functionCall": {"name": "\ud800"}}]),
}


def fields(lies: Mapping[str, Callable[[Body], Any]], name: str) -> Lie:
    """The right answer with a lie in its fields: changed in place, or put in its place as bytes."""

    async def tell(exchange: Exchange) -> None:
        body = json.loads(exchange.right)
        changed = lies[name](body)
        await exchange.reply(changed if isinstance(changed, bytes) else json.dumps(body).encode())

    return tell
