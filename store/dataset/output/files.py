"""A dataset's files: written once, and hashed on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from synth.base.files import file_hash
from synth.store.log.connection import connect

# So many lines at least are encoded, hashed and written in one go, while the next are made.
_LINES = 4096


class File:
    """One split while it is written: its content is hashed on the way.  `path` is where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._handle = path.open("wb")
        self._content = sha256()
        self._lines: list[str] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="synth-write")
        self._written: Future[None] | None = None

    def write(self, lines: Iterable[str]) -> None:
        """Adds lines, given without their ends."""
        self._lines += lines
        if len(self._lines) >= _LINES:
            self._flush()

    def close(self) -> None:
        """Writes what is left.  Raises what kept any of it from being written."""
        with self._handle, self._writer:
            self._flush()
            self._settle()

    def _flush(self) -> None:
        self._settle()
        self.rows += len(self._lines)
        lines, self._lines = self._lines, []
        self._written = self._writer.submit(self._write, lines)

    def _settle(self) -> None:
        if self._written is not None:
            self._written.result()

    def _write(self, lines: list[str]) -> None:
        block = "".join([f"{line}\n" for line in lines]).encode()
        self._handle.write(block)
        self._content.update(block)

    def entry(self) -> dict[str, Any]:
        """What a manifest says of the file."""
        content = self._content.hexdigest()
        if self.path.suffix == ".jsonl":
            # What was hashed is what is in the file.
            of_file = {"bytes": self.path.stat().st_size, "sha256": content}
        else:
            of_file = file_entry(self.path)
        return {"rows": self.rows, "content_sha256": content, **of_file}


@contextmanager
def opened(folder: Path, names: list[str]) -> Iterator[dict[str, File]]:
    """JSONL files in a folder, one for each split, closed at the end."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(closing(File(folder / f"{name}.jsonl"))) for name in names}


def to_parquet(file: File, columns: Mapping[str, str]) -> None:
    """Replaces a split's JSONL by Parquet with pinned types, row groups and compression.

    `columns` are the DuckDB types by name, in order.
    """
    target = file.path.with_suffix(".parquet")
    typed = ", ".join(f"'{name}': '{type_}'" for name, type_ in columns.items())
    with connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute(
            f"""COPY (SELECT * FROM read_json({quoted(file.path)}, format = 'newline_delimited',
                      columns = {{{typed}}}, maximum_object_size = 1073741824))
                TO {quoted(target)} (FORMAT parquet, ROW_GROUP_SIZE 65536, COMPRESSION zstd)"""
        )
    file.path.unlink()
    file.path = target


def file_entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_hash(path)}


def quoted(text: Path | str) -> str:
    """A text for a query."""
    return "'" + str(text).replace("'", "''") + "'"
