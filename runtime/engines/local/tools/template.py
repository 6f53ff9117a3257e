"""What a chat template does with tools: whether it shows them, and in which form it writes calls.

Both are seen in what it makes of a small conversation in which a tool is called: a template that leaves out
the tool, the call or its result takes no tools, and the form of calls is the one in which it writes that
call itself, since a model writes what it was shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from synth.base.errors import CallFailed
from synth.runtime.engines.base import Call, Completion, Message, ToolCall
from synth.runtime.engines.local.tools.forms import HERMES, LLAMA, Form
from synth.runtime.engines.thinking import leading
from synth.runtime.engines.tool_calls import Malformed, cut, in_text

# Shows a conversation with tools as a template does; raises CallFailed where the template refuses it.
Show = Callable[[Sequence[Message], Sequence[Mapping[str, Any]]], str]

_NAME, _WORDS, _VALUE, _RESULT, _ABOUT = (
    "probe_tool",
    "Probe words",
    "probe value",
    "probe result",
    "Probes it.",
)
_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": _ABOUT,
        "parameters": {
            "type": "object",
            "properties": {"probe_key": {"type": "string"}},
            "required": ["probe_key"],
        },
    },
}
_CALL = ToolCall(_NAME, {"probe_key": _VALUE})
_USER, _ANSWERED = Message("user", "?"), Message("tool", _RESULT, name=_NAME)

_OF_NAME, _OF_VALUE = rf'"name":\s*"{_NAME}"', rf'\{{\s*"probe_key":\s*"{_VALUE}"\s*\}}'
_FORMS = (
    (
        HERMES,
        rf'<tool_call>\s*\{{\s*(?:{_OF_NAME},\s*"arguments":\s*{_OF_VALUE}'
        rf'|"arguments":\s*{_OF_VALUE},\s*{_OF_NAME})\s*\}}\s*</tool_call>',
    ),
    (LLAMA, rf'(?<=[\n>])\{{\s*{_OF_NAME},\s*"parameters":\s*{_OF_VALUE}\s*\}}'),
)
_MARK = re.compile(r"<[^<>\s]{1,60}>|\[[A-Z_]{3,60}\]")


@dataclass(frozen=True, slots=True)
class TemplateTools:
    """A template that takes tools: the form in which it writes calls, where that is known, whether it takes
    one call in a message alone, and the mark before its calls, if any."""

    form: Form | None
    single: bool
    mark: str


def tools_of(show: Show) -> TemplateTools | None:
    """What a template does with tools; None where it takes none."""
    text = _shown(show, _USER, Message("model", "", (_CALL,)), _ANSWERED)
    if text is None or any(part not in text for part in (_ABOUT, _VALUE, _RESULT)):
        return None
    form = next((form for form, pattern in _FORMS if re.search(pattern, text)), None)
    both = _shown(show, _USER, Message("model", "", (_CALL, _CALL)), _ANSWERED, _ANSWERED)
    return TemplateTools(form, both is None or both.count(_VALUE) < 2, _mark(show))


def _shown(show: Show, *messages: Message) -> str | None:
    try:
        return show(messages, (_TOOL,))
    except CallFailed:
        return None


def _mark(show: Show) -> str:
    """The first mark between what is said and the name of what is called that no other turn has."""
    text = _shown(show, _USER, Message("model", _WORDS, (_CALL,)), _ANSWERED) or ""
    others = _shown(show, _USER, Message("model", _WORDS), _USER) or ""
    ordinary = others.rpartition(_WORDS)[2]
    _, found, behind = text.rpartition(_WORDS)
    marks = _MARK.findall(behind.partition(_NAME)[0]) if found else []
    return next((mark for mark in marks if mark not in ordinary), "")


class Parser(Protocol):
    """What reads a model's calls.  `keeps_special` says that special tokens must be in the text."""

    @property
    def keeps_special(self) -> bool: ...

    def read(self, text: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[ToolCall]] | None:
        """What is said beside the calls, and the calls; None where nothing is called.  Raises Malformed."""
        ...


class FormParser:
    """The parser of one of our own forms.  `special` are a tokenizer's special tokens."""

    def __init__(self, form: Form, special: Mapping[str, int]) -> None:
        self._form = form
        self.keeps_special = any(mark in special for mark in form.marks)

    def read(self, text: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[ToolCall]] | None:
        return self._form.read(text, {tool["function"]["name"] for tool in tools})


class ToolReader:
    """Tells the calls in a model's answers from what it says."""

    def __init__(self, parser: Parser, *, single: bool, plain: Callable[[str], str]) -> None:
        self._parser = parser
        self._single = single
        self._plain = plain if parser.keeps_special else str
        self.keeps_special = parser.keeps_special

    def read(self, answer: Completion, call: Call) -> Completion:
        """An answer with its calls apart.  One that is cut once it has begun to call is malformed, though its
        calls be whole: what would have followed is not known."""
        said, thought = leading(answer.text)
        try:
            found = self._parser.read(said, call.tools)
            words, calls = (said, ()) if found is None else found
            malformed = in_text(words, call.tools, schema=call.schema is not None)
            if found is None:
                text = answer.text if malformed else self._plain(answer.text)
                return replace(answer, text=text, malformed=malformed)
            malformed = malformed or self._refused(calls)
        except Malformed as error:
            calls, malformed = (), str(error)
        if answer.finish_reason == "length":
            malformed = cut(calls)
        if malformed is not None:
            return replace(answer, malformed=malformed)
        return replace(answer, text=self._plain(words).strip(), thought=thought, calls=tuple(calls))

    def _refused(self, calls: Sequence[ToolCall]) -> str | None:
        if self._single and len(calls) > 1:
            return (
                f"{len(calls)} tools are called at once, and this model's template takes one call at a time"
            )
        return None
