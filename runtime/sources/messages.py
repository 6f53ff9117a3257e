"""Messages as datasets write them, and the one form they come to.

A normal message has `role` (system, user or model), `content` (text that is not empty) and, where
the source says them, `weight` (0 or 1) and a model's `thought` (text).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from synth.base.display import code_point, quoted
from synth.base.suggest import suggest
from synth.runtime.engines.thinking import parts_of, sealed_in, split
from synth.runtime.sources.faults import WITHOUT, Unusable
from synth.runtime.sources.marks import MARKS, NOTHING, THOUGHTS, joined, kind_of, thoughts_of, weight_of
from synth.runtime.sources.notes import Notes
from synth.store.log.source_payloads import Message

ROLES: Mapping[str, str] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("model", "assistant", "gpt", "chatgpt", "bot", "chatbot", "ai"), "model"),
}

# Roles of what a tool is asked and answers, which messages here cannot have.
_TOOLS = frozenset(
    "tool function function_call function_response observation ipython tool_call tool_calls "
    "tool_response tool_result tool_results".split()
)
_CALLS = ("tool_use", "tool_call", "tool_result", "function_call")
_KNOWN = frozenset(("role", "from", "content", "value", "tool_calls", "function_call", *MARKS, *THOUGHTS))

_ROLED, _SAYING = {"role", "from"}, {"content", "value"}
# A list of messages as JSON or, by mistake, as Python shows one.
_LISTED = re.compile(r"""\s*\[\s*\{\s*['"](?:role|from|content|value)['"]\s*:""")
_UNFIT = re.compile("[\0\ud800-\udfff]")


def fit(text: str, where: str) -> str:
    """The text itself.  Raises Unusable for characters that no text holds."""
    found = _UNFIT.search(text)
    if found is None:
        return text
    if found[0] == "\0":
        raise Unusable("has a NUL character", where)
    raise Unusable("has half of a character", f"{code_point(found[0])} in {where}")


def message_list(value: Any, column: str, notes: Notes) -> list[Message]:
    """The messages of a column: a list of objects, the JSON text of one, or an object of lists.

    A system message that says nothing is left out.  `notes` is told what else there is.  Raises
    Unusable.
    """
    if isinstance(value, str):
        value = _parsed(value, column)
    if isinstance(value, Mapping):
        value = _transposed(value)
    if not isinstance(value, list):
        raise Unusable(f"has a `{column}` that is no list of messages", f"it is {kind_of(value)}")
    if not value:
        raise Unusable(f"has no message in `{column}`")
    found = (_message(item, number, notes) for number, item in enumerate(value, 1))
    return [message for message in found if message is not None]


def listed_in(cell: str, column: str, *, of_model: bool) -> list[Any] | None:
    """The messages that the text of a cell is, those `of_model` beginning with one of the model's; None
    where it is a text.  Raises Unusable for messages that are not written as JSON."""
    if _LISTED.match(cell) is None:
        return None
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        raise Unusable(
            f"has messages in `{column}` that are not JSON", "", "write them as JSON, such as by `json.dumps`"
        ) from None
    if not isinstance(found, list) or not all(
        isinstance(each, dict) and _ROLED & each.keys() and _SAYING & each.keys() for each in found
    ):
        return None
    role = str(_either(found[0], "role", "from")).strip().lower()
    return None if of_model and ROLES.get(role) != "model" else found


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


def _message(item: Any, number: int, notes: Notes) -> Message | None:
    where = f"message {number}"
    if not isinstance(item, Mapping):
        raise Unusable("has a message that is no object", f"{where} is {kind_of(item)}")
    role = _role(_either(item, "role", "from"), where)
    if item.get("tool_calls") or item.get("function_call"):
        raise _of_a_tool(where)
    content, thought = _content(_either(item, "content", "value"), where, notes)
    if not THOUGHTS.isdisjoint(item):
        thought = joined((*thoughts_of(item, where, notes), thought or ""))
    if role == "model":
        content, thought = said_and_thought(content, thought, notes)
    elif thought is not None:
        # Only what a model thinks is of use to a student.
        notes.messages.append(f"thought of a {role}")
        thought = None
    if not content.strip():
        if role == "system":
            return None
        raise Unusable("has an empty message", where)
    message: Message = {"role": role, "content": fit(content, where)}
    if not MARKS.isdisjoint(item):
        weight = weight_of(item, where, notes)
        if weight is not None:
            message["weight"] = weight
            if weight and role != "model":
                notes.messages.append(f"mark to train on a {role}")
    if thought is not None:
        message["thought"] = fit(thought, f"the thought of {where}")
    if not item.keys() <= _KNOWN:
        notes.messages += [name for name in item if name not in _KNOWN and item[name] not in NOTHING]
    return message


def said_and_thought(content: str, thought: str | None, notes: Notes) -> tuple[str, str | None]:
    """What a model says, and what it thought, where the text holds both."""
    said, inside = split(content)
    if said == content:
        return content, thought
    notes.since(2 if split(content, first=True) == (said, inside) else 3)
    return said, joined((thought or "", inside or ""))


def _of_a_tool(where: str) -> Unusable:
    return Unusable("has a call or an answer of a tool, and conversations here are text", where, WITHOUT)


def _either(item: Mapping[str, Any], name: str, other: str) -> Any:
    value = item.get(name)
    return item.get(other) if value is None else value


def _role(value: Any, where: str) -> str:
    if value is None:
        raise Unusable("has a message without a role", where)
    written = value if isinstance(value, str) else kind_of(value)
    role = ROLES.get(written.strip().lower())
    if role is None and written.strip().lower() in _TOOLS:
        raise _of_a_tool(f"{quoted(written)} in {where}")
    if role is None:
        raise Unusable("has an unknown role", f"{quoted(written)} in {where}; {_role_hint(written)}")
    return role


@lru_cache(maxsize=64)
def _role_hint(written: str) -> str:
    """Kept, since a file that has an unknown role has it on many lines."""
    guess = suggest(written.strip().lower(), ROLES)
    return f"did you mean `{guess}`?" if guess else "roles are system, user and assistant"


def _content(value: Any, where: str, notes: Notes) -> tuple[str, str | None]:
    """The text of a message, and what of its parts was thought and not said."""
    if isinstance(value, str):
        return value, None
    if value is None:
        raise Unusable("has a message without content", where)
    if not isinstance(value, list):
        raise Unusable("has content that is no text", f"that of {where} is {kind_of(value)}")
    said, thought, others = parts_of(value)
    if others:
        if others[0] in _CALLS:
            raise _of_a_tool(f"{where} has a part of type {quoted(others[0])}")
        raise Unusable("has content that is no text", f"{where} has a part of type {quoted(others[0])}")
    notes.messages += sealed_in(value)
    if thought is not None:
        notes.since(2)
    return said, thought
