"""What is to be said of a source's rows beside what they hold: the keys that are not read, the rows
that were left out, and which version of the reader it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from synth.base.display import visible
from synth.runtime.sources.faults import Fault
from synth.store.log import source_payloads

# Files can have a key of its own on every row; beyond this many they are counted together.
_MOST_KEYS = 200
_MOST_LISTED = 20
_LONGEST_KEY = 60
_OTHERS = "(others)"


class Notes:
    """Of one row, while it is read.  `reading` is the first version of the reader that reads it so;
    `rows` and `messages` are keys that hold something and are not read."""

    __slots__ = ("messages", "reading", "rows")

    def __init__(self) -> None:
        self.reading = 1
        self.rows: list[str] = []
        self.messages: list[str] = []

    def since(self, reading: int) -> None:
        """Takes note of what was read otherwise before a version of the reader."""
        self.reading = max(self.reading, reading)


class Unread:
    """Keys that are not read, by name, with how many rows or messages have them."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._messages: Counter[str] = Counter()

    def add(self, notes: Notes) -> None:
        if notes.rows:
            _count(self._rows, notes.rows)
        if notes.messages:
            _count(self._messages, notes.messages)

    def columns(self, names: Iterable[str], rows: int) -> None:
        """Columns of a table that are not even looked at."""
        for name in names:
            _count(self._rows, (name,), rows)

    @property
    def found(self) -> dict[str, dict[str, int]]:
        """By `rows` and `messages`: keys and counts, the most frequent first; empty where all is read."""
        every = {"rows": self._rows, "messages": self._messages}
        return {what: dict(counts.most_common()) for what, counts in every.items() if counts}


def _count(counts: Counter[str], names: Iterable[str], number: int = 1) -> None:
    for name in names:
        # A name comes from the file: it may be of any length, and hold what no terminal bears.
        shown = visible(name[:_LONGEST_KEY])
        counts[shown if shown in counts or len(counts) < _MOST_KEYS else _OTHERS] += number


class LeftOut:
    """The rows that were left out with `bad_rows = skip`."""

    def __init__(self) -> None:
        self.rows = 0
        self._kinds: Counter[str] = Counter()
        self._first: list[source_payloads.LeftOutRow] = []

    def add(self, file: str, line: int, fault: Fault) -> None:
        self.rows += 1
        self._kinds[fault.what] += 1
        if len(self._first) < _MOST_LISTED:
            reason = fault.what + (f" ({fault.detail})" if fault.detail else "")
            self._first.append(source_payloads.LeftOutRow(file=file, line=line, reason=reason))

    def join(self, other: LeftOut) -> None:
        """Adds what another left out."""
        self.rows += other.rows
        self._kinds += other._kinds
        self._first += other._first[: _MOST_LISTED - len(self._first)]

    @property
    def found(self) -> source_payloads.LeftOut:
        """`rows` (how many), `kinds` (by reason) and the `first` ones (file, line, reason); empty
        where none was."""
        if not self.rows:
            return {}
        return {"rows": self.rows, "kinds": dict(self._kinds.most_common()), "first": self._first}
