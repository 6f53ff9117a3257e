"""What an index is made from, in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Protocol

from synth.runtime.documents import Chunk


@dataclass(frozen=True, slots=True)
class Passages:
    """The passages of one document; `vectors` where the corpus has them."""

    document: str
    chunks: Sequence[Chunk]
    vectors: Sequence[Sequence[float]] | None = None

    def pairs(self) -> Iterator[tuple[Chunk, Sequence[float] | None]]:
        return zip(self.chunks, self.vectors or repeat(None), strict=False)


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a corpus that is read as a whole.  `stamp` changes when its content does."""

    name: str
    stamp: str
    origin: Any = field(compare=False, repr=False)


class Corpus(Protocol):
    """`settings` name how passages are made; `label` is what errors call the corpus."""

    label: str
    settings: Any

    def segments(self) -> tuple[list[Segment], list[str]]:
        """The parts, by name, and warnings.  Raises ConfigError where they cannot be had."""
        ...

    def read(self, segment: Segment) -> Iterator[Passages]:
        """The documents of a part, empty ones too.  Raises Unreadable."""
        ...
