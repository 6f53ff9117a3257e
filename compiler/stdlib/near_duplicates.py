"""Near-duplicates among texts: MinHash finds candidates, exact Jaccard decides.

Similarity is the Jaccard index of two texts' sets of character trigrams, after case folding
and with runs of white space made one space.  It does not depend on the order of comparison,
and MinHash alone never decides, so its version and its chance matter only for recall.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, log, sqrt
from struct import Struct
from typing import Any

# A pair exactly at the threshold goes unseen once in ten thousand.
_MISS = 1e-4
_SEED = 1
# A candidate whose sketch says that it is this many standard deviations below the threshold is
# not looked at: of pairs at the threshold that loses less than one in a million.
_DEVIATIONS = 5
# Trigrams that are cut out at once.
_BLOCK = 256


class NearDuplicates:
    """An index of texts kept so far.  `similarity` is in (0, 1].

    Memory for each kept text at a similarity of 0.9: the text, and some 2.5 KB for its sketch and
    its places in the index.
    """

    def __init__(self, similarity: float) -> None:
        from rensa import RMinHashLSH

        self._similarity = similarity
        # Rows a band such that a pair at the threshold meets in a band with some 40% chance.
        rows = max(1, round(log(0.4) / log(similarity))) if similarity < 1 else 1
        rows = min(rows, 32)
        bands = ceil(log(_MISS) / log(1 - min(similarity**rows, 1 - 1e-9)))
        self._permutations = rows * bands
        self._index: Any = RMinHashLSH(similarity, self._permutations, bands)
        deviation = sqrt(similarity * (1 - similarity) / self._permutations)
        self._least = similarity - _DEVIATIONS * deviation
        self._names: list[str] = []
        self._texts: list[str] = []
        self._sketches: list[Any] = []
        # The text that was looked for last, which is mostly the one that is kept next.
        self._latest: tuple[str, str, Any] | None = None

    def find(self, text: str) -> tuple[str, float] | None:
        """The name of the kept text most like this one, and how like, when that is too like."""
        folded, sketch = self._sketched(text)
        best: tuple[float, int] | None = None
        trigrams: frozenset[bytes] | None = None
        for candidate in self._index.query(sketch):
            if sketch.jaccard(self._sketches[candidate]) < self._least:
                continue
            if trigrams is None:
                trigrams = frozenset(_trigrams(folded))
            alike = _jaccard(trigrams, self._texts[candidate])
            if alike >= self._similarity and (best is None or (alike, -candidate) > best):
                best = (alike, -candidate)
        return None if best is None else (self._names[-best[1]], best[0])

    def keep(self, name: str, text: str) -> None:
        """Adds a text under a name."""
        folded, sketch = self._sketched(text)
        self._index.insert(len(self._names), sketch)
        self._names.append(name)
        self._texts.append(folded)
        self._sketches.append(sketch)

    def _sketched(self, text: str) -> tuple[str, Any]:
        """A text folded, and its sketch."""
        if self._latest is None or self._latest[0] != text:
            from rensa import RMinHash

            folded, sketch = _fold(text), RMinHash(self._permutations, _SEED)
            # Neither the order of the trigrams nor how often each occurs changes a sketch.
            sketch.update(_trigrams(folded))
            self._latest = (text, folded, sketch)
        return self._latest[1:]


def likeness(one: str, other: str) -> float:
    """The similarity of two texts, in [0, 1]."""
    return _jaccard(frozenset(_trigrams(_fold(one))), _fold(other))


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _trigrams(folded: str) -> list[bytes]:
    """Every run of three characters, in no certain order; a shorter text is its own.

    Each is its twelve bytes of UTF-32: `struct` cuts a text into them many times faster than
    slicing does, and halves of characters are no trouble.
    """
    data = folded.encode("utf-32-le", "surrogatepass")
    if len(folded) < 3:
        return [data]
    trigrams: list[bytes] = []
    for start in (0, 4, 8):
        blocks, rest = divmod((len(data) - start) // 12, _BLOCK)
        end = start + blocks * _BLOCK * 12
        for block in _cutter(_BLOCK).iter_unpack(memoryview(data)[start:end]):
            trigrams += block
        trigrams += _cutter(rest).unpack_from(data, end)
    return trigrams


@lru_cache(maxsize=_BLOCK + 1)
def _cutter(count: int) -> Struct:
    return Struct("12s" * count)


def _jaccard(trigrams: frozenset[bytes], folded: str) -> float:
    other = set(_trigrams(folded))
    shared = len(trigrams & other)
    return shared / (len(trigrams) + len(other) - shared)
