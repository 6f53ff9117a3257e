"""The forms in which models write calls of tools into their text, read strictly.

A text calls nothing (None), or it is what is said beside some calls, or it begins a call and is none
(Malformed): a model that is trained on its own calls learns what is let through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from synth.runtime.engines.base import ToolCall
from synth.runtime.engines.tool_calls import Malformed, call_of, decode, kind, shown


class Parsed(NamedTuple):
    """What is said beside calls, and the calls."""

    said: str
    calls: tuple[ToolCall, ...]


class Form(NamedTuple):
    """`read` is given an answer without its thinking, and the names of the tools that there are.  Of the
    `marks` that it looks for, those that are special tokens must not be left out of the answer's text."""

    name: str
    marks: tuple[str, ...]
    read: Callable[[str, Collection[str]], Parsed | None]


_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
# One that begins a line, or that JSON follows at once; one in quotes is spoken of.
_BEGINS = re.compile(rf"^[ \t]*{_OPEN}|(?<![`\"'“‘«]){_OPEN}(?=\s*\{{)", re.MULTILINE)
_PYTHON = "<|python_tag|>"
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,200})"')
# The beginning of a call without marks around it.
_BARE = re.compile(r'\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"([^"\\]{1,200})"')
_SPACE = re.compile(r"\s*")
_NEAR = 400


def hermes(text: str, known: Collection[str]) -> Parsed | None:
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, several perhaps, behind what is said: the
    form of Hermes, of Qwen 2.5 and of Qwen 3."""
    begins = _BEGINS.search(text)
    if begins is None:
        return None
    at = begins.end() - len(_OPEN)
    said, calls = text[:at], list[ToolCall]()
    while at < len(text):
        if not text.startswith(_OPEN, at):
            raise Malformed(f"something follows the call of `{shown(calls[-1].name)}`")
        call, at = _call(text, _behind(text, at + len(_OPEN)), "arguments", len(calls) + 1)
        at = _behind(text, at)
        if not text.startswith(_CLOSE, at):
            raise Malformed(f"the call of `{shown(call.name)}` is not closed by `{_CLOSE}`")
        calls.append(call)
        at = _behind(text, at + len(_CLOSE))
    return Parsed(said, tuple(calls))


def llama(text: str, known: Collection[str]) -> Parsed | None:
    """`{"name": ..., "parameters": {...}}` as the whole answer, or behind `<|python_tag|>`, with `;` between
    several: the form of Llama 3.1.  JSON that has no such fields is what is said."""
    said, tag, _ = text.partition(_PYTHON)
    at = _behind(text, len(said) + len(tag) if tag else 0)
    if not tag:
        said = ""
        bare = _BARE.match(text, at)
        if bare is None or not (bare[1] in known or _is_call(text, at)):
            return None
    calls = list[ToolCall]()
    while at < len(text) or not calls:
        call, at = _call(text, at, "parameters", len(calls) + 1)
        calls.append(call)
        at = _behind(text, at)
        if at < len(text):
            if text[at] != ";":
                raise Malformed(f"something follows the call of `{shown(call.name)}`")
            at = _behind(text, at + 1)
    return Parsed(said, tuple(calls))


HERMES = Form("hermes", (_OPEN, _CLOSE), hermes)
LLAMA = Form("llama3_json", (_PYTHON,), llama)
# By the names that vLLM has for its own parsers of them.
FORMS: Mapping[str, Form] = {
    "hermes": HERMES,
    "qwen3_json": HERMES,
    "llama3_json": LLAMA,
    "llama4_json": LLAMA,
}


def _is_call(text: str, at: int) -> bool:
    """Whether JSON at an index has the fields of a call, whatever is wrong with them or follows."""
    try:
        value, _ = decode(text, at)
    except Malformed:
        # Of broken JSON those that can be seen.
        return '"parameters"' in text[at:]
    return isinstance(value, dict) and "parameters" in value


def _call(text: str, at: int, field: str, number: int) -> tuple[ToolCall, int]:
    """The call whose JSON begins at an index, and where it ends."""
    named = _NAME.search(text, at, at + _NEAR)
    which = f"call {number}" if named is None else f"call {number}, of `{shown(named[1])}`,"
    try:
        value, end = decode(text, at)
    except Malformed as error:
        raise Malformed(f"the words of {which} {error}") from None
    if not isinstance(value, dict):
        raise Malformed(f"{which} is {kind(value)} instead of an object")
    if value.get("type") == "function":
        del value["type"]
    if "name" in value and field not in value:
        raise Malformed(f"{which} has no `{field}`")
    if other := next((each for each in value if each not in ("name", field)), None):
        raise Malformed(f"{which} has `{shown(other)}` beside its name and {field}")
    arguments: Any = value.get(field)
    if not isinstance(arguments, dict):
        raise Malformed(f"{which} has {kind(arguments)} in place of an object of {field}")
    return call_of(value.get("name"), arguments, number), end


def _behind(text: str, at: int) -> int:
    """The index behind the white space at an index."""
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
