"""Near-duplicates among texts: MinHash finds candidates, exact Jaccard decides.

Similarity is the Jaccard index of two texts' sets of character trigrams, after case folding
and with runs of white space made one space.  It does not depend on the order of comparison,
and MinHash alone never decides, so its version and its chance matter only for recall.
"""

from __future__ import annotations

from math import ceil, log
from typing import Any

# A pair exactly at the threshold goes unseen once in ten thousand.
_MISS = 1e-4
_SEED = 1


class NearDuplicates:
    """An index of texts kept so far.  `similarity` is in (0, 1]; memory is that of the texts."""

    def __init__(self, similarity: float) -> None:
        from rensa import RMinHashLSH

        self._similarity = similarity
        # Rows a band such that a pair at the threshold meets in a band with some 40% chance.
        rows = max(1, round(log(0.4) / log(similarity))) if similarity < 1 else 1
        rows = min(rows, 32)
        bands = ceil(log(_MISS) / log(1 - min(similarity**rows, 1 - 1e-9)))
        self._permutations = rows * bands
        self._index: Any = RMinHashLSH(similarity, self._permutations, bands)
        self._kept: list[tuple[str, str]] = []

    def find(self, text: str) -> tuple[str, float] | None:
        """The name of the kept text most like this one, and how like, when that is too like."""
        shingles = _shingles(text)
        best: tuple[float, int] | None = None
        for candidate in self._index.query(self._sketch(shingles)):
            likeness = _jaccard(shingles, _shingles(self._kept[candidate][1]))
            if likeness >= self._similarity and (best is None or (likeness, -candidate) > best):
                best = (likeness, -candidate)
        return None if best is None else (self._kept[-best[1]][0], best[0])

    def keep(self, name: str, text: str) -> None:
        """Adds a text under a name."""
        self._index.insert(len(self._kept), self._sketch(_shingles(text)))
        self._kept.append((name, text))

    def _sketch(self, shingles: frozenset[str]) -> Any:
        from rensa import RMinHash

        sketch = RMinHash(self._permutations, _SEED)
        sketch.update(sorted(shingles))
        return sketch


def _shingles(text: str) -> frozenset[str]:
    folded = " ".join(text.casefold().split())
    return frozenset(folded[i : i + 3] for i in range(max(1, len(folded) - 2)))


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)
