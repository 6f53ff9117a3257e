"""Datasets that were made of a log before something in it was forgotten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import duckdb

from synth.base.errors import ConfigError
from synth.store.dataset.output.files import quoted
from synth.store.dataset.output.folder import CARD
from synth.store.dataset.output.manifest import MANIFEST, fault_of, is_within, load
from synth.store.forget.rewrite import Forgetting
from synth.store.log.connection import connect

# So deep below the log's folder, and so many folders, are looked at.
_DEPTH = 5
_FOLDERS = 20_000
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_ID = re.compile(rb'^\{"id":"([^"]+)"')


def datasets_beside(log: Path, done: Forgetting) -> dict[Path, list[str]]:
    """The datasets below a log's folder that were made of it, or of one that it was written from, and
    hold what is forgotten; and what in each does: its rows, card, manifest or name."""
    names = done.samples | done.rows
    datasets = {}
    for folder in _datasets(log.parent, done):
        held = {
            "rows": _holds_rows(folder, names),
            "card": holds(folder / CARD, done),
            "manifest": holds(folder / MANIFEST, done),
            "name": done.target.texts.stand_in(str(folder.relative_to(log.parent))),
        }
        if any(held.values()):
            datasets[folder] = [what for what, so in held.items() if so]
    return datasets


def holds(path: Path, done: Forgetting) -> bool:
    """Whether a small file beside a log holds a text that was looked for, as Markdown or HTML perhaps."""
    try:
        text = path.read_text("utf-8", "replace") if path.is_file() else ""
    except OSError:
        return False
    return any(map(done.target.texts.stand_in, {text, _ESCAPED.sub(r"\1", text), unescape(text)}))


def _datasets(root: Path, done: Forgetting) -> Iterator[Path]:
    looked = 0
    for place, folders, files in os.walk(root):
        looked += 1
        folder = Path(place)
        deep = len(folder.relative_to(root).parts) >= _DEPTH
        folders[:] = [] if deep or looked > _FOLDERS else sorted(f for f in folders if f[0] != ".")
        if MANIFEST not in files:
            continue
        try:
            manifest = load(folder)
        except ConfigError:
            continue
        if fault_of(manifest) is None and manifest["log"]["head"] in done.heads:
            yield folder


def _rows(folder: Path, names: frozenset[str]) -> Iterator[str]:
    """The ids of rows of some samples in a dataset's files."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and is_within(path, folder):
            yield from (name for name in _ids(path) if name.split("-", 1)[0] in names)


def _ids(path: Path) -> Iterator[str]:
    if path.suffix == ".jsonl":
        with path.open("rb") as lines:
            yield from (match[1].decode() for line in lines if (match := _ID.match(line)))
    elif path.suffix == ".parquet":
        with connect() as connection:
            rows = connection.execute(f"SELECT id FROM read_parquet({quoted(path)})")
            while chunk := rows.fetchmany(4096):
                yield from (name for (name,) in chunk)


def _holds_rows(folder: Path, names: frozenset[str]) -> bool:
    """Whether a dataset has rows of some samples; one that cannot be read may."""
    try:
        return any(_rows(folder, names))
    except (duckdb.Error, OSError, UnicodeDecodeError):
        return True
