"""What the log has of the sources: the versions that are complete, and their rows.

A version is what a source's files held when they were read.  Its rows count once its
`source.completed` is in the log, and only then.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import duckdb

from synth.base.canonical import digest
from synth.base.errors import LogDamaged, QuotaShort
from synth.compiler.plan.model import Plan, SourcePlan
from synth.store.dataset.inputs.select import columns
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.source_payloads import LeftOut, SourceCompleted, SourceFile, SourceIngested


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """A version whose rows are all in the log before `seq`, that of its `source.completed`.

    `files` have `path`, `bytes` and `sha256`.  `reading` is the version of the reader that looked
    at them; `left_out` says which rows it skipped (`rows`, `kinds`, `first`) and `unread` which keys
    it passed over, by `rows` and `messages`.  `first` is the seq of the first row, where it is known that
    they lie one behind the other.  In so many rows tools are called, or can be: `calling`.
    """

    source: str
    reader: str
    version: str
    rows: int
    shape: str
    files: tuple[SourceFile, ...]
    seq: int
    reading: int = 1
    left_out: LeftOut = field(default_factory=LeftOut)
    unread: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    first: int | None = None
    calling: int = 0


def reader_digest(plan: Plan, source: SourcePlan) -> str:
    """Names how a recipe reads a source, whatever of it is kept.

    The recipe counts too: a path is relative to it, so another one may read another file.
    """
    body: list[object] = [plan.recipe, source.reader.model_dump(mode="json", exclude={"source"})]
    # What is new is added where it is set, so that older logs are read by the names they have.
    if source.bad_rows != "fail":
        body.append(source.bad_rows)
    if source.row is not None:
        body.append(source.row.model_dump(mode="json", exclude_defaults=True))
    if source.split is not None:
        body.append(source.split.model_dump(mode="json", exclude={"source"}))
    return digest(body)


def source_of(
    plan: Plan, source: SourcePlan, cursor: duckdb.DuckDBPyConnection, events: int
) -> SourceVersion:
    """What the last run read of a source, among the first `events` events of the log.

    Raises QuotaShort when no run read it as the plan does.
    """
    found = last_version(plan, source, cursor, events)
    if found is None:
        raise QuotaShort(
            f"the log has no rows of the source `{source.name}` of `{plan.recipe}` as this recipe reads it: "
            "`synth run` it first"
        )
    return found


def last_version(
    plan: Plan,
    source: SourcePlan,
    cursor: duckdb.DuckDBPyConnection,
    events: int,
    version: str | None = None,
    *,
    any_reader: bool = False,
) -> SourceVersion | None:
    """The version of a source that was completed last, or the last completion of one version; with
    `any_reader` however it was read."""
    reader = None if any_reader else reader_digest(plan, source)
    row = cursor.execute(
        f"""SELECT seq, payload FROM events
           WHERE kind = ? AND seq < ? AND ({payload_sql.SOURCE}) = ?
           AND ({payload_sql.READER}) = coalesce(?, {payload_sql.READER})
           AND ({payload_sql.VERSION}) = coalesce(?, {payload_sql.VERSION})
           ORDER BY seq DESC LIMIT 1""",
        [Kind.SOURCE_COMPLETED.value, events, source.name, reader, version],
    ).fetchone()
    if row is None:
        return None
    payload: SourceCompleted = json.loads(row[1])
    return SourceVersion(
        source=payload["source"],
        reader=payload["reader"],
        version=payload["version"],
        rows=payload["rows"],
        shape=payload["shape"],
        files=tuple(payload["files"]),
        seq=row[0],
        reading=payload.get("reading", 1),
        left_out=payload.get("left_out", {}),
        unread=payload.get("unread", {}),
        first=payload.get("first"),
        calling=payload.get("calling", 0),
    )


def unread_in_words(unread: Mapping[str, Mapping[str, int]], most: int = 8) -> str:
    """The keys that a reader passed over, the first of them named; nothing where there are none."""
    found = [
        f"`{name}` ({count:,} {what[:-1]}{'s' * (count != 1)})"
        for what in ("rows", "messages")
        for name, count in sorted(unread.get(what, {}).items(), key=lambda each: (-each[1], each[0]))
    ]
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def left_out_in_words(left_out: LeftOut, most: int = 3) -> list[str]:
    """The first rows that a reader skipped, each with its place and what is wrong with it."""
    first = [f"{each['file']}:{each['line']} {each['reason']}" for each in left_out.get("first", ())[:most]]
    more = left_out.get("rows", 0) - len(first)
    return [*first, f"and {more:,} more"] if more else first


def rows_there(cursor: duckdb.DuckDBPyConnection, source: str, version: str) -> int:
    """How many rows of a version the log has: the first ones, since they are logged in order."""
    found = cursor.execute(
        f"""SELECT count(*) FROM events
           WHERE kind = ? AND ({payload_sql.SOURCE}) = ? AND ({payload_sql.VERSION}) = ?""",
        [Kind.SOURCE_INGESTED.value, source, version],
    ).fetchone()
    return 0 if found is None else int(found[0])


class RowChanges(NamedTuple):
    """Rows of a version beside those of an earlier one, told apart by their names: `new` ones, `changed` and
    the `same`; and those that are `gone`.  Columns that are no fields do not count."""

    new: int = 0
    changed: int = 0
    same: int = 0
    gone: int = 0

    def in_words(self) -> str:
        """What became of the rows; nothing where all are as they were."""
        if not (self.new or self.changed or self.gone):
            return ""
        told = {"new": self.new, "changed": self.changed, "as before": self.same, "gone": self.gone}
        return ", ".join(f"{count:,} {what}" for what, count in told.items() if count)


def row_changes(
    before: SourceVersion,
    cursor: duckdb.DuckDBPyConnection,
    now: str,
    cursor_now: duckdb.DuckDBPyConnection,
    events: int,
) -> RowChanges:
    """What became of the rows of a source since the version `before`.  Each has a cursor of the log that has
    it; `now` is among the first `events` events of its own."""
    counts = {"new": 0, "changed": 0, "same": 0, "gone": 0}
    earlier = _hashes(cursor, before.source, before.version, before.seq)
    later = _hashes(cursor_now, before.source, now, events)
    old, new = next(earlier, None), next(later, None)
    while old is not None or new is not None:
        if old is None or (new is not None and new[0] < old[0]):
            counts["new"] += 1
            new = next(later, None)
        elif new is None or old[0] < new[0]:
            counts["gone"] += 1
            old = next(earlier, None)
        else:
            counts["same" if old[1] == new[1] else "changed"] += 1
            old, new = next(earlier, None), next(later, None)
    return RowChanges(**counts)


def _hashes(
    cursor: duckdb.DuckDBPyConnection, source: str, version: str, events: int
) -> Iterator[tuple[str, str]]:
    """The names of a version's rows, in order, each with what its values are."""
    rows = cursor.execute(
        f"""SELECT sample_id AS name, any_value({payload_sql.HASH}) FROM events
            WHERE kind = ? AND seq < ? AND ({payload_sql.SOURCE}) = ? AND ({payload_sql.VERSION}) = ?
            GROUP BY name ORDER BY name""",
        [Kind.SOURCE_INGESTED.value, events, source, version],
    )
    while chunk := rows.fetchmany(4096):
        yield from chunk


