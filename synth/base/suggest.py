"""Did you mean ...?"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_WORD = 80
_MOST_LISTED = 8


def suggest(word: str, legal: Iterable[str]) -> str | None:
    """The name of `legal` that `word` was probably meant to be, or None.

    A candidate is at most max(1, len(word) // 3) edits away and shares at least one
    character's place with the word; an edit inserts, removes or replaces one character or
    swaps two neighbours.  Of several the nearest wins, then one with the same first letter,
    then the alphabet decides.
    """
    if not word or len(word) > LONGEST_WORD:
        return None
    limit = max(1, len(word) // 3)
    best: tuple[int, bool, str] | None = None
    for name in legal:
        if name == word or abs(len(name) - len(word)) > limit:
            continue
        edits = distance(word, name)
        if edits > limit or edits >= max(len(word), len(name)):
            continue
        rank = (edits, name[:1] != word[:1], name)
        if best is None or rank < best:
            best = rank
    return best[2] if best else None


def some_of(names: Iterable[str], last: str = "and") -> str:
    """Names between backticks, all of them or the first ones with how many more there are; `last`
    stands before the last where all are there."""
    quoted = [f"`{name}`" for name in names]
    # To say that there is one more takes as much room as to name it.
    if len(quoted) > _MOST_LISTED + 1:
        return f"{', '.join(quoted[:_MOST_LISTED])} and {len(quoted) - _MOST_LISTED} more"
    return f"{', '.join(quoted[:-1])} {last} {quoted[-1]}" if len(quoted) > 1 else "".join(quoted)


def distance(a: str, b: str) -> int:
    """The number of edits between two words, counting a swap of neighbours as one
    (optimal string alignment).  Takes len(a) x len(b) steps."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        earlier, before, row = before, row, [i]
        for j, right in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
