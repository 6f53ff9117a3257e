"""Messages as datasets write them, and the one form they come to.

A normal message has `role` (system, user, model or tool), `content` (text, which is empty only beside calls
and of tools) and, where the source says them, `weight` (0 or 1), a model's `thought` (text), its `calls` of
tools and a tool's `name`.  The results of a message's calls stand behind it, in the calls' order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted
from synth.base.suggest import suggest
from synth.runtime.engines.thinking import parts_of, sealed_in, split
from synth.runtime.sources.faults import Unusable, fit, fit_json
from synth.runtime.sources.marks import MARKS, NOTHING, THOUGHTS, joined, kind_of, thoughts_of, weight_of
from synth.runtime.sources.notes import Notes
from synth.runtime.sources.tools import (
    ANSWERERS,
    CALLERS,
    CALLS,
    IDS,
    READING,
    Told,
    answer_id,
    calls_in,
    calls_of_text,
    in_order,
    result_text,
    split_parts,
)
from synth.store.log.source_payloads import Message, ToolCall

ROLES: Mapping[str, str] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("model", "assistant", "gpt", "chatgpt", "bot", "chatbot", "ai"), "model"),
}

_ROLED_AS: Mapping[str, str] = {
    **ROLES,
    **dict.fromkeys(ANSWERERS, "tool"),
    **dict.fromkeys(CALLERS, "model"),
}
_KNOWN = frozenset(("role", "from", "content", "value", *CALLS, *MARKS, *THOUGHTS))
_KNOWN_OF_TOOLS = _KNOWN.union(IDS, ("name", "beside"))

_ROLED, _SAYING = {"role", "from"}, {"content", "value"}
# A list of messages as JSON or, by mistake, as Python shows one.
_LISTED = re.compile(r"""\s*\[\s*\{\s*['"](?:role|from|content|value)['"]\s*:""")


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
    found = [each for number, item in enumerate(value, 1) for each in _messages(item, number, notes)]
    if any(each.message["role"] == "tool" or each.message.get("calls") for each in found):
        notes.since(READING)
        return in_order(found)
    return [each.message for each in found]


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


def _messages(item: Any, number: int, notes: Notes) -> Iterator[Told]:
    """The messages that one of a source is: its results of tools stand before what it says."""
    where = f"message {number}"
    if isinstance(item, str):
        # A table can hold objects as texts.
        item = _object(item)
    if not isinstance(item, Mapping):
        raise Unusable("has a message that is no object", f"{where} is {kind_of(item)}")
    written = _either(item, "role", "from")
    role = _role(written, where)
    content, results = _either(item, "content", "value"), list[Told]()
    if role == "tool":
        yield Told(_result(item, content, where, notes), [answer_id(item)])
        return
    calls, ids = calls_in(item, where)
    if isinstance(content, list):
        content, called, of_parts, results = split_parts(content, where)
        calls, ids = [*calls, *called], [*ids, *of_parts]
        if not content and (calls or results):
            content = ""
    of_text: str | None = None
    if str(written).strip().lower() in CALLERS:
        text, of_text = said_and_thought(_as_text(content, where), None, notes)
        called = calls_of_text(text, where)
        calls, ids = [*calls, *called], [*ids, *[None] * len(called)]
        content = item.get("beside")
    if calls and role != "model":
        raise Unusable("has a call of a tool by another than the model", where)
    yield from results
    if results and not content:
        return
    if content is None and calls:
        content = ""
    message = _message({"thought": of_text, **item} if of_text else item, role, content, where, notes, calls)
    if message is None:
        return
    if not all(call["name"] for call in calls):
        # It teaches nothing that could be called.
        notes.messages.append("call without a name")
        message.setdefault("weight", 0)
    yield Told(message, ids)


def _message(
    item: Mapping[str, Any], role: str, written: Any, where: str, notes: Notes, calls: list[ToolCall]
) -> Message | None:
    content, thought = _content(written, where, notes)
    if not THOUGHTS.isdisjoint(item):
        thought = joined((*thoughts_of(item, where, notes), thought or ""))
    if role == "model":
        content, thought = said_and_thought(content, thought, notes)
    elif thought is not None:
        # Only what a model thinks is of use to a student.
        notes.messages.append(f"thought of a {role}")
        thought = None
    if not content.strip() and not calls:
        if role == "system":
            return None
        raise Unusable("has an empty message", where)
    message: Message = {"role": role, "content": fit(content, where)}
    if calls:
        message["calls"] = [fit_json(call, f"a call of {where}") for call in calls]
    _mark(message, item, where, notes)
    if thought is not None:
        message["thought"] = fit(thought, f"the thought of {where}")
    known = _KNOWN_OF_TOOLS if calls else _KNOWN
    if not item.keys() <= known:
        notes.messages += [name for name in item if name not in known and item[name] not in NOTHING]
    return message


def _mark(message: Message, item: Mapping[str, Any], where: str, notes: Notes) -> None:
    if MARKS.isdisjoint(item):
        return
    weight = weight_of(item, where, notes)
    if weight is not None:
        message["weight"] = weight
        if weight and message["role"] != "model":
            notes.messages.append(f"mark to train on a {message['role']}")


def _result(item: Mapping[str, Any], content: Any, where: str, notes: Notes) -> Message:
    """What a tool gave."""
    message: Message = {"role": "tool", "content": fit(result_text(content, where), where)}
    if (name := item.get("name")) not in NOTHING:
        if not isinstance(name, str):
            raise Unusable("has a tool whose name is no text", f"that of {where} is {kind_of(name)}")
        message["name"] = fit(name, f"the name of {where}")
    _mark(message, item, where, notes)
    notes.messages += [key for key in item if key not in _KNOWN_OF_TOOLS and item[key] not in NOTHING]
    return message


def _object(text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text


def _as_text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    try:
        return canonical_json(value)
    except (TypeError, ValueError):
        raise Unusable("has a call of a tool that is not JSON", where) from None


def said_and_thought(content: str, thought: str | None, notes: Notes) -> tuple[str, str | None]:
    """What a model says, and what it thought, where the text holds both."""
    said, inside = split(content)
    if said == content:
        return content, thought
    notes.since(2 if split(content, first=True) == (said, inside) else 3)
    return said, joined((thought or "", inside or ""))


def _either(item: Mapping[str, Any], name: str, other: str) -> Any:
    value = item.get(name)
    return item.get(other) if value is None else value


def _role(value: Any, where: str) -> str:
    if value is None:
        raise Unusable("has a message without a role", where)
    written = value if isinstance(value, str) else kind_of(value)
    role = _ROLED_AS.get(written.strip().lower())
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
        raise Unusable("has content that is no text", f"{where} has a part of type {quoted(others[0])}")
    notes.messages += sealed_in(value)
    if thought is not None:
        notes.since(2)
    return said, thought
