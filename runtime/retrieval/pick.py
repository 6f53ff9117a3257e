"""Which passages of a ranking a sample gets: pure functions of the ranking and of numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from synth.base.canonical import canonical_json

# Of how many passages, for each that is asked for, the varied choice is made.
BREADTH = 8


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage's place in a ranking: the larger the score, the better."""

    id: str
    document: str
    score: float

    @property
    def order(self) -> tuple[float, str]:
        """Best first, and of equals always the same first."""
        return -self.score, self.id


def fuse(rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Reciprocal rank fusion: a hit's score is the sum of 1 / (60 + its rank) over the rankings.

    A hit's rank is one more than the hits with a larger score, so that equals have equal ranks.
    """
    scores: dict[str, float] = {}
    documents: dict[str, str] = {}
    for ranking in rankings:
        rank, last = 0, math.inf
        for place, hit in enumerate(sorted(ranking, key=lambda hit: hit.order), 1):
            if hit.score < last:
                rank, last = place, hit.score
            scores[hit.id] = scores.get(hit.id, 0.0) + 1 / (60 + rank)
            documents[hit.id] = hit.document
    fused = [Hit(id_, documents[id_], round(score, 8)) for id_, score in scores.items()]
    return sorted(fused, key=lambda hit: hit.order)


def pick(ranking: Sequence[Hit], count: int, low: int, high: int | None) -> list[Hit] | None:
    """The first `count` hits that come from at least `low` and at most `high` documents.

    Where the first ones come from too few, the last of those whose document has another gives
    way to the first of a further document.  None when the ranking has not enough documents.
    """
    chosen: list[Hit] = []
    documents: Counter[str] = Counter()
    for hit in ranking:
        if len(chosen) == count:
            break
        if hit.document in documents or high is None or len(documents) < high:
            chosen.append(hit)
            documents[hit.document] += 1
    further = (hit for hit in ranking if hit.document not in documents)
    while len(documents) < low:
        new = next(further, None)
        if new is None:
            return None
        if len(chosen) == count:
            surplus = next((hit for hit in reversed(chosen) if documents[hit.document] > 1), None)
            if surplus is None:
                return None
            chosen.remove(surplus)
            documents[surplus.document] -= 1
        chosen.append(new)
        documents[new.document] += 1
    return chosen


def vary(ranking: Sequence[Hit], count: int, key: Sequence[object]) -> list[Hit]:
    """The ranking with its first BREADTH * count hits in an order drawn for a key.

    A draw without replacement in which the hit of rank r has the weight 1 / (r + 2): the best
    are drawn most often, and samples with different keys rarely get the same ones.
    """
    pool = list(ranking[: BREADTH * count])
    ranks = {hit: rank for rank, hit in enumerate(pool, 1)}
    pool = sorted(pool, key=lambda hit: (-math.log(uniform(key, hit.id)) * (ranks[hit] + 2), hit.id))
    return [*pool, *ranking[len(pool) :]]


def draw(count: int, among: int, key: Sequence[object]) -> list[int]:
    """`count` different numbers below `among`, each set of them as likely as any, drawn for a key."""
    moved: dict[int, int] = {}
    drawn = []
    for place in range(count):
        other = place + min(int(uniform(key, place) * (among - place)), among - place - 1)
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return drawn


def uniform(key: Sequence[object], name: object) -> float:
    """A number above 0 and at most 1, from nothing but its arguments."""
    number = sha256(canonical_json([*key, name]).encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(number[:6], "big") + 1) / 2**48
