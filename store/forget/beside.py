"""Datasets that were made of a log before something in it was forgotten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dsl.errors import ConfigError
from store.connection import connect
from store.files import quoted
from store.forget.rewrite import Forgetting
from store.manifest import MANIFEST, fault_of, is_within, load

# So deep below the log's folder, and so many folders, are looked at.
_DEPTH = 5
_FOLDERS = 20_000
_ID = re.compile(rb'^\{"id":"([^"]+)"')


def datasets_beside(log: Path, done: Forgetting) -> list[Path]:
    """The datasets below a log's folder that were made of it and have rows of what is forgotten."""
    names = done.samples | done.rows
    return [folder for folder in _datasets(log.parent, done) if any(_rows(folder, names))]


def holds(path: Path, done: Forgetting) -> bool:
    """Whether a small file beside a log holds a text that was looked for."""
    try:
        return path.is_file() and done.target.texts.stand_in(path.read_text("utf-8", "replace"))
    except OSError:
        return False


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
            yield from (found[1].decode() for line in lines if (found := _ID.match(line)))
    elif path.suffix == ".parquet":
        with connect() as connection:
            rows = connection.execute(f"SELECT id FROM read_parquet({quoted(path)})")
            while some := rows.fetchmany(4096):
                yield from (name for (name,) in some)
