"""What a file holds once it is read: documents, made of headings and running text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# A value of metadata: what front matter or a row of JSON says about a document.
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Block:
    """A heading of a level from 1 to 6, or running text, which has level 0."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """`name` is the file's path below the folder, with `/`; a row of a JSONL file adds `#` and its id."""

    name: str
    blocks: tuple[Block, ...]
    title: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
