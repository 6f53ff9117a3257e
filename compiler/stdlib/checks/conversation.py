"""Checks of a conversation: a list of messages with `role`, `content` and perhaps more fields.

Roles are `user`, `model`, `system` and `tool`; `assistant` is another word for `model`.  Where a model
calls tools before it speaks, its `calls`, what the tools gave and what it says are one turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted
from synth.compiler.stdlib.checks.reasons import Bounds, outside
from synth.compiler.stdlib.checks.text import ends_with

Message = Mapping[str, Any]


def is_conversation(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and all(isinstance(each, Mapping) and "role" in each and "content" in each for each in value)
    )


def role_of(message: Message) -> str:
    role = message["role"]
    return "model" if role == "assistant" else str(role)


def content_of(message: Message) -> str:
    """What a message says, as text."""
    content = message["content"]
    return content if isinstance(content, str) else "" if content is None else canonical_json(content)


def each_message(
    function: Callable[..., str | None],
    messages: Sequence[Message],
    arguments: Mapping[str, Any],
    role: str | None = None,
) -> str | None:
    """The first reason that a check of texts has against a message, or against one of a role.  What tools
    gave, and what only calls them, is no text that anybody says."""
    for number, message in enumerate(messages, 1):
        if role_of(message) == "tool" or (message.get("calls") and not content_of(message)):
            continue
        if role is None or role_of(message) == role:
            reason = function(content_of(message), **arguments)
            if reason is not None:
                return f"{_name(number, message)} {reason}"
    return None


def all_of_it(
    function: Callable[..., str | None], messages: Sequence[Message], arguments: Mapping[str, Any]
) -> str | None:
    """The first reason that a check of texts has against a message, what calls and tools hold included."""
    for number, message in enumerate(messages, 1):
        calls = message.get("calls")
        text = content_of(message) + (f"\n{canonical_json(calls)}" if calls else "")
        reason = function(text, **arguments)
        if reason is not None:
            return f"{_name(number, message)} {reason}"
    return None


def _turns(messages: Sequence[Message], start: int = 0) -> Iterator[tuple[int, Message]]:
    """The messages from one on that are turns of somebody's, with their numbers: all but those that call
    tools before the model goes on, and what the tools then give."""
    called = False
    for number, message in enumerate(messages[start:], start + 1):
        called = bool(message.get("calls")) or (called and role_of(message) == "tool")
        if not called or number == len(messages):
            yield number, message


def turns(messages: Sequence[Message], count: Bounds) -> str | None:
    """Counts what somebody says: all but the system's messages, and what tools are asked and give."""
    said = sum(role_of(message) != "system" for _, message in _turns(messages))
    return outside(said, count, "turn")


def alternates(messages: Sequence[Message], first: str, second: str) -> str | None:
    """The two take turns, `first` to begin with.  System messages before that do not matter."""
    start = next((at for at, message in enumerate(messages) if role_of(message) != "system"), len(messages))
    if start == len(messages):
        return "has no message"
    for place, (number, message) in enumerate(_turns(messages, start)):
        due = (first, second)[place % 2]
        if role_of(message) != due:
            return f"{_name(number, message)} stands where one of the {due} is due"
    return None


def ends_with_role(messages: Sequence[Message], suffix: str) -> str | None:
    """The last message is of this role; or its content ends with this text, if no role is so called."""
    if not messages:
        return "has no message"
    last = messages[-1]
    if suffix not in ("user", "model"):
        reason = ends_with(content_of(last), suffix)
        return f"{_name(len(messages), last)} {reason}" if reason else None
    return (
        None
        if role_of(last) == suffix
        else f"ends with a message of the {role_of(last)}, not of the {suffix}"
    )


def every(messages: Sequence[Message], role: str, has: str) -> str | None:
    """Each message of a role has a field with something in it, and there is one."""
    found = False
    for number, message in enumerate(messages, 1):
        if role_of(message) == role:
            found = True
            if _is_empty(message.get(has)):
                return f"{_name(number, message)} has no {quoted(has)}"
    return None if found else f"has no message of the {role}"


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value) or str(value).isspace()


def _name(number: int, message: Message) -> str:
    role = role_of(message)
    return f"message {number} ({role if role.isidentifier() else quoted(role)})"
