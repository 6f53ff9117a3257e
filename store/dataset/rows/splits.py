"""Which side of a split a row goes to: by the hash of the id of the sample that it is made from,
so that a row stays on its side as the dataset grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import sha256

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
