"""What is to be forgotten of a log: the samples and rows that hold it, all that was made from them, and
where else it stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from synth.base.errors import ConfigError
from synth.base.suggest import some_of
from synth.store.forget.remains import remains
from synth.store.forget.search import Texts
from synth.store.log import payload_sql
from synth.store.log.events import Kind
from synth.store.log.forgotten import MARK, forgotten_of

# A text of a named sample that is as long as this is looked for in what other samples were shown.
QUOTED = 40
_ROWS = 4096


@dataclass(slots=True)
class Target:
    """`samples` and `rows` are forgotten whole; in the events `within` single texts are replaced.

    `plans` are the hashes of plans that hold a text, `lines` where rows of sources were read.
    """

    texts: Texts
    samples: set[str] = field(default_factory=set)
    rows: set[str] = field(default_factory=set)
    within: set[int] = field(default_factory=set)
    plans: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    passages: set[str] = field(default_factory=set)
    # What else a text is that stands where nothing is taken.
    left: set[str] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        return self.samples | self.rows


def find(cursor: duckdb.DuckDBPyConnection, named: Sequence[str], wanted: Sequence[str]) -> Target:
    """Looks through a log for samples and rows by their ids, and for texts.

    Raises ConfigError where there is nothing, or where it is everything.
    """
    ids = {id_ for name in named for id_ in [_named(cursor, name)]}
    quotes = Texts(_written(cursor, ids))
    target = Target(Texts([*wanted, *_excerpts(cursor, quotes)]))
    sources = _rows(cursor)
    for name in ids:
        (target.rows if name in sources else target.samples).add(name)
    for seq, kind, of, text, step, model in _events(cursor):
        held = bool(wanted) and target.texts.stand_in(text)
        quoted = bool(ids) and kind == Kind.CALL_COMPLETED and quotes.stand_in(text)
        ended = bool(ids) and kind == Kind.RUN_STOPPED
        if held or quoted or ended:
            taken = _take(target, seq, kind, of, json.loads(text), quotes if quoted else None)
            if held and not taken:
                target.left |= remains(target.texts, kind, step, model, text)
    _follow(cursor, target)
    _refuse(cursor, target, bool(ids))
    for name in target.rows:
        target.lines += sources[name]
    return target


def _take(
    target: Target, seq: int, kind: str, name: str | None, payload: Mapping[str, Any], quotes: Texts | None
) -> bool:
    """Takes an event for what it holds, if it does."""
    held = target.texts.stand_in_payload(kind, payload)
    if quotes is not None and not held:
        held = quotes.stand_in_value([_written_in(message) for message in payload["messages"]])
    if not held or MARK in payload:
        return False
    if kind == Kind.SOURCE_INGESTED and name is not None:
        target.rows.add(name)
    elif name is not None:
        target.samples.add(name)
        if kind == Kind.RETRIEVAL_DONE:
            target.passages.add(str(payload.get("source")))
    else:
        target.within.add(seq)
        if kind == Kind.PLAN_REGISTERED:
            target.plans.append(str(payload["plan_hash"]))
    return True


def _named(cursor: duckdb.DuckDBPyConnection, name: str) -> str:
    """The id of a sample or row by a row's id, or the beginning of it; that of a source's row by its own."""
    own = cursor.execute(
        f"""SELECT DISTINCT sample_id, {payload_sql.SOURCE} FROM events
            WHERE kind = ? AND ({payload_sql.NAME}) = ? ORDER BY 2""",
        [Kind.SOURCE_INGESTED.value, name.encode("utf-8", "backslashreplace").decode()],
    ).fetchall()
    if len({row for row, _ in own}) > 1:
        choices = ", ".join(f"{row} of `{source}`" for row, source in own)
        raise ConfigError(f"several rows have the id `{name}`: name one of {choices}")
    if own:
        return str(own[0][0])
    begin = name.split("-", 1)[0].encode("utf-8", "backslashreplace").decode()
    rows = cursor.execute(
        "SELECT DISTINCT sample_id FROM events WHERE starts_with(sample_id, ?) ORDER BY 1", [begin]
    ).fetchall()
    if not rows or not begin:
        raise ConfigError(f"the log knows no sample `{name}`: rows carry theirs as `id`")
    if len(rows) > 1:
        raise ConfigError(f"`{name}` begins several samples: {some_of(row[0] for row in rows)}")
    return str(rows[0][0])


def _written(cursor: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> Iterator[str]:
    """The longer texts that models wrote in some samples, and those of rows of sources."""
    rows = cursor.execute(
        "SELECT kind, payload FROM events WHERE sample_id IN (SELECT unnest(?)) AND kind IN (?, ?)",
        [list(ids), Kind.CALL_COMPLETED.value, Kind.SOURCE_INGESTED.value],
    ).fetchall()
    for kind, text in rows:
        payload = json.loads(text)
        texts = [payload.get("text"), payload.get("thought"), *_strings(_arguments(payload))]
        if kind == Kind.SOURCE_INGESTED:
            # A system message is that of all rows.
            texts = [
                text
                for message in payload.get("messages", ())
                if message["role"] != "system"
                for text in _strings(_written_in(message))
            ]
            texts += _strings(payload.get("values", {}))
        yield from (written.strip() for written in texts if written and len(written.strip()) >= QUOTED)


def _written_in(message: Mapping[str, Any]) -> list[Any]:
    """What a message says, and what it calls tools with."""
    return [message.get("content"), *_arguments(message)]


def _arguments(calling: Mapping[str, Any]) -> list[Any]:
    return [call["arguments"] for call in calling.get("calls", ())]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _excerpts(cursor: duckdb.DuckDBPyConnection, quotes: Texts) -> Iterator[str]:
    """What the ends of runs show of some texts, shortened."""
    rows = cursor.execute("SELECT payload FROM events WHERE kind = ?", [Kind.RUN_STOPPED.value]).fetchall()
    for (text,) in rows:
        for stuck in json.loads(text).get("stuck", ()):
            for example in stuck.get("examples", ()):
                if quotes.begin_with(example.removesuffix("…").strip()):
                    yield example


def _rows(cursor: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Where each row of a source was read, by its id."""
    rows = cursor.execute(
        f"""SELECT sample_id, list(DISTINCT ({payload_sql.FILE}) || ':' || ({payload_sql.LINE}))
           FROM events WHERE kind = ? GROUP BY sample_id""",
        [Kind.SOURCE_INGESTED.value],
    )
    return {name: sorted(filter(None, places)) for name, places in rows.fetchall()}


