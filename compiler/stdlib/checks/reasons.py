"""How a check says why: clauses without a full stop, to be read after "the answer"."""

from __future__ import annotations

from collections.abc import Sequence

from synth.base.display import quoted

# A single number is both of its ends.
Bounds = tuple[int | None, int | None] | int


def ends(bounds: Bounds) -> tuple[int | None, int | None]:
    if isinstance(bounds, int):
        return bounds, bounds
    low, high = bounds
    return low, high


def outside(found: int, bounds: Bounds, unit: str) -> str | None:
    """What is wrong with a number of things, or None when it is within its bounds."""
    low, high = ends(bounds)
    noun = unit if found == 1 else unit + "s"
    if low is not None and found < low:
        return f"has {found} {noun}; at least {low} are asked for"
    if high is not None and found > high:
        return f"has {found} {noun}; at most {high} are allowed"
    return None


def listed(words: Sequence[str]) -> str:
    """A few words in backticks: `a`, `b` or `c`."""
    shown = [quoted(word) for word in words[:5]]
    if len(words) > 5:
        return ", ".join(shown) + f" or {len(words) - 5} others"
    return " or ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def percent(part: int, whole: int) -> str:
    """A share in whole percents, never rounded to 0% or 100% unless it is."""
    share = round(100 * part / whole)
    if share == 0 and part:
        share = 1
    if share == 100 and part < whole:
        share = 99
    return f"{share}%"
