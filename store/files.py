"""A dataset's files: written once, hashed on the way, and there as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import duckdb

from dsl.errors import ConfigError

MANIFEST = "manifest.json"


@dataclass(slots=True)
class File:
    """One split while it is written: its content is hashed on the way."""

    path: Path
    handle: IO[bytes]
    rows: int = 0
    content: Any = field(default_factory=sha256)

    def write(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self.handle.write(line)
        self.content.update(line)
        self.rows += 1

    def entry(self) -> dict[str, Any]:
        """What a manifest says of the file."""
        return {"rows": self.rows, "content_sha256": self.content.hexdigest(), **file_entry(self.path)}


@contextmanager
def opened(folder: Path, names: list[str]) -> Iterator[dict[str, File]]:
    """JSONL files in a folder, one for each split, closed at the end."""
    files = {name: File(folder / f"{name}.jsonl", (folder / f"{name}.jsonl").open("wb")) for name in names}
    try:
        yield files
    finally:
        for file in files.values():
            file.handle.close()


def to_parquet(file: File, columns: Mapping[str, str]) -> None:
    """Replaces a split's JSONL by Parquet with pinned types, row groups and compression.

    `columns` are the DuckDB types by name, in order.
    """
    target = file.path.with_suffix(".parquet")
    typed = ", ".join(f"'{name}': '{type_}'" for name, type_ in columns.items())
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute(
            f"""COPY (SELECT * FROM read_json({_quoted(file.path)}, format = 'newline_delimited',
                      columns = {{{typed}}}, maximum_object_size = 1073741824))
                TO {_quoted(target)} (FORMAT parquet, ROW_GROUP_SIZE 65536, COMPRESSION zstd)"""
        )
    file.path.unlink()
    file.path = target


def file_entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_hash(path)}


def file_hash(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as handle:
        digest = sha256()
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A work folder that takes the place of `folder` when all went well, and vanishes otherwise.

    Raises ConfigError where something that is no dataset of ours is in the way, or where the
    folder cannot be written.
    """
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


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
