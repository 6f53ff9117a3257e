"""Where a text stands in payloads: as it is, and in each form that JSON in JSON gives it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# JSON within JSON within JSON: a model's answer that quotes an answer is the second.
_LEVELS = 6
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")

# By kind, what of a payload anybody could have written; the rest is the log's own structure.
CONTENT: Mapping[str, Sequence[str]] = {
    "plan.registered": ("plan",),
    "run.started": ("lineages", "options", "warnings", "versions", "prices", "sources"),
    "call.completed": (
        "messages",
        "text",
        "thought",
        "schema",
        "sampling",
        "identity",
        "engine",
        "served_by",
        "tools",
        "calls",
        "malformed",
    ),
    "call.failed": ("message", "identity", "engine"),
    "step.rejected": ("reason", "text"),
    "source.ingested": ("file", "messages", "name", "rest", "tools", "values"),
    "source.completed": ("files", "left_out", "unread"),
    "retrieval.done": ("arguments", "chunks"),
    "function.done": ("result", "fault", "files"),
    "tool.done": ("name", "arguments", "result", "fault"),
    "sample.completed": ("cell", "values", "thoughts", "rejected", "attempts"),
    "sample.abandoned": ("cell", "reason", "values", "thoughts", "rejected", "attempts"),
    "run.stopped": ("reason", "counts", "stuck"),
}
# Objects whose names are the recipe's: of steps, conversations, models and what varies.
_BY_NAME = frozenset(
    {"cell", "values", "thoughts", "rejected", "attempts", "lineages", "prices", "sources", "counts"}
)
# Of these single texts are replaced: the rest of the log is read by their names and numbers.
_STRUCTURE = frozenset({"run.started", "run.stopped", "source.completed"})
# Words of the log's own inside of those; elsewhere a field of such a name is anybody's.
_OWN = frozenset(
    {
        *("role", "call_key", "lineage", "fingerprint", "sha256", "finish_reason", "hash", "digest"),
        *("cohort", "step", "model", "lost_at", "of"),
    }
)
# The same of messages.
_OF_MESSAGES = frozenset({"role"})
# Whose names are the log's own wherever they stand.
_NAMES = frozenset(
    {
        *("role", "content", "weight", "thought", "messages", "text", "call", "attempt", "check", "reason"),
        *("candidate", "marks", "stood", "picked"),
        *("calls", "name", "arguments", "result", "fault", "message", "signature", "tools", "function"),
        *("backend", "id", "revision", "adapter", "chat_template", "request", "document", "heading", "score"),
        *(
            "lineage",
            "fingerprint",
            "models",
            "of",
            "metadata",
            "path",
            "bytes",
            "sha256",
            "rows",
            "first",
            "file",
            "line",
            "kinds",
            "type",
        ),
    }
)


class Texts:
    """Texts to look for.  A text is found as it is, in the other normal form of Unicode, and where it
    is escaped as JSON does it, however often."""

    def __init__(self, texts: Iterable[str]) -> None:
        wanted = [text for text in texts if text]
        forms = (unicodedata.normalize(form, text) for text in wanted for form in ("NFC", "NFD"))
        self._wanted = tuple(dict.fromkeys([*wanted, *forms, *map(unescaped, wanted)]))

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def stand_in(self, text: str) -> bool:
        """Whether any of them stands in a text."""
        return any(wanted in form for form in _forms(text) for wanted in self._wanted)

    def begin_with(self, text: str) -> bool:
        """Whether a text, shortened to one line, is how any of them begins."""
        return bool(text) and any(" ".join(wanted.split()).startswith(text) for wanted in self._wanted)

    def stand_in_value(self, value: Any, *, numbers: bool = True, own: frozenset[str] = frozenset()) -> bool:
        """The same of what JSON holds; what stands under a name of the log's `own` is left out."""
        return any(self.stand_in(text) for text in _texts(value, numbers, own))

    def stand_in_payload(self, kind: str, payload: Mapping[str, Any]) -> bool:
        """The same of what an event of a kind holds that anybody could have written."""
        return any(
            self.stand_in_value(value, numbers=kind not in _STRUCTURE, own=_own(kind, name))
            for name in CONTENT.get(kind, ())
            for value in _parts(name, payload.get(name))
        )

    def without(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A payload in which every text that holds any of them is another one."""
        content = CONTENT.get(kind, ())
        return {
            name: value
            if name not in content
            else self._named(value, _own(kind, name))
            if name in _BY_NAME
            else self._without(value, _own(kind, name))
            for name, value in payload.items()
        }

    def _named(self, value: Any, own: frozenset[str]) -> Any:
        if not isinstance(value, Mapping):
            return self._without(value, own)
        return {name: self._without(inner, own) for name, inner in value.items()}

    def _without(self, value: Any, own: frozenset[str]) -> Any:
        if isinstance(value, Mapping):
            kept = {}
            for number, (name, inner) in enumerate(value.items()):
                key = f"{GONE} {number}" if name not in _NAMES and self.stand_in(name) else name
                kept[key] = inner if name in own else self._without(inner, _inside(name, own))
            return kept
        if isinstance(value, list):
            return [self._without(inner, own) for inner in value]
        return GONE if isinstance(value, str) and self.stand_in(value) else value


GONE = "[forgotten]"


def _forms(text: str) -> Iterator[str]:
    """What a text says, and that in one normal form: it may have both at once."""
    for form in decoded(text):
        yield form
        if not form.isascii() and not unicodedata.is_normalized("NFC", form):
            yield unicodedata.normalize("NFC", form)


def decoded(text: str) -> Iterator[str]:
    """A text, and what it says when JSON's escapes in it are taken for what they stand for."""
    yield text
    for _ in range(_LEVELS):
        if "\\" not in text or (plain := unescaped(text)) == text:
            return
        yield plain
        text = plain


def unescaped(text: str) -> str:
    """A text in which JSON's escapes are what they stand for."""
    plain = _ESCAPE.sub(
        lambda escape: chr(int(escape[1], 16)) if escape[1] else _PLAIN.get(escape[2], escape[2]), text
    )
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), plain)


def _parts(name: str, value: Any) -> list[Any]:
    """What is looked through of a part of a payload."""
    return list(value.values()) if name in _BY_NAME and isinstance(value, Mapping) else [value]


def _own(kind: str, part: str) -> frozenset[str]:
    """The names in a part of a payload under which the log's own words stand."""
    if kind in _STRUCTURE:
        return _OWN
    return _OF_MESSAGES if part == "messages" else frozenset()


def _inside(name: str, own: frozenset[str]) -> frozenset[str]:
    """The log's own names below a name: none in what a tool is called with, or gives."""
    return frozenset() if name in ("arguments", "result") else own


def _texts(value: Any, numbers: bool, own: frozenset[str]) -> Iterator[str]:
    """Every text in a value, perhaps its `numbers`, and the names in it; the log's own words are not
    among them."""
    pending = [(value, own)]
    while pending:
        item, own = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            yield from (name for name in item if name not in _NAMES)
            pending.extend((inner, _inside(name, own)) for name, inner in item.items() if name not in own)
        elif isinstance(item, list | tuple):
            pending.extend((inner, own) for inner in item)
        elif numbers and isinstance(item, int | float) and not isinstance(item, bool):
            yield json.dumps(item)
