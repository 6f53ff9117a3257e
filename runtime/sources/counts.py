"""How many rows a source has, as far as that is known without reading all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from synth.base import cache
from synth.base.canonical import digest
from synth.base.errors import ConfigError
from synth.compiler.plan.model import Plan, SourcePlan
from synth.runtime.sources.faults import Fault
from synth.runtime.sources.locate import Located, locate
from synth.runtime.sources.readers.parquet import pattern
from synth.runtime.sources.scan import records
from synth.store.dataset.inputs.sources import last_version, reader_digest
from synth.store.log.connection import connect
from synth.store.log.log import Log

# Files up to this size are read for it: that takes a tenth of a second or so.
MOST_BYTES = 16 * 1024 * 1024
_KIND = "rows"


def count_rows(plan: Plan, source: SourcePlan, log: Log | None, allowed: Sequence[Path] = ()) -> int | None:
    """How many rows a run would read of a source, whatever its `keep` then drops; None where only reading
    it would tell.

    Known are files of Parquet, small files, those that were read before and did not change since, and those
    that the log has with the same number of bytes.
    """
    if source.type == "chunk":
        return _in_log(plan, source, log, None)
    try:
        located = locate(plan, source, allowed)
        limit = source.reader.arguments.get("limit")
        most = limit if isinstance(limit, int) else None
        if all(file.format == "parquet" for file in located.files):
            found = sum(_of_parquet(file.path) for file in located.files)
            return found if most is None else min(found, most)
        kept = cache.load(_KIND, _name(plan, located))
        if kept is not None and isinstance(kept.get("rows"), int):
            return int(kept["rows"])
        size = sum(file.path.stat().st_size for file in located.files)
        if size <= MOST_BYTES:
            return sum(not isinstance(record.row, Fault) for _, record in records(located))
    except (ConfigError, OSError, duckdb.Error):
        # Whoever reads it says what is wrong.
        return None
    return _in_log(plan, source, log, size)


def remember_count(plan: Plan, located: Located, rows: int) -> None:
    """Keeps how many rows were read of files as they are now."""
    try:
        cache.store(_KIND, _name(plan, located), {"rows": rows})
    except OSError:
        return


def _name(plan: Plan, located: Located) -> str:
    stamps = []
    for file in located.files:
        status = file.path.stat()
        stamps.append([str(file.path), status.st_size, status.st_mtime_ns])
    return digest([reader_digest(plan, located.source), stamps])[:32]


def _of_parquet(path: Path) -> int:
    with connect() as connection:
        row = connection.execute(
            "SELECT sum(num_rows) FROM parquet_file_metadata(?)", [pattern(path)]
        ).fetchone()
    return int(row[0]) if row is not None and row[0] is not None else 0


def _in_log(plan: Plan, source: SourcePlan, log: Log | None, size: int | None) -> int | None:
    """What the log has of a source that was read as the plan reads it, of a `size` in bytes if given."""
    if log is None:
        return None
    with log.cursor() as cursor:
        version = last_version(plan, source, cursor, log.next_seq)
    if version is None or (size is not None and sum(file["bytes"] for file in version.files) != size):
        return None
    return version.rows