def _events(
    cursor: duckdb.DuckDBPyConnection,
) -> Iterator[tuple[int, str, str | None, str, str | None, str | None]]:
    rows = cursor.execute("SELECT seq, kind, sample_id, payload, step, model FROM events ORDER BY seq")
    while chunk := rows.fetchmany(_ROWS):
        yield from chunk


def _follow(cursor: duckdb.DuckDBPyConnection, target: Target) -> None:
    """Takes what was made from the rows and samples that are taken: the samples over them, theirs in turn,
    and the pairs of a preference."""
    before = -1
    while before != len(target.samples):
        before, names = len(target.samples), target.names
        made = cursor.execute(
            f"""SELECT DISTINCT sample_id, {payload_sql.OF}, CAST({payload_sql.CELL} AS VARCHAR)
               FROM events WHERE kind IN (?, ?)""",
            [Kind.SAMPLE_COMPLETED.value, Kind.SAMPLE_ABANDONED.value],
        )
        while chunk := made.fetchmany(_ROWS):
            for name, of, cell in chunk:
                # Of what a sample is over, its cell has the name; of several rows that it drew, the names.
                made_of = (part for label in json.loads(cell or "{}").values() for part in label.split("-"))
                if of in names or not names.isdisjoint(made_of):
                    target.samples.add(name)


def _refuse(cursor: duckdb.DuckDBPyConnection, target: Target, named: bool) -> None:
    """Raises ConfigError where nothing is to be forgotten, or nothing would be left."""
    done = forgotten_of(cursor)
    known = {name for config_hash in done.config_hashes.values() for name in config_hash}
    if target.names and not target.names - known and not target.within and named:
        raise ConfigError("the log has forgotten that already: nothing is written")
    if not target.names and not target.within and target.left:
        raise ConfigError(
            f"the text is only in what the log is read by ({', '.join(sorted(target.left))}), which is never "
            "rewritten: nothing is written; take it out of the recipe, run again into a new log, and delete "
            "this one"
        )
    if not target.names and not target.within:
        raise ConfigError(
            "no payload of the log holds the text, in no form that JSON gives it: nothing is written; it is "
            "looked for letter by letter, capitals and spaces included"
        )
    total = {row[0] for row in cursor.execute("SELECT DISTINCT sample_id FROM events").fetchall()} - {None}
    if not named and target.names and total - known <= target.names:
        raise ConfigError(
            f"the text is in every one of the {len(total):,} samples and rows of the log, so nothing would "
            "be left of it: delete the log with its `.wal` and `.witness`, take the text out of the recipe, "
            "and run again"
        )
