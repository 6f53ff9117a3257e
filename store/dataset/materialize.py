"""Materializing: from plan and log to folders of files, the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import duckdb

from synth.base.errors import ConfigError, LogError, QuotaShort
from synth.base.version import VERSION
from synth.compiler.bind.declarations.exports import FORMS, PAIRS
from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import ExportPlan
from synth.compiler.stdlib.requirements import require_runnable
from synth.store.dataset.inputs.select import Models, WrittenBy
from synth.store.dataset.inputs.snapshot import LogSnapshot
from synth.store.dataset.output.card import card
from synth.store.dataset.output.files import File, file_entry, opened, to_parquet
from synth.store.dataset.output.folder import CARD, appearing
from synth.store.dataset.output.manifest import FORMAT, MANIFEST
from synth.store.dataset.output.trainers import CallCounts
from synth.store.dataset.output.written import Dataset
from synth.store.dataset.rows.apportion import Side, sides
from synth.store.dataset.rows.layout import Conversation, Layout, Line, Row, as_lines
from synth.store.dataset.rows.mix import Mixed
from synth.store.dataset.rows.preference import Pairs
from synth.store.dataset.rows.ranked import Ranked
from synth.store.dataset.rows.rejected import Refused
from synth.store.dataset.rows.row_sources import Samples
from synth.store.dataset.rows.tables import dropped, tables
from synth.store.dataset.rows.unpaired import Unpaired
from synth.store.log.costs import costs
from synth.store.log.log import Log


class Rows(Protocol):
    """What an export is made of.  `unit` is what `missing` of them are still to be made.

    Making one raises QuotaShort where the log has nothing of it.
    """

    unit: str

    @property
    def missing(self) -> int: ...

    @property
    def forgotten(self) -> int:
        """How many samples, rows or pairs are left out since the log has forgotten them."""
        ...

    def incomplete(self) -> list[str]:
        """Clauses on what a run has still to make."""
        ...

    def prepare(self, *, partial: bool) -> None:
        """Decides how many rows there are; `partial` takes what is there.  Raises QuotaShort where
        that is too few and no run could help."""
        ...

    def rows(self, layout: Layout) -> Iterator[Row]:
        """All rows, in order.  Read once."""
        ...

    def sides(self, split: str | None) -> Side:
        """Which side of a split each row goes to."""
        ...

    def models(self) -> Models:
        """Who answered, for whatever part of the rows."""
        ...

    def manifest(self) -> dict[str, Any]:
        """What the manifest says of the rows, after they were read: `source` and what it is of."""
        ...


def materialize(
    plan: Plan,
    log: Log,
    out: Path,
    *,
    as_of: int | None = None,
    partial: bool = False,
    threads: int | None = None,
    only: str | None = None,
    written_by: WrittenBy | None = None,
) -> list[Dataset]:
    """Writes every export of a plan, or `only` one, below `out` and returns what was written.

    `as_of` is the last event that counts; all of the log by default.  Samples are those of the last
    run, or of the last that was `written_by` some models.  Each folder appears whole
    or not at all.  Raises QuotaShort where samples or rows are missing, unless `partial` or the
    mix says otherwise; ConfigError where a folder is in the way.
    """
    require_runnable(plan)
    position = _position(log, as_of)
    exports = [export for export in plan.exports if only in (None, export.name)]
    if not exports:
        raise ConfigError(f"the recipe `{plan.recipe}` declares no export")
    snapshot = LogSnapshot(plan, log, position["events"], threads, written_by)
    found = _ready(snapshot, exports, partial)
    spent = costs(plan, snapshot.cursor(), position["events"])
    if written_by:
        position = {**position, "chosen": {name: dict(each) for name, each in sorted(written_by.items())}}
    return [_write(plan, export, rows, position, spent, out, snapshot) for export, rows in found]


class _Bare(Layout):
    """Conversations as they are, for who reads them here."""

    def conversation(self, said: Conversation) -> Iterator[Row]:
        yield said.key, {"said": said}


def exported(
    plan: Plan,
    log: Log,
    export: ExportPlan,
    *,
    partial: bool = False,
    written_by: WrittenBy | None = None,
) -> Iterator[tuple[str, Conversation]]:
    """The conversations that an export has by now, in order, each with the split that it is in.

    The export need not be one of the plan's own.  Raises QuotaShort as `materialize` does.
    """
    snapshot = LogSnapshot(plan, log, _position(log, None)["events"], written_by=written_by)
    ((_, rows),) = _ready(snapshot, [export], partial)
    side = rows.sides(export.split)
    for key, row in rows.rows(_Bare.of(plan, export)):
        yield side(key), row["said"]


def _ready(
    snapshot: LogSnapshot, exports: Sequence[ExportPlan], partial: bool
) -> list[tuple[ExportPlan, Rows]]:
    """The rows of some exports, counted and not yet read."""
    found = [(export, _rows_of(snapshot, export)) for export in exports]
    incomplete = list(dict.fromkeys(clause for _, rows in found for clause in rows.incomplete()))
    if incomplete and not partial:
        raise QuotaShort("; ".join(incomplete) + ": run it to the end, or take what is there with --partial")
    for _, rows in found:
        rows.prepare(partial=partial)
    return found


class _Whole:
    """All samples of one conversation."""

    unit = "sample"

    def __init__(self, snapshot: LogSnapshot, conversation: str) -> None:
        self._samples = Samples(snapshot, conversation)

    @property
    def missing(self) -> int:
        return self._samples.missing

    @property
    def forgotten(self) -> int:
        return self._samples.forgotten

    def incomplete(self) -> list[str]:
        there, missing = self._samples.available, self.missing
        if not missing or self._samples.exhausted:
            return []
        return [f"`{self._samples.name}` has {there} of {there + missing} samples"]

    def prepare(self, *, partial: bool) -> None:
        """There is nothing to decide.  Raises QuotaShort where no run can make what is missing."""
        if self._samples.exhausted and not partial:
            remedy = "add rows, lower its count, or take what is there with --partial"
            raise QuotaShort(f"{self._samples.exhausted}: {remedy}")

    def rows(self, layout: Layout) -> Iterator[Row]:
        for said in self._samples.conversations(layout.export, range(self._samples.available)):
            yield from layout.conversation(said)

    def lines(self, layout: Layout) -> Iterator[list[Line]]:
        return self._samples.lines(layout)

    def sides(self, split: str | None) -> Side:
        return sides(split)

    def models(self) -> Models:
        return self._samples.models()

    def manifest(self) -> dict[str, Any]:
        whole = self._samples.manifest()
        names = ("conversation", "lineage", "quota", "samples", "over", "rows", "empty", "lost", "forgotten")
        return {"source": {name: whole.pop(name) for name in names if name in whole}, **whole}


def _rows_of(snapshot: LogSnapshot, export: ExportPlan) -> Rows:
    if export.type == "rejected":
        return Refused(snapshot, export.source)
    if export.type == "unpaired":
        return Unpaired(snapshot, export.source)
    if export.type == "ranked":
        return Ranked(snapshot, export)
    if export.type in PAIRS:
        return Pairs(snapshot, snapshot.plan.preference(export.source))
    mix = next((mix for mix in snapshot.plan.mixes if mix.name == export.source), None)
    return _Whole(snapshot, export.source) if mix is None else Mixed(snapshot, mix)


def _lines(rows: Rows, layout: Layout) -> Iterator[list[Line]]:
    """All rows as they are written, some at a time."""
    if isinstance(rows, _Whole):
        return rows.lines(layout)
    return (as_lines([row]) for row in rows.rows(layout))


def _position(log: Log, as_of: int | None) -> dict[str, Any]:
    """How many events count, and the hash of the last batch among them."""
    events = log.next_seq if as_of is None else as_of + 1
    if not 0 < events <= log.next_seq:
        last = log.next_seq - 1
        raise LogError(
            f"{log.path} has no event {as_of}: its last is {last}" if last >= 0 else f"{log.path} is empty"
        )
    found = (
        log.cursor()
        .execute(
            "SELECT batch_id, hash FROM batches WHERE first_seq < ? ORDER BY batch_id DESC LIMIT 1", [events]
        )
        .fetchone()
    )
    assert found is not None
    return {"events": events, "batch": found[0], "head": found[1]}


def _write(
    plan: Plan,
    export: ExportPlan,
    rows: Rows,
    position: Mapping[str, Any],
    spent: Mapping[str, Any] | None,
    out: Path,
    snapshot: LogSnapshot,
) -> Dataset:
    folder = out / export.to
    layout = Layout.of(plan, export, snapshot.calling)
    with appearing(folder, out) as work:
        example: str | None = None
        # As a row's text has it: inside a string of it, quotes are escaped.
        begins, bare = f',"{FORMS[export.type][0]}":[],', 0
        counts = CallCounts(export)
        with opened(work, ["train", "eval"] if export.split is not None else ["train"]) as files:
            side = rows.sides(export.split)
            for lines in _lines(rows, layout):
                example = example or next((text for _, text in lines), None)
                bare += sum(begins in text for _, text in lines)
                if layout.tools:
                    for _, text in lines:
                        counts.see(text)
                if len(files) == 1:
                    files["train"].write([text for _, text in lines])
                else:
                    for key, text in lines:
                        files[side(key)].write([text])
        if export.format == "parquet":
            for file in files.values():
                to_parquet(file, layout.types)
        more = _read(snapshot, export) | ({"calls": counts.found} if counts.found else {})
        manifest = _manifest(plan, export, rows, position, spent, files, more)
        (work / CARD).write_text(
            card(plan, layout, manifest, json.loads(example) if example else None, rows.models()),
            "utf-8",
            newline="\n",
        )
        manifest["files"][CARD] = file_entry(work / CARD)
        text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
        (work / MANIFEST).write_text(text, "utf-8", newline="\n")
    written = {name: file.rows for name, file in files.items()}
    return Dataset(export, folder, written, rows.missing, rows.unit, manifest, layout.types, bare)


def _read(snapshot: LogSnapshot, export: ExportPlan) -> dict[str, Any]:
    """What a manifest says of what is behind an export, where there is something to say."""
    told = {"tables": tables(snapshot, export), "kept": dropped(snapshot, export)}
    return {name: found for name, found in told.items() if found}


def _manifest(
    plan: Plan,
    export: ExportPlan,
    rows: Rows,
    position: Mapping[str, Any],
    spent: Mapping[str, Any] | None,
    files: Mapping[str, File],
    read: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "recipe": plan.recipe,
        "export": export.name,
        "plan_hash": plan.plan_hash,
        "log": dict(position),
        **rows.manifest(),
        **({"forgotten": rows.forgotten} if rows.forgotten else {}),
        **read,
        **({} if spent is None else {"costs": dict(spent)}),
        "versions": {"synth": VERSION, "duckdb": duckdb.__version__},
        "files": {file.path.name: {"split": name, **file.entry()} for name, file in files.items()},
    }
