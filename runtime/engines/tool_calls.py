"""Calls of tools as models and services write them, read strictly.

What was written is calls, or there is a clause that says why it is none.  Arguments come out with the keys
of each object sorted, as the log keeps them: so what a model is shown of its calls is the same in a run that
goes on from the log.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from synth.base.canonical import canonical_json
from synth.base.display import visible
from synth.base.text import valid_text
from synth.runtime.engines.base import Message, ToolCall
from synth.runtime.engines.wire.fields import told

_DEEPEST = 64
_LONGEST_NAME = 200
# Those that a dataset can be read with.
_WHOLE = range(-(1 << 63), 1 << 63)
_MOST_DIGITS = 40
# As many as a tool's result may have.
_MOST_BYTES = 1 << 20
_LONGEST_SHOWN = 60

# What models write around calls and answers of tools, in all forms that there are parsers of.
_MARK = re.compile(
    r"""<\s{0,3}/?\s{0,3}[|｜]?(?:\w{1,20}[:|])?(?:\w{1,20}_)?(?:tool|function)[_▁]?
        (?:calls?|response|results?|outputs?)[\w▁]{0,20}\s{0,3}[|｜]?>
      | <tools>(?=\s{0,9}[\[{])
      | <function\s{0,3}(?:=|name=) | <invoke\s{1,3}name=
      | <\|(?:python_(?:tag|start)|action_start|plugin|START_ACTION|tool[\w▁]{0,30})\|>
      | <\|open\|>tools<\|sep\|> | <\|channel\|>commentary
      | \[(?:TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\]
      | \bfunctools\[(?=\s{0,9}\{)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CODE = re.compile(r"(?<!`)`[^`\n]{1,400}`(?!`)")
_QUOTES = frozenset("`\"'“‘«")
_PYTHON = re.compile(r"(?:\w{1,20}\n)?\s*\[?\s*([\w.-]{1,64})\((?:\s*\w+\s*=.*)?\)\s*\]?\s*", re.DOTALL)
_FIELDS = ("arguments", "parameters", "args", "input", "tool_input", "action_input")
_NAMES = ("name", "function", "tool", "tool_name", "function_name", "action", "recipient_name")
# Where calls stand in an object.
_AROUND = ("function", "function_call", "tool_call", "tool_calls", "calls", "tool_uses")
_OBJECT = re.compile(rf"""\{{\s*["'](?:type|id|{"|".join({*_FIELDS, *_NAMES, *_AROUND})})["']\s*:""")
_NAMED = re.compile(rf"""["'](?:{"|".join(_NAMES)})["']\s*:\s*["']([^"'\\]{{1,200}})["']""")
_FIELD = re.compile(rf"""["'](?:{"|".join(_FIELDS)})["']""")
_BEFORE = re.compile(r"(?:\A|[\n`>])[ \t\[,;]*\Z")
_AFTER = re.compile(r"[ \t\],;`]*(?:\n|\Z)")
_NEAR = 400
_MOST_OBJECTS = 32


class Malformed(Exception):
    """What was written is no call; the message is a clause that says why."""


class Called(NamedTuple):
    """The calls of an answer, or the clause that says why what was written is none."""

    calls: tuple[ToolCall, ...] = ()
    malformed: str | None = None


class _Twice(Exception):
    pass


def decode(text: str, begin: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at an index, and where it ends.

    Raises Malformed, whose message goes on a clause such as `arguments that ...`, for what is not JSON and
    for an object with one key twice.
    """
    try:
        value, end = _DECODER.raw_decode(text, begin)
    except _Twice as error:
        raise Malformed(f"name `{shown(str(error))}` twice") from None
    except RecursionError:
        raise Malformed(f"are nested more than {_DEEPEST} deep") from None
    except ValueError:
        raise Malformed("are not JSON") from None
    return value, end


def arguments_of(given: Any, sound: Callable[[str], str] = valid_text) -> dict[str, Any]:
    """Arguments from JSON text, or from what JSON text was parsed to; `sound` makes each text in them fit
    to be kept.  Nothing and blank text are no arguments.  Raises Malformed as `decode` does."""
    if isinstance(given, str):
        text = given.strip()
        given = None
        if text:
            given, end = decode(text)
            if end != len(text):
                raise Malformed("have something behind their JSON")
            if given is None:
                raise Malformed("are null in place of an object")
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise Malformed(f"are {kind(given)} in place of an object")
    found: dict[str, Any] = _kept(given, sound, 0)
    size = len(canonical_json(found).encode("utf-8", "surrogatepass"))
    if size > _MOST_BYTES:
        raise Malformed(f"are {size:,} bytes of JSON, and 1 MiB is the most")
    return found


def call_of(
    name: Any,
    arguments: Any,
    number: int,
    sound: Callable[[str], str] = valid_text,
    signature: str | None = None,
) -> ToolCall:
    """A call from its parts; it is the `number`th of its answer, from 1.  Raises Malformed, with a whole
    clause."""
    if not isinstance(name, str):
        what = "no name" if name is None else f"{kind(name)} in place of a name"
        raise Malformed(f"call {number} has {what}")
    if not name.strip():
        raise Malformed(f"call {number} has no name")
    if len(name) > _LONGEST_NAME:
        raise Malformed(f"call {number} has a name of {len(name):,} characters")
    name = sound(name)
    try:
        return ToolCall(name, arguments_of(arguments, sound), signature)
    except Malformed as error:
        raise Malformed(f"`{shown(name)}` is called with arguments that {error}") from None


def shown(name: str) -> str:
    """A name as a clause has it."""
    return visible(name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}...")


def in_text(text: str, tools: Sequence[Mapping[str, Any]], *, schema: bool = False) -> str | None:
    """A clause for a text that writes a call of a tool, or what a tool answered, as what is said: a model
    that is trained on it learns to talk of calls in place of making them.  A text in backquotes or behind a
    quotation mark is spoken of.  An answer by a schema may well be JSON with the name of a tool in it."""
    whole, bare = text.strip(), text.strip().strip("`")
    plain = bare if whole[:1] == whole[-1:] == "`" and "`" not in bare else _CODE.sub("", whole)
    mark = _mark_in(plain)
    if mark is not None:
        return f"the answer has `{shown(mark)}` in what it says"
    named = [each["function"]["name"] for each in tools]
    known = [name for name in named if name in plain]
    if not known or schema:
        return None
    name = _named_alone(plain, known) or _named_in_json(plain, frozenset(known))
    return None if name is None else f"the answer writes a call of `{shown(name)}` as what it says"


def _mark_in(text: str) -> str | None:
    if "<" not in text and "[" not in text:
        return None
    spoken = False
    for mark in _MARK.finditer(text):
        quoted = mark.start() > 0 and text[mark.start() - 1] in _QUOTES
        if not (quoted or (spoken and "/" in mark[0])):
            return mark[0]
        spoken = spoken or quoted
    return None


def _named_alone(text: str, known: Sequence[str]) -> str | None:
    """The tool that a text calls as Python does, where it says nothing else."""
    called = _PYTHON.fullmatch(text)
    return called[1] if called is not None and called[1] in known else None


def _named_in_json(text: str, known: frozenset[str]) -> str | None:
    """The first tool whose name stands with arguments in an object that begins or ends a line."""
    at = 0
    for _ in range(_MOST_OBJECTS):
        found = _OBJECT.search(text, at)
        if found is None:
            return None
        begins = _BEFORE.search(text, max(0, found.start() - _NEAR), found.start()) is not None
        try:
            value, at = decode(text, found.start())
        except Malformed:
            at = found.end()
            broken = _NAMED.search(text, found.start(), at + _NEAR)
            if begins and broken is not None and broken[1] in known and _FIELD.search(text, at):
                return broken[1]
            continue
        if begins or _AFTER.match(text, at):
            name = _name_in(value, known)
            if name is not None:
                return name
    return None


def _name_in(value: Any, known: frozenset[str]) -> str | None:
    if isinstance(value, list):
        return next(filter(None, (_name_in(each, known) for each in value)), None)
    if not isinstance(value, dict):
        return None
    if any(field in value for field in _FIELDS):
        for key in _NAMES:
            if isinstance(value.get(key), str) and value[key] in known:
                return str(value[key])
    return next(filter(None, (_name_in(value.get(key), known) for key in _AROUND)), None)


def cut(calls: Sequence[ToolCall]) -> str:
    """The clause for an answer that was cut at the limit of tokens once it had begun to call."""
    after = f" after `{shown(calls[-1].name)}` was called" if calls else ""
    return f"the answer was cut at the limit of tokens{after or ' in the middle of a call'}"


def numbered(messages: Sequence[Message]) -> list[tuple[str, ...]]:
    """An id for each call of a model's message, and for a tool's message that of the call it answers: the
    n-th behind a message answers its n-th call.  The ids follow from the calls' positions alone, and have
    nine letters and digits, as the strictest templates and services want them."""
    numbers = itertools.count(1)
    found: list[tuple[str, ...]] = []
    waiting: list[str] = []
    for message in messages:
        ids: tuple[str, ...] = ()
        if message.calls:
            ids = tuple(f"call{next(numbers):05}" for _ in message.calls)
            waiting = list(ids)
        elif message.role == "tool":
            # One that answers nothing has a number of its own.
            ids = (waiting.pop(0) if waiting else f"call{next(numbers):05}",)
        found.append(ids)
    return found


def _kept(value: Any, sound: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        return sound(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in _WHOLE:
            raise Malformed("hold a whole number of more than 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Malformed("hold a number that is none, or too large")
        return value
    if depth >= _DEEPEST:
        raise Malformed(f"are nested more than {_DEEPEST} deep")
    if isinstance(value, Mapping):
        found = {sound(key): _kept(part, sound, depth + 1) for key, part in value.items()}
        if len(found) < len(value):
            raise Malformed("name a key twice")
        return dict(sorted(found.items()))
    return [_kept(part, sound, depth + 1) for part in value]


def kind(value: Any) -> str:
    """What a value of JSON is, in a clause."""
    return "a number" if type(value) in (int, float) else told(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _none(word: str) -> Any:
    raise ValueError(word)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_none, parse_int=_whole)
