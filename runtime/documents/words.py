"""Words of a text as places in it, and where it is best cut."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field

# Longer runs without white space (addresses, data, scripts that use no spaces) count as several
# words and can be cut.
LONGEST = 40

_RUN = re.compile(r"\S+")
_SENTENCE_END = re.compile(r"[.!?…؟۔。！？][\"'”’»)\]*_]*\Z")
_BREAK = re.compile(r"\n[^\S\n]*\n")

# How good a place is to cut a text at: before a word of which it is the start.
INSIDE, WORD, SENTENCE, LINE, PARAGRAPH = range(5)


@dataclass(frozen=True, slots=True)
class Words:
    """The word at an index begins at `starts`, ends before `ends`, and `cuts` tells how good a
    place its start is to cut at.  Nine bytes a word, for texts of megabytes."""

    starts: array[int] = field(default_factory=lambda: array("I"))
    ends: array[int] = field(default_factory=lambda: array("I"))
    cuts: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.starts)


def find_words(text: str) -> Words:
    """The words of a text, in order."""
    words = Words()
    for run in _RUN.finditer(text):
        cut = PARAGRAPH if not words.cuts else _cut(text, words.starts[-1], words.ends[-1], run.start())
        for start, end in _pieces(text, run.start(), run.end()):
            words.starts.append(start)
            words.ends.append(end)
            words.cuts.append(cut)
            cut = INSIDE
    return words


def count_words(text: str) -> int:
    """As many as `find_words` finds."""
    runs = text.split()
    return len(runs) + sum(len(_pieces(run, 0, len(run))) - 1 for run in runs if len(run) > LONGEST)


def _cut(text: str, last_start: int, last_end: int, start: int) -> int:
    between = text[last_end:start]
    if "\n" in between:
        return PARAGRAPH if _BREAK.search(between) else LINE
    return SENTENCE if _SENTENCE_END.search(text, last_start, last_end) else WORD


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A run of characters in pieces of at most LONGEST, but for a letter with more marks than that."""
    if end - start <= LONGEST:
        return [(start, end)]
    import regex

    pieces, at = [], start
    for grapheme in regex.finditer(r"\X", text, pos=start, endpos=end):
        if grapheme.end() - at > LONGEST and grapheme.start() > at:
            pieces.append((at, grapheme.start()))
            at = grapheme.start()
    return [*pieces, (at, end)]
