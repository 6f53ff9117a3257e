"""Tokens of a text without its model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from synth.base.canonical import canonical_json
from synth.runtime.engines.base import Message

# What a chat template puts around a message.
_AROUND = 4
# The same at most, and what a service may put before the first of them.
_AROUND_AT_MOST = 16


def count(text: str) -> int:
    """About how many tokens a text has: a quarter of one for a character of ASCII, half of one for a
    letter of another alphabet, about one for a character of an ideographic script."""
    if not text:
        return 0
    beyond = 0 if text.isascii() else len(text.encode("utf-8", "surrogatepass")) - len(text)
    return max(1, round(len(text) / 4 + 0.3 * beyond))


def count_messages(messages: Sequence[Message]) -> int:
    """About how many tokens a prompt has."""
    return sum(count(message.content) + count(_called(message)) + _AROUND for message in messages)


def most(messages: Sequence[Message], beside: str) -> int:
    """The most tokens that a prompt can have: no tokenizer gives a byte more than one.  `beside` is the
    JSON that goes with it, of a schema and of tools, or nothing."""
    size = sum(_bytes(message.content) + _bytes(_called(message)) for message in messages)
    return size + _bytes(beside) + _AROUND_AT_MOST * (len(messages) + 1)


def _called(message: Message) -> str:
    """The tools that a message calls or names, as JSON."""
    if not message.calls:
        return message.name
    return canonical_json([{"name": call.name, "arguments": dict(call.arguments)} for call in message.calls])


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
