"""Template filters: how a value that is not text is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.types import Schema, Type, is_transcript


@dataclass(frozen=True, slots=True)
class TemplateFilter:
    """`accepts` are the names of the types it prints.  One `by_field` prints records alone and is
    given the names of their fields besides."""

    name: str
    accepts: tuple[str, ...]
    function: Callable[..., str]
    by_field: bool = False


# One passage, or several.
_Chunks = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def numbered(chunks: _Chunks) -> str:
    """Passages with numbers to refer to: `[1] ...`."""
    return "\n\n".join(f"[{number}] {chunk['text']}" for number, chunk in enumerate(_several(chunks), 1))


def cited(chunks: _Chunks) -> str:
    """Passages below the name of the document that each is from."""
    return "\n\n".join(f"({chunk['document']})\n{chunk['text']}" for chunk in _several(chunks))


def plain(chunks: _Chunks) -> str:
    """Passages alone, a blank line between them."""
    return "\n\n".join(str(chunk["text"]) for chunk in _several(chunks))


def _several(chunks: _Chunks) -> Sequence[Mapping[str, Any]]:
    return (chunks,) if isinstance(chunks, Mapping) else chunks


def chat(messages: Sequence[Mapping[str, Any]]) -> str:
    """A conversation with its speakers: `User: ...`, `Model: ...` and `Tool: ...`, calls behind what is
    said."""
    return "\n".join(f"{str(m['role']).capitalize()}: {_with_calls(m)}" for m in messages)


def _with_calls(message: Mapping[str, Any]) -> str:
    calls = [f"{call['name']}({canonical_json(call['arguments'])})" for call in message.get("calls") or ()]
    return " ".join([message["content"], *calls]).strip() if calls else str(message["content"])


def fields(record: Mapping[str, Any], *names: str) -> str:
    """A record's own fields as JSON, without those that are absent."""
    return canonical_json({name: record[name] for name in names if record.get(name) is not None})


FILTERS: Mapping[str, TemplateFilter] = {
    filter_.name: filter_
    for filter_ in (
        TemplateFilter(
            "json",
            ("json", "record", "list", "text", "count", "number", "boolean", "enum"),
            canonical_json,
        ),
        TemplateFilter("fields", ("record", "json"), fields, by_field=True),
        TemplateFilter("json_schema", ("schema",), canonical_json),
        TemplateFilter("numbered", ("chunks",), numbered),
        TemplateFilter("cited", ("chunks",), cited),
        TemplateFilter("plain", ("chunks",), plain),
        TemplateFilter("chat", ("messages",), chat),
    )
}


def printers(type_: Type) -> tuple[str, ...]:
    """The filters that print a type, for hints: those made for it, else `json`."""
    names = [filter_.name for filter_ in FILTERS.values() if can_print(filter_, type_)]
    return tuple(name for name in names if name not in ("json", "fields")) or tuple(names[:1])


def record_of(type_: Type) -> Schema | None:
    """The schema of a record, or of JSON that is one."""
    return type_.arguments[0].schema if type_.name == "json" else type_.schema


def can_print(filter_: TemplateFilter, type_: Type) -> bool:
    """Whether a filter prints a type.  Chunks and conversations are kinds of list."""
    if filter_.by_field:
        return record_of(type_) is not None
    if type_.name == "chunk":
        return "chunks" in filter_.accepts
    if type_.name == "list" and type_.arguments[0].name == "chunk":
        return "chunks" in filter_.accepts or "list" in filter_.accepts
    return type_.name in filter_.accepts or ("messages" in filter_.accepts and is_transcript(type_))
