"""Conversations to exact prompt tokens, with text a model wrote kept as data.

A chat template marks turns with control tokens such as `<end_of_turn>`.  A message, a call's arguments or
the description of a tool may contain the same characters: they are then encoded as plain text, so the only
control tokens in a prompt are the template's own.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import chain, islice, pairwise
from typing import Any

from synth.base.errors import CallFailed, EngineError
from synth.base.text import valid_text
from synth.runtime.engines.base import Message, MessageRole, without_system
from synth.runtime.engines.local.controls import Controls
from synth.runtime.engines.local.tools.template import TemplateTools, tools_of
from synth.runtime.engines.thinking import opened
from synth.runtime.engines.tool_calls import numbered

_ROLES: Mapping[MessageRole, str] = {
    "system": "system",
    "user": "user",
    "model": "assistant",
    "tool": "tool",
}

# Characters that Unicode gives no meaning, so a sentinel survives `trim` and `lower`.
_PRIVATE_USE = (range(0xF0000, 0xFFFFE), range(0xE000, 0xF900), range(0x100000, 0x10FFFE))

# Some templates print today's date.  Prompt tokens are part of a call's key, so a run that is
# resumed tomorrow would pay for every call again; the clock a template sees stands still.
_CLOCK = datetime(2025, 1, 1)

# Where a template shows the ids of calls.
_IDS = re.compile(r"""tool_call_id|tool_call(?:\.id\b|\[['"]id['"]\])""")

# A turn is encoded once and found again in every later prompt of its conversation: a thousand
# seats use some three thousand turns at a time.  With turns of at most this many characters what
# is kept takes a dozen megabytes as a rule and a hundred at the very most.
_MOST_KEPT = 4096
_LONGEST_KEPT = 4096


class ChatTemplate:
    """Renders conversations with a tokenizer's own chat template.

    `arguments` are what the template is given besides the conversation.  Without `system` what a
    system message says opens the first message, for templates that refuse that role.  Safe to use
    from several threads: nothing but a cache is changed after construction.
    Raises `EngineError` for a tokenizer without a chat template or without a fast backend.
    """

    def __init__(
        self, tokenizer: Any, arguments: Mapping[str, Any] | None = None, *, system: bool = True
    ) -> None:
        name = getattr(tokenizer, "name_or_path", "") or "this model"
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise EngineError(f"`{name}` has no fast tokenizer: use a checkpoint with a tokenizer.json")
        try:
            self.text: str = tokenizer.get_chat_template()
        except ValueError:
            raise EngineError(f"`{name}` has no chat template: use its instruction-tuned variant") from None
        self.hash = sha256(self.text.encode("utf-8")).hexdigest()
        self._arguments = dict(arguments or {})
        self._system = system
        self._shows_ids = _IDS.search(self.text) is not None
        self.tokenizer = tokenizer
        self._backend = backend
        added = backend.get_added_tokens_decoder().items()
        special = {token.content: number for number, token in added if token.special and token.content}
        self._controls = Controls(special)
        # Where tools are called, those as well that the template has around calls and results.
        tags = {token.content: number for number, token in added if _is_tag(token.content, self.text)}
        self._tool_controls = Controls({**special, **tags})
        self._by_turns = _is_divisible(backend)
        self._kept = lru_cache(_MOST_KEPT)(self._encode_turn)

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> tuple[int, ...]:
        """The prompt's token ids, ending where the model is to go on.

        Without control tokens in the messages these are the ids of
        `tokenizer.apply_chat_template(..., add_generation_prompt=True)`.  Half a surrogate pair,
        which has no bytes, becomes U+FFFD.  Raises `CallFailed` (`bad_request`, not retryable)
        when the template refuses the conversation.
        """
        conversation, defined, shown, _ = self._hide(messages, tools)
        return self._to_ids(self._to_text(conversation, prompt=True, tools=defined), shown)

    def render_opening(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The token ids of a conversation and of what opens the user's next turn, ending where its text
        begins.  Raises `CallFailed` as `render` does, and where the template has no such place."""
        conversation, _, shown, (mark,) = self._hide([*messages, Message("user", "")], marks=1)
        conversation[-1]["content"] += mark
        opened, found, _ = self._to_text(conversation, prompt=False).partition(mark)
        if not found:
            raise CallFailed("bad_request", "the chat template shows no turn of the user's", retryable=False)
        return self._to_ids(opened, shown)

    @cached_property
    def opened_thinking(self) -> str:
        """The tag of thinking that is open where the model is to go on, which its text then lacks;
        nothing where there is none."""
        try:
            prompt = self._to_text([{"role": "user", "content": "?"}], prompt=True)
        except CallFailed:
            return ""
        return opened(prompt)

    def render_answer(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], int]:
        """A conversation whose last message is the model's answer, and where the answer begins.

        Up to that index these are the ids of `render` for the messages before; then come the
        answer and the control token that ends the turn.  What the template puts behind that (a
        line end, mostly) is not the model's to say and is left out.  Raises `CallFailed` as
        `render` does, and for a conversation that does not end with an answer.
        """
        if not messages or messages[-1].role != "model":
            raise CallFailed("bad_request", "the conversation does not end with an answer", retryable=False)
        asked = self.render(messages[:-1])
        conversation, _, shown, (mark,) = self._hide(messages, marks=1)
        begin = self._to_text(conversation[:-1], prompt=True)
        answer = self._answer(conversation, begin, mark)
        ids = self._to_ids(begin + answer, shown)
        if ids[: len(asked)] != asked:
            # Characters on both sides of the seam would make one token, which no model is shown.
            ids = asked + self._to_ids(answer, shown)
        return ids, len(asked)

    def _answer(self, conversation: list[dict[str, Any]], begin: str, mark: str) -> str:
        """What the model says after the prompt `begin`, with the control token that ends its turn."""
        last, said = conversation[-1], str(conversation[-1]["content"])
        whole = self._to_text(conversation, prompt=False)
        marked = self._to_text([*conversation[:-1], {**last, "content": mark}], prompt=False)
        before, found, ending = marked.rpartition(mark)
        if not found or not whole.endswith(ending):
            # The template looks into the answer, so where its own words begin cannot be known.
            return whole.removeprefix(begin) if whole.startswith(begin) else said
        body = whole[: len(whole) - len(ending)]
        end = self._controls.pattern.search(ending)
        kept = ending if end is None else ending[: end.end()]
        for prompt in (begin, before):
            if body.startswith(prompt):
                return body.removeprefix(prompt) + kept
        return said + kept

    @cached_property
    def tools(self) -> TemplateTools | None:
        """What the template does with tools; None where it takes none."""
        return tools_of(self._show)

    @property
    def special(self) -> Mapping[str, int]:
        """The ids of the special tokens, by their spelling."""
        return self._controls.ids

    def plain(self, text: str) -> str:
        """A text without the special tokens in it."""
        return self._controls.pattern.sub("", text)

    def _show(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> str:
        conversation, defined, _, _ = self._hide(messages, tools)
        return self._to_text(conversation, prompt=False, tools=defined)

    def _hide(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), marks: int = 0
    ) -> tuple[list[dict[str, Any]], list[Any], dict[str, str], list[str]]:
        """Messages and tools for the template, with sentinels where they hold control tokens.

        With them come what each sentinel stands for, and as many unused characters as `marks`.
        """
        if not self._system:
            messages = without_system(messages)
        conversation: list[dict[str, Any]] = [
            {"role": _ROLES[message.role], "content": valid_text(message.content)} for message in messages
        ]
        texts = [message["content"] for message in conversation]
        defined: list[Any] = [_each(tool, valid_text) for tool in tools]
        structured = bool(tools) or any(message.calls or message.name for message in messages)
        if structured:
            self._add_calls(conversation, messages)
            texts = [*_texts(conversation), *_texts(defined)]
        control = (self._tool_controls if structured else self._controls).pattern
        literals = sorted({found for text in texts for found in control.findall(text)})
        unused = _unused_characters([self.text, *texts], len(literals) + marks)
        sentinels, spare = unused[: len(literals)], unused[len(literals) :]
        if literals:
            hide = dict(zip(literals, sentinels, strict=True))

            def hidden(text: str) -> str:
                return control.sub(lambda found: hide[found.group()], text)

            conversation = [_each(message, hidden) for message in conversation]
            defined = _each(defined, hidden)
        return conversation, defined, dict(zip(sentinels, literals, strict=True)), spare

    def _add_calls(self, conversation: list[dict[str, Any]], messages: Sequence[Message]) -> None:
        """Give the entries of a conversation their calls, and the tools' names to what they came to.  Only
        templates that show ids are given any."""
        for entry, message, ids in zip(conversation, messages, numbered(messages), strict=True):
            if message.name:
                entry["name"] = valid_text(message.name)
            if message.role == "tool" and self._shows_ids:
                entry["tool_call_id"] = ids[0]
            if message.calls:
                entry["tool_calls"] = [
                    {
                        **({"id": id_} if self._shows_ids else {}),
                        "type": "function",
                        "function": {
                            "name": valid_text(call.name),
                            "arguments": _each(call.arguments, valid_text),
                        },
                    }
                    for call, id_ in zip(message.calls, ids, strict=True)
                ]

    def _to_ids(self, text: str, shown: Mapping[str, str]) -> tuple[int, ...]:
        """Encode what a template made, in which sentinels stand for what `shown` says."""
        if not shown:
            starts = [found.start() for found in self._controls.pattern.finditer(text)]
            ids, controls = self._encode_turns(text, starts)
            # A normaliser can make a control token out of other characters (full-width `＜s＞`).
            if controls == len(starts):
                return tuple(ids)
        special = all(literal in self._controls.ids for literal in shown.values())
        return tuple(self._encode_hidden(text, shown, self._controls if special else self._tool_controls))

    def _encode_turns(self, text: str, starts: list[int]) -> tuple[Iterable[int], int]:
        """The ids of a text and how many of them are control tokens, which begin at `starts`."""
        if not self._by_turns:
            return self._encode_turn(text)
        ids: list[int] = []
        controls = 0
        for start, end in pairwise([*(starts if starts[:1] == [0] else [0, *starts]), len(text)]):
            encode = self._kept if end - start <= _LONGEST_KEPT else self._encode_turn
            found, count = encode(text[start:end])
            ids += found
            controls += count
        return ids, controls

    def _encode_turn(self, text: str) -> tuple[array[int], int]:
        ids = self._encode(self._backend, text)
        return array("I", ids), self._controls.count(ids)

    def _to_text(
        self,
        conversation: list[dict[str, Any]],
        *,
        prompt: bool,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        from jinja2 import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                conversation,
                # Some templates take an empty list for tools.
                tools=list(tools) or None,
                add_generation_prompt=prompt,
                tokenize=False,
                **{"strftime_now": _CLOCK.strftime, **self._arguments},
            )
        except (TemplateError, TypeError, ValueError) as fault:
            raise CallFailed(
                "bad_request", f"the chat template refuses this conversation: {fault}", retryable=False
            ) from fault
        return str(text)

    def _encode_hidden(self, text: str, literals: Mapping[str, str], controls: Controls) -> Iterable[int]:
        """Encode `text`, in which sentinels stand for control tokens that are only text."""
        hidden = re.compile("|".join(map(re.escape, literals)) or "(?!)")
        # What needs no care is encoded in one go with the control tokens around it, since
        # some tokenizers treat the start of a text differently.
        plain = ""
        for piece in controls.split(text):
            if piece in controls.ids:
                plain += piece
            elif hidden.search(piece) or controls.count(self._encode(self._backend, piece)):
                yield from self._encode(self._backend, plain)
                literal = hidden.sub(lambda found: literals[found.group()], piece)
                yield from self._encode_literally(literal, controls)
                plain = ""
            else:
                plain += piece
        yield from self._encode(self._backend, plain)

    def _encode_literally(self, text: str, controls: Controls) -> list[int]:
        ids = self._encode(self._literal_backend, text)
        if not controls.count(ids):
            return ids
        # The vocabulary itself holds the control token as a word: take that word apart.
        apart = chain.from_iterable(
            piece if piece in controls.ids else [piece] for piece in controls.split(text)
        )
        return [number for piece in apart for number in self._encode(self._literal_backend, piece)]

    @cached_property
    def _literal_backend(self) -> Any:
        """A copy of the tokenizer that matches no special tokens."""
        from tokenizers import Tokenizer

        copy = Tokenizer.from_str(self._backend.to_str())
        copy.encode_special_tokens = True
        return copy

    def _encode(self, backend: Any, text: str) -> list[int]:
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        return ids


def _is_tag(spelling: str, template: str) -> bool:
    """Whether a token is one of those that a template has around calls of tools and what they came to."""
    return "tool" in spelling and spelling in template


def _is_divisible(backend: Any) -> bool:
    """Whether a text's ids are those of its parts, each beginning with a control token.

    A tokenizer takes the control tokens out first and encodes what lies between them piece by
    piece, so they are, unless a token may reach out for the characters before it.
    """
    added = backend.get_added_tokens_decoder().values()
    controls = [token for token in added if token.special]
    first = {token.content[:1] for token in controls}
    return (
        backend.truncation is None
        and backend.padding is None
        and not any(token.lstrip or token.single_word for token in added)
        and not any(token.normalized for token in controls)
        and not any(first & set(token.content[1:]) for token in added if not token.special)
    )


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """A value of JSON with all its texts changed, those of keys too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): _each(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_each(part, change) for part in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value of JSON, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield key
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _unused_characters(texts: Sequence[str], count: int) -> list[str]:
    """`count` characters that occur in none of the texts."""
    if not count:
        return []
    used = set(chain.from_iterable(texts))
    unused = (chr(code) for code in chain.from_iterable(_PRIVATE_USE) if chr(code) not in used)
    found = list(islice(unused, count))
    if len(found) < count:
        raise CallFailed("bad_request", "a message holds every private-use character", retryable=False)
    return found
