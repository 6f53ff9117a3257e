"""How many pairs each row of a grid gives: equal shares of a quota, as far as the rows reach."""

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
