"""Thinking apart from what is said: in an answer's text, beside it, or among its parts.

A text is split where thinking begins it or begins a line or a sentence of it: with an opening tag, or
with what goes before a closing tag whose opening one the chat template had put into the prompt.  A tag
that is quoted or named in a sentence, in an answer about such tags, is part of what is said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

# What files and services call the thinking beside a message's content, the likeliest first.
REASONING_KEYS = (
    *("reasoning_content", "reasoning", "thinking", "thought", "thoughts"),
    *("reasoning_details", "thinking_blocks"),
)

_NAMES = "think|thinking|thought|thoughts|reasoning|seed:think"
# Opening and closing tags of the families of models, and the first table that has them.
_PAIRS = (
    (rf"<\s?(?:{_NAMES})\s?>", rf"<\s?/\s?(?:{_NAMES})\s?>", 1),
    # Mistral's.
    (r"(?-i:\[THINK\])", r"(?-i:\[/THINK\])", 1),
    (r"◁think▷", r"◁/think▷", 1),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>", 1),
    # Gemma's, and those of gpt-oss.
    (r"<\|channel>thought\b", r"<channel\|>", 1),
    (
        r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)<\|message\|>",
        r"(?:<\|end\|>)?<\|start\|>assistant<\|channel\|>final<\|message\|>|<\|end\|>",
        1,
    ),
    # Cohere's, those of Gemma for medicine, and those of Apertus.
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>", 2),
    (r"<unused94>(?:thought\b)?", r"<unused95>", 2),
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>", 2),
)
# What stands around the answer itself where a service hands the parts of gpt-oss or Cohere through.
_SAID = (
    (r"(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>", 1),
    (r"<\|START_(?:RESPONSE|TEXT)\|>", 2),
)
_SAID_ENDS = re.compile(r"<\|(?:END_(?:RESPONSE|TEXT)|end|return)\|>\s*\Z")
# White space, and what nobody sees: a byte order mark, characters without a width.
_BLANK = r"[\s\ufeff\u200b-\u200f\u2060]*"
_LONGEST_TAG = 100
_MOST_BLOCKS = 200


class Tags:
    """The tags of one of the tables."""

    def __init__(self, table: int) -> None:
        opening = "|".join(begin for begin, _, since in _PAIRS if since <= table)
        closing = "|".join(end for _, end, since in _PAIRS if since <= table)
        said = "|".join(begin for begin, since in _SAID if since <= table)
        self.open = re.compile(opening, re.IGNORECASE)
        self.begins = re.compile(rf"{_BLANK}(?:{opening})", re.IGNORECASE)
        self.ends = re.compile(rf"(?:{opening})\s*\Z", re.IGNORECASE)
        self.close = re.compile(closing, re.IGNORECASE)
        self.said = re.compile(rf"\s*(?:{said})")


# The tables, each with what the one before has; answers of old logs are split by theirs.
_FIRST, _CURRENT = Tags(1), Tags(2)

_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_AROUND = {"`": "`", '"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "(": ")", "[": "]"}
_ENDS_SENTENCE = ".!?…:;。！？؟)\"'”’*"
# A tag that follows one of these at once is quoted, in a pattern perhaps that is quoted as a whole.
_QUOTES = frozenset("\"'“‘«`”’")
# What ends any message of gpt-oss ends its thinking where that was opened.
_ENDS_ANYTHING = "<|end|>"

# Parts of a content that is a list, by their type.
_SAYING = frozenset({"text", "output_text", "input_text"})
_SEALED = ("redacted_thinking",)
_THINKING = frozenset({"thinking", "reasoning", "thought", "reasoning_content", "redacted_thinking"})
_HOLDERS = ("text", "thinking", "reasoning", "summary", "content")
_DEPTH = 4


def split(text: str, *, first: bool = False) -> tuple[str, str | None]:
    """What is said in an answer, and the thinking before it; None where there is none.  `first` goes by
    the first table of tags.

    Closed, with its opening tag missing, or open to the end: then nothing is said.  Several blocks
    in a row are joined by a blank line.  JSON is what is said, whatever its strings hold.  What
    comes out is not split any further by splitting it again.
    """
    rest, thoughts, tags = text, list[str](), _FIRST if first else _CURRENT
    marked = False
    if ("<" in text or "[" in text or "◁" in text) and not _is_endless(text, tags) and not _is_json(text):
        while not (thoughts and _is_json(rest)):
            if (found := _first(rest, tags) or _within(rest, tags)) is not None:
                thought, rest = found
                thoughts.append(thought.strip())
            elif (said := tags.said.match(rest)) is not None:
                rest, marked = _SAID_ENDS.sub("", rest[said.end() :]).strip(), True
                if first:
                    break
            else:
                break
    return (rest.strip(), _joined(thoughts)) if thoughts or marked else (text, None)


def leading(text: str) -> tuple[str, str | None]:
    """What follows the thinking that a text opens with, and that thinking; None where it opens with none.
    Tags further down are looked at no more: they may be in what a tool is called with."""
    rest, thoughts = text, list[str]()
    while len(thoughts) < _MOST_BLOCKS and (opening := _CURRENT.begins.match(rest)) is not None:
        closing = _closing(rest, opening.end(), _CURRENT)
        end = len(rest) if closing is None else closing.start()
        thoughts.append(rest[opening.end() : end].strip())
        rest = "" if closing is None else rest[closing.end() :]
    return (rest.strip(), _joined(thoughts)) if thoughts else (text, None)


def _is_endless(text: str, tags: Tags) -> bool:
    """Whether a text has so many closing tags that splitting it, which looks at all that is left for each
    of them, takes for ever: no model thinks so, and such a text is what is said."""
    few = text.count("<") + text.count("[") + text.count("◁") <= _MOST_BLOCKS
    return not few and sum(1 for _ in islice(tags.close.finditer(text), _MOST_BLOCKS + 1)) > _MOST_BLOCKS


def opened(prompt: str) -> str:
    """The opening tag that a prompt ends with, so that an answer goes on inside it; nothing where it
    ends otherwise."""
    found = _CURRENT.ends.search(prompt, max(0, len(prompt) - _LONGEST_TAG))
    return "" if found is None else found[0].strip()


def reasoning_of(message: Mapping[str, Any]) -> str | None:
    """The thinking that a message has beside its content, whichever key holds it."""
    for key in REASONING_KEYS:
        if (value := message.get(key)) and (found := _text(value).strip()):
            return found
    return None


def parts_of(content: list[Any]) -> tuple[str, str | None, list[str]]:
    """The parts of a content that is a list: what is said, the thinking, and the types of the parts
    that are neither."""
    said, thoughts, others = list[str](), list[str](), list[str]()
    for part in content:
        if isinstance(part, str):
            said.append(part)
            continue
        if not isinstance(part, Mapping):
            others.append(type(part).__name__)
            continue
        kind = part.get("type")
        if kind is not None and not isinstance(kind, str):
            others.append(str(kind))
        elif part.get("thought") is True or kind in _THINKING:
            thoughts.append(_text(part).strip())
        elif isinstance(part.get("text"), str) and (kind is None or kind in _SAYING):
            said.append(part["text"])
        else:
            others.append(str(kind))
    return "".join(said), _joined(thoughts), others


def sealed_in(content: list[Any]) -> list[str]:
    """The types of the parts of a content that are thinking which its service alone can read."""
    parts = (part for part in content if isinstance(part, Mapping))
    return [str(part["type"]) for part in parts if part.get("type") in _SEALED and not _text(part).strip()]


def joined(*thoughts: str | None) -> str | None:
    """Thoughts one after the other, each once; None where there is none."""
    if not any(thoughts):
        return None
    return _joined([*dict.fromkeys(thought.strip() for thought in thoughts if thought is not None)])


def _joined(thoughts: list[str]) -> str | None:
    return "\n\n".join(filter(None, thoughts)) or None


def _first(text: str, tags: Tags) -> tuple[str, str] | None:
    """The thinking that a text begins with, and what follows; None where it begins otherwise."""
    opening = tags.begins.match(text)
    if opening is not None:
        begin = opening.end()
        closing = _closing(text, begin, tags)
        return (
            (text[begin:], "") if closing is None else (text[begin : closing.start()], text[closing.end() :])
        )
    closing = next(tags.close.finditer(text), None)
    if closing is None or closing[0] == _ENDS_ANYTHING or not _stands_alone(text, closing):
        return None
    before = text[: closing.start()]
    return None if tags.open.search(before) else (before, text[closing.end() :])


def _within(text: str, tags: Tags) -> tuple[str, str] | None:
    """The first thinking that begins a line or a sentence further down, and the text without it.
    What never ends has to begin a line."""
    for opening in tags.open.finditer(text):
        before = text[: opening.start()].rstrip(" \t")
        begins_line = not before or before[-1] == "\n"
        # After a colon, thinking is shown as an example.
        last = before.rstrip()[-1:]
        ends = (
            last not in (":", ";")
            and (begins_line or last in _ENDS_SENTENCE)
            and text[opening.start() - 1 : opening.start()] not in _QUOTES
        )
        if not ends or _is_quoted(text, opening) or _in_fence(text, 0, opening.start()):
            continue
        closing = _closing(text, opening.end(), tags)
        if closing is not None:
            return text[opening.end() : closing.start()], text[: opening.start()] + text[closing.end() :]
        if begins_line:
            return text[opening.end() :], text[: opening.start()]
    return None


def _closing(text: str, begin: int, tags: Tags) -> re.Match[str] | None:
    """Where thinking that begins at an index ends: at the first tag that it does not quote."""
    unquoted = [found for found in tags.close.finditer(text, begin) if not _is_quoted(text, found)]
    outside = (found for found in unquoted if not _in_fence(text, begin, found.start()))
    # A fence that was never closed says nothing about what follows.
    return next(outside, unquoted[0] if unquoted else None)


def _stands_alone(text: str, tag: re.Match[str]) -> bool:
    """Whether a closing tag without an opening one ends thinking, or is only spoken of: it ends
    some where it begins a line, follows a word or sentence at once, or has a blank line behind it."""
    if _is_quoted(text, tag) or _in_fence(text, 0, tag.start()):
        return False
    line = text[text.rfind("\n", 0, tag.start()) + 1 : tag.start()]
    if not line.strip():
        return len(line) < 4
    before = line.rstrip()
    return before == line or before[-1] in _ENDS_SENTENCE or text.startswith("\n\n", tag.end())


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    before, after = text[: tag.start()][-1:], text[tag.end() :][:1]
    if before and _AROUND.get(before) == after:
        return True
    line = text[text.rfind("\n", 0, tag.start()) + 1 : tag.start()]
    return line.count("`") % 2 == 1 and "`" in text[tag.end() :].split("\n", 1)[0]


def _in_fence(text: str, begin: int, end: int) -> bool:
    return sum(1 for _ in _FENCE.finditer(text, begin, end)) % 2 == 1


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _text(value: Any, depth: int = _DEPTH) -> str:
    """The text of a thought, however a service wraps it."""
    if isinstance(value, str):
        return value
    if depth and isinstance(value, list):
        return "\n\n".join(filter(None, (_text(each, depth - 1).strip() for each in value)))
    if depth and isinstance(value, Mapping):
        return next((found for key in _HOLDERS if (found := _text(value.get(key), depth - 1))), "")
    return ""