def source_rows(
    cursor: duckdb.DuckDBPyConnection, version: SourceVersion
) -> Iterator[tuple[int, str, SourceIngested]]:
    """Seq, row id and payload of a version's rows, in row order and a chunk at a time.

    Eight bytes a row are held.  Raises LogDamaged when rows are missing.
    """
    seqs, _ = named_rows(cursor, version)
    for seq, (_, row_id, text) in zip(seqs, columns(cursor, seqs, "sample_id, payload"), strict=True):
        yield seq, row_id, json.loads(text)


def named_rows(cursor: duckdb.DuckDBPyConnection, version: SourceVersion) -> tuple[array[int], array[int]]:
    """The seqs and the names, as numbers, of a version's rows, in row order.

    Raises LogDamaged when rows are missing.
    """
    if version.first is not None:
        # What is in the rows need not be read, which takes most of the time.
        found = _named(cursor, "seq BETWEEN ? AND ?", [version.first, version.first + version.rows - 1])
        if len(found[0]) == version.rows:
            return found
    condition = f"seq < ? AND ({payload_sql.SOURCE}) = ? AND ({payload_sql.VERSION}) = ?"
    seqs, names = _named(cursor, condition, [version.seq, version.source, version.version])
    if len(seqs) != version.rows:
        raise LogDamaged(
            f"the log has {len(seqs)} of the {version.rows} rows of the source `{version.source}`: "
            "restore it from a copy"
        )
    return seqs, names


def _named(
    cursor: duckdb.DuckDBPyConnection, condition: str, parameters: list[object]
) -> tuple[array[int], array[int]]:
    seqs, names = array("q"), array("Q")
    rows = cursor.execute(
        f"""SELECT seq, CAST('0x' || sample_id AS UBIGINT) FROM events
           WHERE kind = ? AND {condition} ORDER BY seq""",
        [Kind.SOURCE_INGESTED.value, *parameters],
    )
    while chunk := rows.fetchmany(65_536):
        # Without a step of the interpreter's for each row.
        both = array("Q", chain.from_iterable(chunk))
        seqs.frombytes(both[::2].tobytes())
        names.extend(both[1::2])
    return seqs, names
