"""The arithmetic of a mix: how many rows it has, how many each place gives, and their order.

Nothing here reads the log, and all of it is in whole numbers.

A split's sides are by the hash of the id of the sample that a row is made from, so that a row stays on
its side as the dataset grows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import sha256
from heapq import heapify, heappop, heappush
from math import lcm

from synth.compiler.plan.allot import largest_remainder


def largest_total(shares: Sequence[int], available: Sequence[int | None]) -> int:
    """The largest total whose exact shares, before any rounding, are all there.

    A part with no share, or with None, bounds nothing.  Raises ValueError where no part bounds it.

    >>> largest_total([50, 30, 20], [500, 412, 180])
    900
    """
    whole = sum(shares)
    return min(
        there * whole // share
        for share, there in zip(shares, available, strict=True)
        if share and there is not None
    )


def place_counts(available: Sequence[int], count: int) -> tuple[int, ...]:
    """How many rows of a part come from each of its places, in proportion to what each has: never
    more than that, unless the part is to give more than all of it."""
    if not sum(available):
        return (0,) * len(available)
    return largest_remainder(available, count)


def chosen(ranks: Sequence[int], count: int) -> array[int]:
    """The indexes of the `count` smallest ranks, in ascending order; ties go to the earlier one."""
    if count >= len(ranks):
        return array("q", range(len(ranks)))
    order = array("Q", sorted(ranks))
    bound = order[count - 1] if count else -1
    # As many as there is room for are taken at the bound itself.
    at_bound = count - sum(1 for rank in ranks if rank < bound)
    found = array("q")
    for index, rank in enumerate(ranks):
        if rank < bound:
            found.append(index)
        elif rank == bound and at_bound:
            at_bound -= 1
            found.append(index)
    return found


def interleaved(counts: Sequence[int]) -> Iterator[int]:
    """The order of rows from several streams: the index of a stream, each as often as it counts.

    The k-th of n rows of a stream stands at (k + 1/2) / n of the whole, so that at any point every
    stream is as far along as the others, within a row.  Ties go to the earlier stream.

    >>> list(interleaved([4, 2]))
    [0, 1, 0, 0, 1, 0]
    """
    # Places are compared as whole numbers: halves over a common multiple of the counts.
    common = lcm(*(count for count in counts if count))
    steps = [common // count if count else 0 for count in counts]
    heap = [(steps[index], index) for index, count in enumerate(counts) if count]
    heapify(heap)
    while heap:
        place, index = heappop(heap)
        yield index
        if place + 2 * steps[index] < 2 * common:
            heappush(heap, (place + 2 * steps[index], index))


# From the key of a row, the id of its sample, to `train` or `eval`.
Side = Callable[[str], str]


def sides(split: str | None) -> Side:
    """The sides of a split of so many percent; everything trains where there is none."""
    if split is None:
        return lambda key: "train"
    bound = int(Decimal(split) / 100 * 2**64)
    return lambda key: "train" if _place(key) < bound else "eval"


def apart(held_out: frozenset[str]) -> Side:
    """The sides where what is held out is known."""
    return lambda key: "eval" if key in held_out else "train"


def held_out_of(total: int, split: str) -> int:
    """How many of so many rows are held out: the exact share, rounded half to even."""
    share = (100 - Decimal(split)) * total / 100
    return int(share.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def last(keys: Iterable[str], count: int) -> list[str]:
    """Those of some keys that are held out first as the share grows."""
    return sorted(keys, key=lambda key: (_place(key), key), reverse=True)[:count]


def _place(key: str) -> int:
    return int.from_bytes(sha256(key.encode()).digest()[:8], "big")
