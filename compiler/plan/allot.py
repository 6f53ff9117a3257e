"""Whole numbers that sum to a total: equal shares as far as each reaches, and shares in proportion."""

from __future__ import annotations

from collections.abc import Sequence


def allot(quota: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Integers that sum to `quota`, or to all there is where that is less: equal shares, none
    above its row's size, what a small row cannot give shared among the others.

    What does not divide goes to the earlier rows.  A larger quota gives no row less.

    >>> allot(8, [9, 1, 9])
    (4, 1, 3)
    """
    rest = min(max(quota, 0), sum(sizes))
    level = 0
    # The level is what every row gives that can.  It rises from one row's size to the next,
    # smallest first, as long as the rows that are larger can all be raised so far.
    open_rows = len(sizes)
    for size in sorted(sizes):
        if (size - level) * open_rows > rest:
            level += rest // open_rows
            rest %= open_rows
            break
        rest -= (size - level) * open_rows
        level = size
        open_rows -= 1
    shares = [min(size, level) for size in sizes]
    for row, size in enumerate(sizes):
        if rest and size > level:
            shares[row] += 1
            rest -= 1
    return tuple(shares)


def largest_remainder(
    weights: Sequence[int], total: int, prefer: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Integers in proportion to `weights` that sum to `total`.

    Ties go to the member with more in `prefer`, then to the earlier one.

    >>> largest_remainder([50, 30, 20], 12)
    (6, 4, 2)
    """
    whole = sum(weights)
    if whole <= 0:
        raise ValueError("weights must have a positive sum")
    counts = [total * weight // whole for weight in weights]
    first = prefer or [0] * len(weights)
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), -first[i], i))
    for index in order[: total - sum(counts)]:
        counts[index] += 1
    return tuple(counts)
