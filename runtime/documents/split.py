"""Documents in passages: by headings, or by size alone.

A passage is a run of its document's text as it stands there, of at most `max_words` words with
the heading's; whatever is cut is cut between paragraphs, lines or sentences where there are
some.  Every word of a document is in one of its passages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synth.base.canonical import digest
from synth.base.errors import ConfigError
from synth.compiler.plan.steps import CallPlan
from synth.runtime.documents.document import Block, Document, Scalar
from synth.runtime.documents.words import SENTENCE, count_words, find_words

Path = tuple[str, ...]

_SEPARATOR = " > "
_DEFAULT = CallPlan(name="by_heading", arguments={"max_words": 220, "overlap": 30})


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage.  `id` is 16 hex digits that stay the same when other documents change; `heading`
    is the path of headings above it, and stands before the passage in `text`; `ordinal` counts
    the passages of its document from 0."""

    id: str
    document: str
    heading: str
    text: str
    ordinal: int
    metadata: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Splitter:
    """`overlap` words of a passage are said again by the next, where one text makes several."""

    by_heading: bool
    max_words: int
    overlap: int

    @classmethod
    def of(cls, call: CallPlan | None) -> Splitter:
        """The splitter of a plan; without one, passages of up to 220 words by heading.

        Raises ConfigError for bounds that nothing can keep to.
        """
        call = call or _DEFAULT
        size, overlap = (int(str(call.arguments[name])) for name in ("max_words", "overlap"))
        if size < 1:
            raise ConfigError(f"`{call.name}(max_words = {size})` leaves no room for a word: give at least 1")
        if overlap >= size:
            raise ConfigError(
                f"`{call.name}(max_words = {size}, overlap = {overlap})` would repeat whole passages: "
                "make `overlap` smaller than `max_words`"
            )
        return cls(call.name == "by_heading", size, overlap)

    def split(self, document: Document) -> list[Chunk]:
        """The passages of a document, in its order; none where it holds no text."""
        passages = self._by_heading(document) if self.by_heading else self._by_size(document)
        seen: Counter[tuple[str, str]] = Counter()
        chunks = []
        for ordinal, (heading, text) in enumerate(passages):
            again = seen[heading, text]
            seen[heading, text] += 1
            # Not the ordinal: a passage keeps its id when others are written before it.
            id_ = digest([document.name, heading, text, again])[:16]
            chunks.append(Chunk(id_, document.name, heading, text, ordinal, document.metadata))
        return chunks

    def _by_size(self, document: Document) -> Iterator[tuple[str, str]]:
        text = "\n\n".join(block.text for block in document.blocks)
        for piece in _pieces(text, self.max_words, self.overlap):
            yield "", piece

    def _by_heading(self, document: Document) -> Iterator[tuple[str, str]]:
        """Neighbouring sections that are short go together, up to the bound."""
        waiting: list[_Section] = []
        size = 0
        for section in _sections(document, self.max_words // 2):
            length = section.heading_words + count_words(section.text)
            if size + length > self.max_words and waiting:
                yield _joined(waiting)
                waiting, size = [], 0
            if length > self.max_words:
                room = self.max_words - section.heading_words
                for piece in _pieces(section.text, room, self.overlap):
                    yield section.heading, _below(section.heading, piece)
            else:
                waiting.append(section)
                size += length
        if waiting:
            yield _joined(waiting)


@dataclass(frozen=True, slots=True)
class _Section:
    """`path` are the headings above, and `nearest` as many of the nearest as there is room for."""

    path: Path
    nearest: Path
    text: str

    @property
    def heading(self) -> str:
        return _SEPARATOR.join(self.nearest)

    @property
    def heading_words(self) -> int:
        return count_words(self.heading)


def _sections(document: Document, room: int) -> list[_Section]:
    """What stands below each heading.  A heading of more than `room` words is taken for text."""
    sections: list[_Section] = []
    levels: list[int] = []
    path: Path = (document.title,) if 0 < count_words(document.title) <= room else ()
    texts: list[str] = []
    for block in (*document.blocks, None):
        if block is not None and not (block.level and count_words(block.text) <= room):
            texts.append(block.text.strip("\n"))
            continue
        sections.append(_Section(path, _nearest(path, room), "\n\n".join(texts)))
        if block is not None:
            path = _next_path(path, levels, block)
            texts = []
    # A title with nothing below it says nothing of the document's own.
    first = [section for section in sections[:1] if section.text.strip()]
    return first + list(_speaking(sections[1:]))


def _speaking(sections: Sequence[_Section]) -> Iterator[_Section]:
    """Sections without those that say nothing but headings which the next one says as well."""
    # The topmost heading that only sections which were passed over have said.
    owed: int | None = None
    for section, after in zip(sections, [*sections[1:], None], strict=False):
        topmost = len(section.path) - 1 if owed is None else owed
        if section.text.strip() or not _repeats(after, section, topmost):
            owed = None
            yield section
        else:
            owed = topmost


def _next_path(path: Path, levels: list[int], block: Block) -> Path:
    """The headings above what follows a heading; `levels` are those of the headings on the path."""
    # Without levels there is only the document's title, which a first heading takes the place of.
    path = path if levels else ()
    while levels and levels[-1] >= block.level:
        levels.pop()
        path = path[:-1]
    levels.append(block.level)
    return (*path, block.text)


def _nearest(path: Path, room: int) -> Path:
    """The nearest headings of a path, as many as have together at most `room` words."""
    nearest: Path = ()
    for heading in reversed(path):
        longer = (heading, *nearest)
        if count_words(_SEPARATOR.join(longer)) > room:
            break
        nearest = longer
    return nearest


def _repeats(after: _Section | None, section: _Section, topmost: int) -> bool:
    """Whether the next section says the headings of this one from the `topmost` on."""
    return (
        after is not None
        and len(after.path) > len(section.path)
        and after.path[: len(section.path)] == section.path
        and len(after.path) - len(after.nearest) <= topmost
    )


def _joined(sections: Sequence[_Section]) -> tuple[str, str]:
    """The heading that sections have in common, and their text, each below its own."""
    common = sections[0].nearest
    for section in sections[1:]:
        length = next(
            (n for n, (a, b) in enumerate(zip(common, section.nearest, strict=False)) if a != b),
            min(len(common), len(section.nearest)),
        )
        common = common[:length]
    text = "\n\n".join(_below(section.heading, section.text.strip()) for section in sections)
    return _SEPARATOR.join(common), text


def _below(heading: str, text: str) -> str:
    return f"{heading}\n\n{text}" if heading and text else heading or text


def _pieces(text: str, room: int, overlap: int) -> Iterator[str]:
    """A text in runs of at most `room` words, each beginning with the last of the one before."""
    words = find_words(text)
    overlap = min(overlap, room // 2)
    start = 0
    while start < len(words):
        end = min(start + room, len(words))
        if end < len(words):
            # The best place in the second half; of equals the last.
            end = max(range(start + room // 2 + 1, end + 1), key=lambda at: (words.cuts[at], at))
        yield text[words.starts[start] : words.ends[end - 1]]
        if end == len(words):
            return
        # The words said again begin with a sentence where one begins among them.
        again = range(end - overlap, end)
        start = next((at for at in again if words.cuts[at] >= SENTENCE), end - overlap)
