"""JSONL: a document on each line, `{"text": ..., "title": ..., "id": ..., ...}`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import quoted
from synth.base.errors import ConfigError
from synth.runtime.documents.decode import clean
from synth.runtime.documents.document import Block, Document, Scalar
from synth.runtime.documents.faults import Unreadable
from synth.runtime.sources.faults import Fault
from synth.runtime.sources.readers.jsonl import read_jsonl

_LONGEST_ID = 200


def read_rows(path: Path, name: str) -> Iterator[Document]:
    """The documents of a JSONL file, each named by the file and its `id`, or else its line.

    What a row holds besides becomes metadata, as does what lies in its `metadata`.  Raises
    Unreadable at the first line that is no such row, and for two rows of one id.
    """
    seen: dict[str, int] = {}
    try:
        for record in read_jsonl(path, name):
            if isinstance(record.row, Fault):
                fault = record.row
                raise _unusable(record.line, f"{fault.what} ({fault.detail})" if fault.detail else fault.what)
            id_ = _id(record.row, record.line)
            if (first := seen.setdefault(id_.casefold(), record.line)) != record.line:
                raise _unusable(record.line, f"has the id {quoted(id_)} of line {first}")
            yield _document(record.row, f"{name}#{id_}", record.line)
    except ConfigError as error:
        raise Unreadable(f"cannot be read ({error})", "mend it or leave it out") from None


def scalar(value: Any) -> Scalar | None:
    """A value of a row as metadata; lists and objects, and numbers JSON does not have, as text."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)[:_LONGEST_ID]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return clean(canonical_json(value))


def _document(row: Mapping[str, Any], name: str, line: int) -> Document:
    text = row.get("text")
    if not isinstance(text, str):
        raise _unusable(line, "has no `text` that is a text")
    title = row.get("title")
    inner = row.get("metadata")
    rest = {key: value for key, value in row.items() if key not in ("text", "title", "id")}
    if isinstance(inner, Mapping):
        del rest["metadata"]
        rest = {**inner, **rest}
    metadata = {clean(key): scalar(value) for key, value in rest.items()}
    return Document(
        name,
        (Block(0, clean(text)),),
        " ".join(clean(title).split()) if isinstance(title, str) else "",
        {key: value for key, value in metadata.items() if value is not None},
    )


def _id(row: Mapping[str, Any], line: int) -> str:
    id_ = row.get("id", line)
    if isinstance(id_, bool) or not isinstance(id_, str | int) or not str(id_)[:_LONGEST_ID].strip():
        raise _unusable(line, "has an `id` that is neither a text nor a whole number")
    return " ".join(clean(str(id_)[:_LONGEST_ID]).split())


def _unusable(line: int, what: str) -> Unreadable:
    return Unreadable(f"line {line} {what}", "mend that line or remove it")
