"""A plan's part of a log up to a position: what its datasets are made of, read once."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import duckdb

from synth.compiler.plan.model import CohortPlan, Plan
from synth.store.dataset.inputs.environment import Environment
from synth.store.dataset.inputs.filter import Kept
from synth.store.dataset.inputs.over_table import Tables, select_over_table
from synth.store.dataset.inputs.select import (
    Selection,
    WrittenBy,
    completed,
    config_hash_of,
    sample_ids,
    select,
)
from synth.store.log.forgotten import forgotten_of
from synth.store.log.log import Log
from synth.store.log.payloads import EndedEitherWay

_CHUNK = 1024
_Item = TypeVar("_Item")


class Behind:
    """What samples of a conversation over a table are made of: rows of a source, or samples of another
    conversation."""

    def __init__(self, snapshot: LogSnapshot, cohort: CohortPlan) -> None:
        assert cohort.rows is not None
        self._snapshot, self._axis = snapshot, cohort.rows
        self._parent = snapshot.plan.parent_of(cohort)
        if self._parent is None:
            self._table = snapshot.tables.of(cohort.name)
        else:
            self._environment = Environment(self._parent)
            seqs = snapshot.selection(self._parent.name).seqs
            names = sample_ids(snapshot.cursor(), seqs)
            pairs = sorted((int(name, 16), seq) for name, seq in zip(names, seqs, strict=True))
            self._names = array("Q", (name for name, _ in pairs))
            self._seqs = array("q", (seq for _, seq in pairs))

    def rows(self, payloads: Sequence[EndedEitherWay]) -> Sequence[Mapping[str, Any]]:
        """What a sample's row, and the items of its lists, stand for by name; nothing of what the table
        has no more."""
        if self._parent is None:
            return self._table.found([payload["cell"] for payload in payloads])
        above = self._above(payloads)
        outside = self._snapshot.rows_of(self._parent, list(above.values()))
        environments = {
            name: self._environment.of(payload, rows)
            for (name, payload), rows in zip(above.items(), outside, strict=True)
        }
        axis = self._axis.name
        return [
            {axis: environments[name]} if (name := payload["cell"][axis]) in environments else {}
            for payload in payloads
        ]

    def roots(self, payloads: Sequence[EndedEitherWay]) -> list[str]:
        """The names of the rows, or of the first ancestors, that samples are made of."""
        names = [payload["cell"][self._axis.name] for payload in payloads]
        if self._parent is None or self._parent.rows is None:
            return names
        above = self._above(payloads)
        roots = self._snapshot.keys_of(self._parent, list(above), list(above.values()))
        found = dict(zip(above, roots, strict=True))
        return [found.get(name, name) for name in names]

    def _above(self, payloads: Sequence[EndedEitherWay]) -> dict[str, EndedEitherWay]:
        """The parents of samples that stand, by name."""
        wanted = dict.fromkeys(payload["cell"][self._axis.name] for payload in payloads)
        seqs = array("q")
        for name in wanted:
            at = bisect_left(self._names, int(name, 16))
            if at < len(self._names) and self._names[at] == int(name, 16):
                seqs.append(self._seqs[at])
        return dict(completed(self._snapshot.cursor(), seqs)) if seqs else {}


class LogSnapshot:
    """`events` is the log position: only events with a smaller seq count.  `written_by` says which
    models' samples, where those of the last run are not meant."""

    def __init__(
        self,
        plan: Plan,
        log: Log,
        events: int,
        threads: int | None = None,
        written_by: WrittenBy | None = None,
    ) -> None:
        self.plan = plan
        self.written_by = written_by
        self.events = events
        self._log = log
        self._cursor = self.cursor()
        if threads is not None:
            self._cursor.execute(f"SET threads = {int(threads)}")
        # Whatever the position: what is forgotten is gone at each.
        self.forgotten = forgotten_of(self._cursor)
        self._selections: dict[str, Selection] = {}
        self.tables = Tables(plan, self.cursor, events)
        self._lookups: dict[str, Behind] = {}

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own, for rows that are read while others are."""
        return self._log.cursor()

    def selection(self, conversation: str) -> Selection:
        """The samples of a conversation.  Raises QuotaShort when no run generated it."""
        if conversation not in self._selections:
            cohort = self.plan.cohort(conversation)
            if cohort.rows is None:
                config = config_hash_of(self.plan, cohort, self._cursor, self.events, self.written_by)
                self._selections[conversation] = select(
                    self.plan, cohort, self._cursor, self.events, config, self.forgotten
                )
            else:
                self._selections[conversation] = select_over_table(
                    self.plan,
                    cohort,
                    self.tables,
                    self.cursor,
                    self.events,
                    self.written_by,
                    self.forgotten,
                )
        return self._selections[conversation]

    def kept(self, source: str) -> Kept:
        """The rows of a source that pass its `keep`.  Raises QuotaShort when none were read."""
        return self.tables.kept(source)

    def rows_of(self, cohort: CohortPlan, payloads: Sequence[EndedEitherWay]) -> Sequence[Mapping[str, Any]]:
        """What the rows that some samples are over stand for, by name (`environment.RowLookup`)."""
        if cohort.rows is None:
            return [{}] * len(payloads)
        return self._behind(cohort).rows(payloads)

    def keys_of(
        self, cohort: CohortPlan, names: Sequence[str], payloads: Sequence[EndedEitherWay]
    ) -> list[str]:
        """What decides the split that samples go to: their names, and over a table the row, or the first
        ancestor, that all is made of."""
        return list(names) if cohort.rows is None else self._behind(cohort).roots(payloads)

    def keyed(
        self,
        cohort: CohortPlan,
        items: Iterable[_Item],
        split: bool,
        sample: Callable[[_Item], tuple[str, EndedEitherWay]],
    ) -> Iterator[tuple[_Item, str]]:
        """Items with what decides the split of each one's `sample`, which is its name and payload."""
        remaining = iter(items)
        while some := list(islice(remaining, _CHUNK)):
            samples = [sample(item) for item in some]
            names = [name for name, _ in samples]
            keys = self.keys_of(cohort, names, [payload for _, payload in samples]) if split else names
            yield from zip(some, keys, strict=True)

    def _behind(self, cohort: CohortPlan) -> Behind:
        if cohort.name not in self._lookups:
            self._lookups[cohort.name] = Behind(self, cohort)
        return self._lookups[cohort.name]
