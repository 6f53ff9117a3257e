"""A plan's part of a log up to a position: what its datasets are made of, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from synth.compiler.plan.model import CohortPlan, Plan
from synth.store.dataset.inputs.filter import Kept, keep
from synth.store.dataset.inputs.select import Selection, WrittenBy, select
from synth.store.dataset.inputs.sources import source_of
from synth.store.log.forgotten import forgotten_of
from synth.store.log.log import Log
from synth.store.log.payloads import EndedEitherWay


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
        self._kept: dict[str, Kept] = {}

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own, for rows that are read while others are."""
        return self._log.cursor()

    def selection(self, conversation: str) -> Selection:
        """The samples of a conversation.  Raises QuotaShort when no run generated it."""
        if conversation not in self._selections:
            cohort = self.plan.cohort(conversation)
            self._selections[conversation] = select(
                self.plan, cohort, self._cursor, self.events, self.written_by, self.forgotten
            )
        return self._selections[conversation]

    def kept(self, source: str) -> Kept:
        """The rows of a source that pass its `keep`.  Raises QuotaShort when none were read."""
        if source not in self._kept:
            plan = self.plan.source(source)
            version = source_of(self.plan, plan, self._cursor, self.events)
            self._kept[source] = keep(plan, version, self.cursor())
        return self._kept[source]

    def rows_of(self, cohort: CohortPlan, payloads: Sequence[EndedEitherWay]) -> Sequence[Mapping[str, Any]]:
        """What the rows that some samples are over stand for, by name (`environment.RowLookup`)."""
        return [{}] * len(payloads)
