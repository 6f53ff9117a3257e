"""The payloads of what is read from sources, for which `payloads.py` says what holds of all."""

# No `from __future__ import annotations`: it would hide from Python which fields are `NotRequired`.
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

# JSON objects whose names are not the log's own: a model's identity, a cell, a schema.
Json = Mapping[str, Any]


class ToolCall(TypedDict):
    """A tool that a model calls."""

    name: str
    arguments: Json
    signature: NotRequired[str]  # what the service wants back with it; absent: nothing


class Message(TypedDict):
    """A message of a prompt or of a source's row."""

    role: str  # system, user, model or tool
    content: str  # of a model that calls tools it may be empty
    calls: NotRequired[Sequence[ToolCall]]  # of a model's message; absent: none
    name: NotRequired[str]  # of a tool's message: the tool; absent: nobody said
    weight: NotRequired[int]  # a source's: 1 where it is to be trained on, 0 where not; absent: nobody said
    thought: NotRequired[str]  # a source's: the thinking before it; absent: none


class SourceIngested(TypedDict):
    """A row of a source.  The event's `sample_id` names it."""

    source: str
    version: str  # of the source
    row: int  # from 0
    file: str
    line: int
    hash: str
    messages: list[Message]
    tools: NotRequired[Sequence[Json]]  # definitions of the tools that the model may call; absent: none


class RowIngested(TypedDict):
    """A row of a schema, or a passage of a document; otherwise as a row of messages."""

    source: str
    version: str
    row: int
    file: str
    line: int
    hash: str  # of the values
    values: Json  # by field; an absent optional is left out
    rest: NotRequired[Json]  # other columns, those that hold nothing left out; absent: none
    name: NotRequired[str]  # the row's own id; absent: the source names no column of ids


class SourceFile(TypedDict):
    path: str
    bytes: int
    sha256: str


class LeftOutRow(TypedDict):
    file: str
    line: int
    reason: str


class LeftOut(TypedDict, total=False):
    """Rows that could not be read and were skipped; where it is there, all of it is."""

    rows: int
    kinds: Mapping[str, int]  # counts, by what was wrong
    first: Sequence[LeftOutRow]


class SourceCompleted(TypedDict):
    """A source of messages or rows: they are in the log before this, and count from here on."""

    source: str
    reader: str  # digest of the reader and its arguments
    version: str
    rows: int
    shape: str  # what the rows were read as
    files: Sequence[SourceFile]
    reading: NotRequired[int]  # version of the reader; absent in 0.1.0: 1
    left_out: NotRequired[LeftOut]  # absent: no row was skipped
    unread: NotRequired[
        Mapping[str, Mapping[str, int]]
    ]  # keys and counts, by rows and messages; absent: none
    calling: NotRequired[int]  # rows in which tools are called, or can be; absent: none
    # Seq of the first row, where they lie one behind the other; absent: other events may lie between them.
    first: NotRequired[int]


class DocumentsCompleted(TypedDict):
    """A source of documents, which is `source.completed` as well: its index is up to date.  It has no reader,
    by which the two are told apart."""

    source: str
    version: str  # digest of what the index holds
    index: int  # version of the index's code
    documents: int
    rows: int  # chunks
    shape: Literal["chunk"]
    warnings: Sequence[str]
