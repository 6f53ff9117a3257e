"""Materializing: from plan and log to folders of files, the same bytes every time."""

from __future__ import annotations

import json
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import duckdb

from compiler.plan import ExportPlan, Plan
from compiler.runnable import require_runnable
from dsl.errors import ConfigError, LogError, QuotaShort
from store.card import card
from store.log import Log
from store.rows import column_types, rows_of
from store.select import Selection, completed, select
from store.versions import package_version

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One export as it was written.  `rows` counts each split."""

    export: ExportPlan
    folder: Path
    rows: Mapping[str, int]
    missing: int
    manifest: Mapping[str, Any]


@dataclass(slots=True)
class _File:
    """One split while it is written: its content is hashed on the way."""

    path: Path
    handle: IO[bytes]
    rows: int = 0
    content: Any = field(default_factory=sha256)

    def write(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self.handle.write(line)
        self.content.update(line)
        self.rows += 1


def materialize(
    plan: Plan,
    log: Log,
    out: Path,
    *,
    as_of: int | None = None,
    partial: bool = False,
    threads: int | None = None,
    only: str | None = None,
) -> list[Dataset]:
    """Writes every export of a plan, or `only` one, below `out` and returns what was written.

    `as_of` is the last event that counts; all of the log by default.  Each folder appears whole
    or not at all.  Raises QuotaShort where samples are missing, unless `partial`; ConfigError
    where a folder is in the way.
    """
    require_runnable(plan)
    cursor = log.cursor()
    if threads is not None:
        cursor.execute(f"SET threads = {int(threads)}")
    position = _position(log, cursor, as_of)
    exports = [export for export in plan.exports if only in (None, export.name)]
    if not exports:
        raise ConfigError(f"the recipe `{plan.recipe}` declares no export")
    selections: dict[str, Selection] = {}
    for export in exports:
        if export.source not in selections:
            selections[export.source] = select(plan, plan.cohort(export.source), cursor, position["events"])
    short = [s for s in selections.values() if s.missing]
    if short and not partial:
        raise QuotaShort(
            "; ".join(f"`{s.cohort.name}` has {len(s.seqs)} of {s.cohort.quota} samples" for s in short)
            + ": run it to the end, or take what is there with --partial"
        )
    return [_write(plan, export, selections[export.source], cursor, position, out) for export in exports]


def _position(log: Log, cursor: duckdb.DuckDBPyConnection, as_of: int | None) -> dict[str, Any]:
    """How many events count, and the hash of the last batch among them."""
    events = log.next_seq if as_of is None else as_of + 1
    if not 0 < events <= log.next_seq:
        last = log.next_seq - 1
        raise LogError(
            f"{log.path} has no event {as_of}: its last is {last}" if last >= 0 else f"{log.path} is empty"
        )
    found = cursor.execute(
        "SELECT batch_id, hash FROM batches WHERE first_seq < ? ORDER BY batch_id DESC LIMIT 1", [events]
    ).fetchone()
    assert found is not None
    return {"events": events, "batch": found[0], "head": found[1]}


def _write(
    plan: Plan,
    export: ExportPlan,
    selection: Selection,
    cursor: duckdb.DuckDBPyConnection,
    position: Mapping[str, Any],
    out: Path,
) -> Dataset:
    folder = out / export.to
    with _appearing(folder) as work:
        splits = ["train", "eval"] if export.split is not None else ["train"]
        calls: dict[str, array[int]] = {}
        files = {name: _File(work / f"{name}.jsonl", (work / f"{name}.jsonl").open("wb")) for name in splits}
        example: dict[str, Any] | None = None
        try:
            for sample_id, payload in completed(cursor, selection.seqs):
                for step, seq in payload["calls"].items():
                    calls.setdefault(step, array("q")).append(seq)
                file = files[_split(sample_id, export.split)]
                for row in rows_of(export, selection.cohort, sample_id, payload):
                    example = example or row
                    file.write(row)
        finally:
            for file in files.values():
                file.handle.close()
        if export.format == "parquet":
            for file in files.values():
                _to_parquet(file, export)
        manifest = _manifest(plan, export, selection, position, files, _authors(cursor, selection, calls))
        (work / "README.md").write_text(card(plan, export, manifest, example), "utf-8", newline="\n")
        manifest["files"]["README.md"] = _file_entry(work / "README.md")
        text = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
        (work / MANIFEST).write_text(text, "utf-8", newline="\n")
    return Dataset(export, folder, {n: f.rows for n, f in files.items()}, selection.missing, manifest)


def _split(sample_id: str, split: str | None) -> str:
    """By the hash of the sample's id, so that a row stays on its side as the dataset grows."""
    if split is None:
        return "train"
    place = int.from_bytes(sha256(sample_id.encode()).digest()[:8], "big")
    return "train" if place < int(Decimal(split) / 100 * 2**64) else "eval"


