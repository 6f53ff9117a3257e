"""Calls of tools as datasets write them, and what the tools gave: their normal form and their order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted
from synth.compiler.stdlib.tool_definitions import definitions_of, parsed
from synth.runtime.sources.faults import Unusable, fit_json
from synth.runtime.sources.marks import NOTHING, WithNan, kind_of
from synth.runtime.sources.notes import Notes
from synth.store.log.source_payloads import Message, ToolCall

# The version of the reader that reads them.
READING = 4

# Columns of definitions.
DEFINITIONS = ("tools", "functions")
# Keys of a message that calls, and those that say which call it answers or is.
CALLS = ("tool_calls", "function_call")
IDS = ("tool_call_id", "tool_use_id", "id", "call_id")

# Who calls, where what is called is the text, and who answers.
CALLERS = frozenset(("function_call", "tool_call", "tool_calls"))
ANSWERERS = frozenset(
    "tool function function_response observation ipython tool_response tool_result tool_results".split()
)
# Parts of a content that call and answer.
_USES = ("tool_use", "tool_call", "function_call")
_RESULTS = ("tool_result", "function_response")


@dataclass(slots=True)
class Told:
    """A message on its way; `ids` are those of its calls, or of the call that it answers, None where nobody
    said it."""

    message: Message
    ids: Sequence[str | None] = ()


def calls_tools(messages: Sequence[Message], tools: Sequence[Any] = ()) -> bool:
    """Whether tools are called in a conversation, or can be."""
    return bool(tools) or any(message.get("calls") or message["role"] == "tool" for message in messages)


def definitions_in(row: Mapping[str, Any], taken: Sequence[str], calling: bool, notes: Notes) -> list[Any]:
    """The definitions that a row has beside the columns `taken`; none where it has no such column, or one of
    something else in a conversation in which nothing is called.  Raises Unusable."""
    for column in DEFINITIONS:
        value = row.get(column)
        if column in taken or value in NOTHING:
            continue
        try:
            found = definitions_of(value)
        except ValueError as error:
            if not calling:
                notes.rows.append(column)
                continue
            raise Unusable(f"has `{column}` that define no tools", str(error)) from None
        notes.since(READING)
        return fit_json(found, f"`{column}`")
    return []


def calls_in(item: Mapping[str, Any], where: str) -> tuple[list[ToolCall], list[str | None]]:
    """The calls under the keys of a message, with their ids.  Raises Unusable."""
    found: list[tuple[ToolCall, str | None]] = []
    for key in CALLS:
        value = item.get(key)
        if value in NOTHING:
            continue
        if isinstance(value, str):
            value = _json(value, where)
        each = value if isinstance(value, list) else [value]
        found += [_call(call, f"call {number} of {where}") for number, call in enumerate(each, 1)]
    return [call for call, _ in found], [id_ for _, id_ in found]


def calls_of_text(text: str, where: str) -> list[ToolCall]:
    """The calls that the text of a message is, an object or a list of them.  Raises Unusable."""
    value = _json(text, where)
    each = value if isinstance(value, list) else [value]
    if not each:
        raise Unusable("has a message that calls no tool", where)
    named = (_call(call, where, bare=True)[0] for call in each)
    return list(named)


def split_parts(
    parts: Sequence[Any], where: str
) -> tuple[list[Any], list[ToolCall], list[str | None], list[Told]]:
    """The parts of a content that are neither calls nor results, the calls with their ids, and the results as
    messages.  Raises Unusable."""
    rest: list[Any] = []
    calls: list[ToolCall] = []
    ids: list[str | None] = []
    results: list[Told] = []
    for part in parts:
        type_ = part.get("type") if isinstance(part, Mapping) else None
        if type_ in _USES:
            call, id_ = _call(part, where)
            calls.append(call)
            ids.append(id_)
        elif type_ in _RESULTS:
            message = Message(
                role="tool", content=result_text(part.get("content", part.get("response")), where)
            )
            if isinstance(part.get("name"), str):
                message["name"] = part["name"]
            results.append(Told(message, [_id(part)]))
        else:
            rest.append(part)
    return rest, calls, ids, results


def result_text(value: Any, where: str) -> str:
    """What a tool gave, as text: other JSON than texts and their parts in its canonical form."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    texts = [
        part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
        for part in (value if isinstance(value, list) else ())
    ]
    if texts and all(isinstance(text, str) for text in texts):
        return "".join(str(text) for text in texts)
    try:
        return canonical_json(value)
    except (TypeError, ValueError, RecursionError):
        raise Unusable("has a result of a tool that is no JSON", f"{where} is {kind_of(value)}") from None


def answer_id(item: Mapping[str, Any]) -> str | None:
    """Which call a tool's message says that it answers."""
    return _id(item, ("tool_call_id", "tool_use_id", "call_id"))


def in_order(told: Sequence[Told]) -> list[Message]:
    """Messages of which each call has its result behind it, in the calls' order, those of the last message
    perhaps none.  Results that come as one are taken apart.  Raises Unusable for a call without a result and
    for a result without a call."""
    found: list[Message] = []
    at = 0
    while at < len(told):
        each = told[at]
        at += 1
        if each.message["role"] == "tool":
            raise Unusable("has a result of a tool without a call", f"message {at}")
        found.append(each.message)
        calls = each.message.get("calls")
        if not calls:
            continue
        place = at
        while at < len(told) and told[at].message["role"] == "tool":
            at += 1
        results = list(told[place:at])
        if not results and at == len(told):
            # It ends where the tools are called.
            break
        found += _answered(calls, each.ids, _apart(results, len(calls)), place)
    return found


