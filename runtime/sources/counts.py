"""How many rows a source has, as far as that is known without reading all of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from synth.base import cache
from synth.base.canonical import digest
from synth.base.display import plural
from synth.base.errors import ConfigError
from synth.compiler.plan.model import Plan, SourcePlan
from synth.runtime.sources.faults import NoRows
from synth.runtime.sources.locate import Located, locate
from synth.runtime.sources.readers.parquet import pattern
from synth.runtime.sources.rows.scan import RowScan
from synth.runtime.sources.rows.spool import LoggedRow
from synth.runtime.sources.scan import Conversation, Scan
from synth.store.dataset.inputs.filter import Gate, Kept, refusals
from synth.store.dataset.inputs.sources import RowChanges, reader_digest
from synth.store.log.connection import connect

# Files up to this size are read for it: that takes a tenth of a second or so.
MOST_BYTES = 16 * 1024 * 1024
_KIND = "rows"
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows of a source samples would be made of; None where only a run can tell.  `told` is a
    clause about the others, if there are any."""

    rows: int | None
    told: str = ""


UNKNOWN = RowCount(None)


def count_rows(plan: Plan, source: SourcePlan, allowed: Sequence[Path] = ()) -> RowCount:
    """How many rows of a source would stand, as its file is now.

    Known are small files, files of Parquet and those that were read before and did not change since: of the
    large ones before their `keep`, which `told` says then.
    """
    if source.type == "chunk":
        return UNKNOWN
    try:
        located = locate(plan, source, allowed)
        if sum(file.path.stat().st_size for file in located.files) <= MOST_BYTES:
            return _read(located)
        kept = cache.load(_KIND, _name(plan, located))
        if kept is not None and isinstance(kept.get("rows"), int):
            found = int(kept["rows"])
        elif all(file.format == "parquet" for file in located.files):
            found = sum(_of_parquet(file.path) for file in located.files)
            limit = source.reader.arguments.get("limit")
            found = min(found, limit) if isinstance(limit, int) else found
        else:
            return UNKNOWN
    except NoRows as none:
        return RowCount(0, str(none))
    except (ConfigError, OSError, duckdb.Error):
        # Whoever reads it says what is wrong.
        return UNKNOWN
    return RowCount(found, "before its `keep`" if source.keep else "")


def count_kept(kept: Kept, changes: RowChanges | None = None) -> RowCount:
    """The same of rows that were read; `changes` are those since the version that a run read before."""
    told = _told(kept.version.left_out.get("rows", 0), kept.account())
    return RowCount(len(kept.seqs), "; ".join(filter(None, [changes.in_words() if changes else "", told])))


def _told(left_out: int, account: str) -> str:
    verb = "does" if left_out == 1 else "do"
    skipped = f"{plural(left_out, 'row')} that {verb} not fit left out" if left_out else ""
    return "; ".join(filter(None, (skipped, account)))


def _read(located: Located) -> RowCount:
    scan = Scan(located, ()) if located.source.type == "messages" else RowScan(located, (), "")
    try:
        while scan.advance(_ROWS_AT_ONCE):
            pass
        scan.conclude()
        rows, gate = scan.rows, Gate(located.source)
        dropped = Counter[str]()
        if located.source.keep:
            for row in scan.again():
                refused = gate.refuses(row.row_id, _payload(row))
                if refused is not None:
                    dropped[refused.label or refused.name] += 1
    finally:
        scan.close()
    account = refusals(dropped, rows)
    return RowCount(rows - dropped.total(), _told(scan.left_out.found.get("rows", 0), account))


def _payload(row: Conversation | LoggedRow) -> Mapping[str, Any]:
    if isinstance(row, LoggedRow):
        payload: Mapping[str, Any] = json.loads(row.payload.text)
        return payload
    return {"messages": row.messages}


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
