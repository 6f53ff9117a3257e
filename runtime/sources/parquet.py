"""Parquet files, by way of DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from dsl.errors import ConfigError
from runtime.sources.record import Record
from runtime.sources.shapes import Form
from store.connection import connect

_ROWS_AT_ONCE = 256
_READ = "SELECT {columns} FROM read_parquet(?, hive_partitioning = false)"


def read_parquet(path: Path, file: str, form: Form) -> Iterator[Record]:
    """The rows of a file, of which only the columns of `form` are read; `line` is a row's number.

    Memory is bounded by the file's largest row group.  Raises ConfigError.
    """
    # The name is a pattern to DuckDB; in brackets, a character stands for itself.
    name = "".join(f"[{char}]" if char in "*?[" else char for char in str(path))
    number = 0
    try:
        with connect() as connection:
            # In one thread rows come in the file's order without being kept back for it.
            connection.execute("SET threads = 1; SET enable_progress_bar = false")
            described = connection.execute(f"DESCRIBE {_READ.format(columns='*')}", [name]).fetchall()
            columns = form.columns_of([row[0] for row in described], file)
            quoted = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
            found = connection.execute(_READ.format(columns=quoted), [name])
            while rows := found.fetchmany(_ROWS_AT_ONCE):
                for row in rows:
                    number += 1
                    yield Record(number, dict(zip(columns, row, strict=True)))
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read as Parquet ({_reason(error, str(path))}): write it again"
        ) from None


def _reason(error: Exception, path: str) -> str:
    first = str(error).split("\n", 1)[0].split(": ", 1)[-1]
    return first.replace(f" '{path}'", "").replace(f' "{path}"', "").rstrip(". ")