def _answered(
    calls: Sequence[ToolCall], ids: Sequence[str | None], results: list[Told], place: int
) -> Iterator[Message]:
    if len(results) > len(calls):
        raise Unusable("has a result of a tool without a call", f"message {place + len(calls) + 1}")
    if len(results) < len(calls):
        missing = len(calls) - len(results)
        raise Unusable(
            "has a call of a tool without a result", f"{missing} of {len(calls)} in message {place}"
        )
    for call, index in zip(calls, _order(calls, ids, results, place), strict=True):
        where = f"message {place + index + 1}"
        message = fit_json(results[index].message, where)
        if call["name"] and message.setdefault("name", call["name"]) != call["name"]:
            raise Unusable(
                "has a result of a tool under the name of another",
                f"{quoted(message['name'])} for a call of {quoted(call['name'])} in {where}",
            )
        yield message


def _order(
    calls: Sequence[ToolCall], ids: Sequence[str | None], results: list[Told], place: int
) -> list[int]:
    """Which result is that of each call: by the ids that both have, else by the names that results have,
    else as they come."""
    found: dict[int, int] = {}
    counts = Counter(ids)
    # Two calls of one id are told apart by nothing.
    of_ids = {id_: number for number, id_ in enumerate(ids) if id_ is not None and counts[id_] == 1}
    for index, result in enumerate(results):
        id_ = result.ids[0] if result.ids else None
        if id_ is None:
            continue
        where = f"message {place + index + 1} answers {quoted(id_)}"
        if id_ not in of_ids:
            if len(of_ids) == len(calls):
                raise Unusable("has a result of a tool without a call", where)
        elif of_ids[id_] in found:
            raise Unusable("has two results of one call of a tool", where)
        else:
            found[of_ids[id_]] = index
    for named in (True, False):
        for index, result in enumerate(results):
            name = result.message.get("name")
            if index in found.values() or (name is not None) != named:
                continue
            left = [number for number in range(len(calls)) if number not in found]
            same = [number for number in left if calls[number]["name"] in (name, "")] if named else left
            if not same:
                raise Unusable(
                    "has a result of a tool that is not called",
                    f"{quoted(str(name))} in message {place + index + 1}",
                )
            found[same[0]] = index
    return [found[number] for number in range(len(calls))]


def _apart(results: list[Told], calls: int) -> list[Told]:
    """Results of several calls that stand in one message as a list in JSON."""
    if len(results) != 1 or calls < 2:
        return results
    try:
        value = parsed(results[0].message["content"])
    except ValueError:
        return results
    if not isinstance(value, list) or len(value) != calls:
        return results
    return [Told(Message(role="tool", content=result_text(each, "a result"))) for each in value]


def _call(value: Any, where: str, *, bare: bool = False) -> tuple[ToolCall, str | None]:
    """A call with its id.  `bare` ones may have no name, as some files write them."""
    if isinstance(value, str):
        value = _json(value, where)
    if not isinstance(value, Mapping):
        raise Unusable("has a call of a tool that is no object", f"{where} is {kind_of(value)}")
    function = value.get("function")
    if not isinstance(function, Mapping):
        function = value
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        if not bare or name not in NOTHING:
            raise Unusable("has a call of a tool without a name", where)
        name = ""
    given = next(
        (function[key] for key in ("arguments", "parameters", "input", "args") if key in function), None
    )
    return ToolCall(name=name, arguments=_arguments(given, where)), _id(value)


def _arguments(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        value = _json(value, where)
    if value in (None, ""):
        return {}
    if not isinstance(value, Mapping):
        raise Unusable("has arguments of a tool that are no object", f"those of {where} are {kind_of(value)}")
    try:
        canonical_json(value)
    except (TypeError, ValueError, RecursionError):
        raise Unusable("has arguments of a tool that are no JSON", where) from None
    return dict(value)


def _json(text: str, where: str) -> Any:
    """A call, or arguments: of two values of one key nobody knows which was meant."""
    try:
        return _DECODER.decode(text)
    except _Twice as error:
        key = quoted(str(error)[:60])
        raise Unusable("has a call of a tool that names a key twice", f"{key} in {where}") from None
    except (ValueError, RecursionError):
        raise Unusable("has a call of a tool that is not JSON", where) from None


class _Twice(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


def _none(word: str) -> Any:
    raise ValueError(word)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_none)


def _id(
    item: Mapping[str, Any], keys: Sequence[str] = ("tool_use_id", "tool_call_id", "id", "call_id")
) -> str | None:
    return next((item[key] for key in keys if isinstance(item.get(key), str) and item[key]), None)


def dense(row: Mapping[str, Any], *, definitions: bool) -> Mapping[str, Any]:
    """A table's row without the nulls that its types have put into calls, and perhaps into definitions:
    there an object has every field that one of its kind has in some row."""
    found: dict[str, Any] = {}
    for column, value in row.items():
        if not isinstance(value, list):
            continue
        if column in DEFINITIONS:
            if definitions:
                found[column] = _without_nulls(value)
        elif any(isinstance(each, Mapping) and any(each.get(key) for key in CALLS) for each in value):
            found[column] = [_densely(each) for each in value]
    if not found:
        return row
    return WithNan({**row.written, **found}) if isinstance(row, WithNan) else {**row, **found}


def _densely(message: Any) -> Any:
    if not isinstance(message, Mapping):
        return message
    return {key: _without_nulls(of) if key in CALLS else of for key, of in message.items()}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