def _to_parquet(file: _File, export: ExportPlan) -> None:
    """Replaces a split's JSONL by Parquet with pinned types, row groups and compression."""
    target = file.path.with_suffix(".parquet")
    columns = ", ".join(f"'{name}': '{type_}'" for name, type_ in column_types(export).items())
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute(
            f"""COPY (SELECT * FROM read_json({_quoted(file.path)}, format = 'newline_delimited',
                      columns = {{{columns}}}, maximum_object_size = 1073741824))
                TO {_quoted(target)} (FORMAT parquet, ROW_GROUP_SIZE 65536, COMPRESSION zstd)"""
        )
    file.path.unlink()
    file.path = target


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _authors(
    cursor: duckdb.DuckDBPyConnection, selection: Selection, calls: Mapping[str, array[int]]
) -> dict[str, list[dict[str, Any]]]:
    """For each step, which identity and engine wrote how many of its values."""
    authors: dict[str, list[dict[str, Any]]] = {}
    for step in selection.cohort.steps:
        counts: Counter[tuple[str, str]] = Counter()
        seqs = calls.get(step.name, array("q"))
        for start in range(0, len(seqs), 50_000):
            some = seqs[start : start + 50_000].tolist()
            rows = cursor.execute(
                """SELECT CAST(payload -> 'identity' AS VARCHAR), payload ->> 'engine', count(*)
                   FROM events WHERE seq BETWEEN ? AND ? AND seq IN (SELECT unnest(?)) GROUP BY ALL""",
                [min(some), max(some), some],
            ).fetchall()
            counts.update({(identity, engine): n for identity, engine, n in rows})
        authors[step.name] = [
            {"model": step.model, "identity": json.loads(identity), "engine": engine, "rows": n}
            for (identity, engine), n in sorted(counts.items())
        ]
    return authors


def _manifest(
    plan: Plan,
    export: ExportPlan,
    selection: Selection,
    position: Mapping[str, Any],
    files: Mapping[str, _File],
    authors: Mapping[str, Any],
) -> dict[str, Any]:
    by_name: dict[str, Counter[str]] = {}
    for cell, n in selection.cells.items():
        for name, label in cell.labels:
            by_name.setdefault(name, Counter())[label] += n
    return {
        "format": 1,
        "recipe": plan.recipe,
        "export": export.name,
        "plan_hash": plan.plan_hash,
        "log": dict(position),
        "source": {
            "conversation": selection.cohort.name,
            "lineage": selection.lineage,
            "quota": selection.cohort.quota,
            "samples": len(selection.seqs),
        },
        "trained_turns": list(selection.cohort.train_on),
        "written_by": dict(authors),
        "counts": {name: dict(counts) for name, counts in by_name.items()},
        "cells": [
            {"cell": dict(cell.labels), "samples": n}
            for cell, n in sorted(selection.cells.items(), key=lambda item: item[0].labels)
        ],
        "versions": {"synth": package_version("synth"), "duckdb": duckdb.__version__},
        "files": {
            file.path.name: {
                "split": name,
                "rows": file.rows,
                "content_sha256": file.content.hexdigest(),
                **_file_entry(file.path),
            }
            for name, file in files.items()
        },
    }


def _file_entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_hash(path)}


def file_hash(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as handle:
        digest = sha256()
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A work folder that takes the place of `folder` when all went well, and vanishes otherwise."""
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise ConfigError(
            f"{folder} is there and holds no dataset of ours: move it away, or choose another --out"
        )
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        yield work
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        if folder.exists():
            folder.rename(old)
        work.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
