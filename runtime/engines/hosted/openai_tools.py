"""Tools in the chat completions protocol: what a request says of them, and the calls in a response."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.text import valid_text
from synth.runtime.engines.base import Call, Message, ToolCall
from synth.runtime.engines.tool_calls import Called, Malformed, call_of, in_text, kind, numbered
from synth.runtime.engines.wire.fields import Reading, at

ROLES = {"system": "system", "user": "user", "model": "assistant", "tool": "tool"}
# Where a message has calls, today and before.
KEYS = ("tool_calls", "function_call")
# Words for an answer that ended with calls.
CALLING = frozenset({"tool_calls", "function_call", "tool_use"})

_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64


def conversation(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as a request has them."""
    plain: list[dict[str, Any]] = []
    for message in messages:
        if message.calls or message.role == "tool":
            return [_message(message, ids) for message, ids in zip(messages, numbered(messages), strict=True)]
        plain.append({"role": ROLES[message.role], "content": valid_text(message.content)})
    return plain


def calls_in(message: Mapping[str, Any], read: Reading) -> Called | None:
    """The calls in a response's message; None where it has none."""
    key = next((key for key in KEYS if message.get(key)), None)
    if key is None:
        return None
    try:
        return Called(tuple(_calls(message[key], key, read)))
    except Malformed as error:
        return Called(malformed=str(error))


def unparsed(said: str, call: Call) -> str | None:
    """A clause for what is said that writes a call, which a server would have read with a parser."""
    clause = in_text(said, call.tools, schema=call.schema is not None)
    return None if clause is None else f"{clause}: the server needs a tool parser for this model"


def written(said: str, message: Mapping[str, Any]) -> str:
    """All that an answer with calls says: its text, and then the calls as they came."""
    calls = [json.dumps(message[key], ensure_ascii=False) for key in KEYS if message.get(key)]
    return "\n".join(filter(None, (said, *calls)))


def wire_name(name: str) -> str:
    """A tool's name as services take it: a model can have called a tool by what is no name."""
    return _NO_NAME.sub("_", name)[:_LONGEST_NAME]


def _message(message: Message, ids: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {"role": ROLES[message.role], "content": valid_text(message.content)}
    if message.role == "tool":
        given["tool_call_id"] = ids[0]
    elif message.calls:
        given["content"] = given["content"] or None
        given["tool_calls"] = [_sent(call, id_) for call, id_ in zip(message.calls, ids, strict=True)]
    return given


def _sent(call: ToolCall, id_: str) -> dict[str, Any]:
    function = {"name": wire_name(call.name), "arguments": valid_text(canonical_json(call.arguments))}
    sent: dict[str, Any] = {"id": id_, "type": "function", "function": function}
    if call.signature is not None and call.signature.startswith("{"):
        sent["extra_content"] = json.loads(call.signature)
    return sent


def _calls(given: Any, key: str, read: Reading) -> Iterator[ToolCall]:
    calls = given if key == "tool_calls" else [given]
    if not isinstance(calls, list):
        raise Malformed(f"`{key}` is {kind(calls)} instead of a list")
    for number, call in enumerate(calls, 1):
        if not isinstance(call, dict):
            raise Malformed(f"call {number} is {kind(call)} instead of an object")
        function = call.get("function") if key == "tool_calls" else call
        if not isinstance(function, dict):
            raise Malformed(f"call {number} is not of a function")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            read.odd.append("a call's arguments are an object instead of a text")
        yield call_of(
            function.get("name"),
            arguments,
            number,
            lambda text: read.text(text, "a call"),
            _signature(call, read),
        )


def _signature(call: Mapping[str, Any], read: Reading) -> str | None:
    """What a service wants back with a call, as Google's does behind this protocol."""
    signed = at(call, "extra_content", "google", "thought_signature")
    if not isinstance(signed, str):
        return None
    return canonical_json({"google": {"thought_signature": read.text(signed, "a call")}})
