"""What a log was salvaged without: an event of its own stands in the place of each that was lost."""

from __future__ import annotations

import duckdb

from synth.store.log.events import Kind


def lost_events(cursor: duckdb.DuckDBPyConnection, events: int | None = None) -> int:
    """How many events are lost among the first `events`, or among all."""
    found = cursor.execute(
        "SELECT count(*) FROM events WHERE kind = ? AND seq < coalesce(?, seq + 1)",
        [Kind.EVENT_LOST.value, events],
    ).fetchone()
    return 0 if found is None else int(found[0])
