"""Messages as datasets write them, and the one form they come to.

A normal message has `role` (system, user or model), `content` (text that is not empty) and, where
the source says them, `weight` (0 or 1) and `thought` (text).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dsl.display import code_point, quoted
from dsl.suggest import suggest
from runtime.sources.faults import Unusable

Message = dict[str, Any]

ROLES: Mapping[str, str] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("model", "assistant", "gpt", "chatgpt", "bot", "chatbot", "ai"), "model"),
}

_UNFIT = re.compile("[\0\ud800-\udfff]")
_TYPES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
}


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return "null" if value is None else _TYPES.get(type(value), f"a {type(value).__name__}")


def fit(text: str, where: str) -> str:
    """The text itself.  Raises Unusable for characters that no text holds."""
    found = _UNFIT.search(text)
    if found is None:
        return text
    if found[0] == "\0":
        raise Unusable("has a NUL character", where)
    raise Unusable("has half of a character", f"{code_point(found[0])} in {where}")


def message_list(value: Any, column: str) -> list[Message]:
    """The messages of a column: a list of objects, the JSON text of one, or an object of lists.

    A system message that says nothing is left out.  Raises Unusable.
    """
    if isinstance(value, str):
        value = _parsed(value, column)
    if isinstance(value, Mapping):
        value = _transposed(value)
    if not isinstance(value, list):
        raise Unusable(f"has a `{column}` that is no list of messages", f"it is {kind_of(value)}")
    if not value:
        raise Unusable(f"has no message in `{column}`")
    found = (_message(item, number) for number, item in enumerate(value, 1))
    return [message for message in found if message is not None]


def _parsed(text: str, column: str) -> Any:
    """A table's cell can hold a list only as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Unusable(f"has a `{column}` that is no list of messages", "its text is not JSON") from None


def _transposed(value: Mapping[str, Any]) -> Any:
    """Rows from columns: saved datasets can hold a list of objects as an object of lists."""
    columns = list(value.values())
    if not columns or not all(isinstance(column, list) for column in columns):
        return dict(value)
    if len({len(column) for column in columns}) > 1:
        return dict(value)
    return [dict(zip(value, items, strict=True)) for items in zip(*columns, strict=True)]


def _message(item: Any, number: int) -> Message | None:
    where = f"message {number}"
    if not isinstance(item, Mapping):
        raise Unusable("has a message that is no object", f"{where} is {kind_of(item)}")
    role = _role(_either(item, "role", "from"), where)
    if item.get("tool_calls") or item.get("function_call"):
        raise Unusable("has a call of a tool, and conversations here are text", where)
    content = _content(_either(item, "content", "value"), where)
    if not content.strip():
        if role == "system":
            return None
        raise Unusable("has an empty message", where)
    message: Message = {"role": role, "content": fit(content, where)}
    weight, thought = item.get("weight"), item.get("thought")
    if weight is not None:
        if weight not in (0, 1):
            shown = quoted(str(weight)) if isinstance(weight, int | float | str) else kind_of(weight)
            raise Unusable("has a weight other than 0 and 1", f"{where}: {shown}")
        message["weight"] = int(weight)
    if thought is not None:
        if not isinstance(thought, str):
            raise Unusable("has a thought that is no text", f"that of {where} is {kind_of(thought)}")
        if thought.strip():
            message["thought"] = fit(thought, f"the thought of {where}")
    return message


def _either(item: Mapping[str, Any], name: str, other: str) -> Any:
    value = item.get(name)
    return item.get(other) if value is None else value


def _role(value: Any, where: str) -> str:
    if value is None:
        raise Unusable("has a message without a role", where)
    written = value if isinstance(value, str) else kind_of(value)
    role = ROLES.get(written.strip().lower())
    if role is None:
        raise Unusable("has an unknown role", f"{quoted(written)} in {where}; {_role_hint(written)}")
    return role


@lru_cache(maxsize=64)
def _role_hint(written: str) -> str:
    """Kept, since a file that has an unknown role has it on many lines."""
    guess = suggest(written.strip().lower(), ROLES)
    return f"did you mean `{guess}`?" if guess else "roles are system, user and assistant"


def _content(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        raise Unusable("has a message without content", where)
    if not isinstance(value, list):
        raise Unusable("has content that is no text", f"that of {where} is {kind_of(value)}")
    texts = []
    for part in value:
        if not isinstance(part, Mapping):
            raise Unusable("has content that is no text", f"{where} has a part that is {kind_of(part)}")
        kind, text = part.get("type"), part.get("text")
        if kind != "text" or not isinstance(text, str):
            shown = quoted(kind) if isinstance(kind, str) else kind_of(kind)
            raise Unusable("has content that is no text", f"{where} has a part of type {shown}")
        texts.append(text)
    return "".join(texts)
