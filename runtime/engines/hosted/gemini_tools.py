"""Tools in Gemini's protocol: what a request says of them, and the calls in a response."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from synth.base.text import valid_text
from synth.runtime.engines.base import Message, ToolCall
from synth.runtime.engines.tool_calls import Called, Malformed, arguments_of, call_of, decode, kind
from synth.runtime.engines.wire.fields import Reading

# Answers that end so were to be calls, which the service itself could not read.
MISCALLED = {
    "MALFORMED_FUNCTION_CALL": "the service cannot read what was called",
    "UNEXPECTED_TOOL_CALL": "the service says that what was called is no tool that it was given",
}

# What the service's documentation has in place of a signature for calls that it did not give itself.
FOREIGN = "skip_thought_signature_validator"

_NO_NAME = re.compile(r"[^a-zA-Z0-9_.:-]")
_LONGEST_NAME = 128
_SIGNATURE = re.compile(r"[A-Za-z0-9+/_-]+=*")


def declarations(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The definitions of tools as one entry of a request's `tools`."""
    functions = [tool["function"] for tool in tools]
    return {"functionDeclarations": [_declared(function) for function in functions]}


def contents(messages: Sequence[Message], *, signed: bool) -> list[dict[str, Any]]:
    """The messages of a conversation, but for the system's, as a request has them.  What the calls of one
    message came to is one content.  Where calls are to be `signed`, those that the service never gave, of
    another model or a file, are marked as such."""
    made: list[dict[str, Any]] = []
    before = None
    for message in messages:
        if message.role == "system":
            continue
        if message.role == "tool" and before == "tool":
            made[-1]["parts"].append(_response(message))
        elif message.role == "tool":
            made.append({"role": "user", "parts": [_response(message)]})
        else:
            made.append({"role": message.role, "parts": _parts(message, signed)})
        before = message.role
    return made


def calls_in(parts: Sequence[Mapping[str, Any]], read: Reading) -> Called | None:
    """The calls among a response's parts; None where there is none."""
    found = [part for part in parts if part.get("functionCall") is not None]
    if not found:
        return None
    try:
        return Called(tuple(_call(part, number, read) for number, part in enumerate(found, 1)))
    except Malformed as error:
        return Called(malformed=str(error))


def written(said: str, parts: Sequence[Mapping[str, Any]], message: Any) -> str:
    """All that an answer with calls says: its text, then the calls as they came, then what the service says
    that it was."""
    calls = [
        json.dumps(part["functionCall"], ensure_ascii=False)
        for part in parts
        if part.get("functionCall") is not None
    ]
    return "\n".join(filter(None, (said, *calls, message if isinstance(message, str) else "")))


def wire_name(name: str) -> str:
    """A tool's name as the service takes it: a model can have called a tool by what is no name."""
    return _NO_NAME.sub("_", name)[:_LONGEST_NAME]


def _declared(function: Mapping[str, Any]) -> dict[str, Any]:
    named = {"parameters": "parametersJsonSchema"}
    return {named.get(name, name): value for name, value in function.items()}


def _parts(message: Message, signed: bool) -> list[dict[str, Any]]:
    said = [{"text": valid_text(message.content)}] if message.content or not message.calls else []
    calls = [_sent(call) for call in message.calls]
    # Of several calls the service signs the first alone.
    if signed and calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = FOREIGN
    return [*said, *calls]


def _sent(call: ToolCall) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"name": wire_name(call.name), "args": dict(call.arguments)}}
    # Another service's would be refused.
    if call.signature is not None and _SIGNATURE.fullmatch(call.signature):
        part["thoughtSignature"] = call.signature
    return part


def _response(message: Message) -> dict[str, Any]:
    """A tool's message, which the service wants as an object: one that would not come through a request as
    it is, for its numbers, texts or depth, goes as a text."""
    content = valid_text(message.content)
    response: Any = {"output": content}
    if content.startswith("{"):
        with suppress(Malformed):
            found, end = decode(content)
            if end == len(content) and arguments_of(found) == found:
                response = found
    return {"functionResponse": {"name": wire_name(message.name), "response": response}}


def _call(part: Mapping[str, Any], number: int, read: Reading) -> ToolCall:
    given, signature = part["functionCall"], part.get("thoughtSignature")
    if not isinstance(given, dict):
        raise Malformed(f"call {number} is {kind(given)} instead of an object")
    arguments = given.get("args")
    if isinstance(arguments, str):
        raise Malformed(f"call {number} has a text in place of arguments")
    return call_of(
        given.get("name"),
        arguments,
        number,
        lambda text: read.text(text, "a call"),
        read.text(signature, "a call") if isinstance(signature, str) else None,
    )
