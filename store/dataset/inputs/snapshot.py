"""A plan's part of a log up to a position: what its datasets are made of, read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import duckdb

from synth.compiler.plan.model import CohortPlan, Plan
from synth.store.dataset.inputs.behind import Behind
from synth.store.dataset.inputs.filter import Kept
from synth.store.dataset.inputs.over_table import Tables, select_over_table
from synth.store.dataset.inputs.select import Selection, WrittenBy, config_hash_of, select
from synth.store.dataset.inputs.sources import last_version
from synth.store.log.forgotten import forgotten_of
from synth.store.log.log import Log
from synth.store.log.payloads import EndedEitherWay

_CHUNK = 1024
_Item = TypeVar("_Item")


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
            if not cohort.of_tables:
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

    @cached_property
    def calling(self) -> frozenset[str]:
        """The sources in whose rows tools are called, or can be."""
        versions = (
            last_version(self.plan, source, self._cursor, self.events)
            for source in self.plan.sources
            if source.type in ("messages", "rows")
        )
        return frozenset(each.source for each in versions if each is not None and each.calling)

    def kept(self, source: str) -> Kept:
        """The rows of a source that pass its `keep`.  Raises QuotaShort when none were read."""
        return self.tables.kept(source)

    def rows_of(self, cohort: CohortPlan, payloads: Sequence[EndedEitherWay]) -> Sequence[Mapping[str, Any]]:
        """What the rows that some samples are over stand for, by name (`environment.RowLookup`)."""
        if not cohort.of_tables:
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
