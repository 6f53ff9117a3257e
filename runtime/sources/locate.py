"""Where a source's files are, and whether a recipe may read them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synth.base.display import quoted, visible
from synth.base.errors import ConfigError
from synth.base.suggest import suggest
from synth.compiler.bind.imports import PROJECT_FILE, project_root
from synth.compiler.plan.model import Plan, SourcePlan
from synth.runtime.sources.faults import NoRows
from synth.runtime.sources.readers.dataset import dataset_files
from synth.runtime.sources.rows.table import Table
from synth.runtime.sources.shapes import Form


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.  `name` is its path as the recipe writes it, fit to be shown;
    `format` is jsonl, json, csv, parquet or arrow."""

    path: Path
    name: str
    format: str


@dataclass(frozen=True, slots=True)
class Located:
    """A source with the files it is read from, in the order of its rows."""

    source: SourcePlan
    name: str
    form: Form | Table
    files: tuple[SourceFile, ...]

    @property
    def skips(self) -> bool:
        """Whether rows that are no conversations are left out."""
        return self.source.bad_rows == "skip"


def locate(plan: Plan, source: SourcePlan, allowed: Sequence[Path] = ()) -> Located:
    """The files of a source of conversations.  Raises ConfigError where they cannot be read."""
    written = str(source.reader.arguments["path"])
    form = Table(source) if source.type == "rows" else Form(source)
    path = find_path(plan, source, allowed)
    name = visible(written) or "."
    if source.reader.name == "dataset":
        files = _dataset(path, name, plan, source, allowed)
    elif path.is_dir():
        raise ConfigError(
            f"source `{source.name}`: {name} is a folder: "
            f'name a file in it, or read it with dataset("{name}")'
        )
    else:
        files = (SourceFile(path, name, source.reader.name),)
    for file in files:
        _require_readable(file, "conversations" if source.type == "messages" else "rows")
    return Located(source, name, form, files)


def _dataset(
    folder: Path, name: str, plan: Plan, source: SourcePlan, allowed: Sequence[Path]
) -> tuple[SourceFile, ...]:
    if not folder.is_dir():
        raise ConfigError(
            f"source `{source.name}`: {name} is a file: read it with `jsonl`, `csv` or `parquet`"
        )
    return tuple(
        SourceFile(_within(each, plan, source, allowed), _inner(name, each, folder), format_)
        for each, format_ in dataset_files(folder, name)
    )


def find_path(plan: Plan, source: SourcePlan, allowed: Sequence[Path] = ()) -> Path:
    """The real path of the file or folder that a source names, relative to the recipe.

    Raises ConfigError where there is nothing, or where it lies neither in the project nor below
    an `allowed` folder.
    """
    written = str(source.reader.arguments["path"])
    where = f"source `{source.name}`"
    if "\0" in written:
        raise ConfigError(f"{where}: a path holds no NUL character")
    path = plan.folder / written
    found = _within(path, plan, source, allowed)
    try:
        there = found.exists()
    except OSError as error:
        raise ConfigError(
            f"{where}: {quoted(written, 200)} cannot be read ({error.strerror}): check it"
        ) from None
    if not there:
        raise ConfigError(f"{where}: {_nothing(path, written)}")
    return found


def _within(path: Path, plan: Plan, source: SourcePlan, allowed: Sequence[Path]) -> Path:
    """The real path, links followed, once it is known that the recipe may read there."""
    try:
        found = path.resolve()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise ConfigError(
            f"source `{source.name}`: {quoted(str(path), 200)} cannot be read ({reason})"
        ) from None
    root = project_root(plan.folder)
    if not any(found.is_relative_to(each) for each in (root, *(each.resolve() for each in allowed))):
        raise ConfigError(
            f"source `{source.name}`: {quoted(str(found), 200)} lies outside the project "
            f"(`{visible(root.name)}/`, where the recipe or its {PROJECT_FILE} is): "
            f"move it there, or run with --allow {visible(str(found if found.is_dir() else found.parent))}"
        )
    return found


def _nothing(path: Path, written: str) -> str:
    folder = path.parent
    if not folder.is_dir():
        return (
            f"there is no folder {quoted(str(Path(written).parent), 200)}: paths are relative to the recipe"
        )
    try:
        there = sorted(each.name for each in folder.iterdir())
    except OSError:
        there = []
    guess = suggest(path.name, there)
    advice = (
        f"did you mean {quoted(str(Path(written).with_name(guess)), 200)}?" if guess else "check the path"
    )
    return f"there is no file {quoted(written, 200)}: {advice}"


def _inner(name: str, path: Path, folder: Path) -> str:
    return f"{name.rstrip('/')}/{visible(path.relative_to(folder).as_posix())}"


def _require_readable(file: SourceFile, rows: str) -> None:
    if not file.path.is_file():
        raise ConfigError(f"{file.name} is no regular file: copy what it gives into one")
    if not os.access(file.path, os.R_OK):
        raise ConfigError(f"{file.name} may not be read: ask for read permission on it")
    if file.path.stat().st_size == 0:
        raise NoRows(f"{file.name} is empty: write {rows} into it, or leave the source out")
