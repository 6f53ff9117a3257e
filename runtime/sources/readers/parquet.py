"""Parquet files, by way of DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from synth.base.errors import ConfigError
from synth.runtime.sources.marks import WithNan
from synth.runtime.sources.record import Columns, Record
from synth.store.log.connection import connect

_ROWS_AT_ONCE = 256
_NUMBERS = ("DOUBLE", "FLOAT")
_READ = "SELECT {columns} FROM read_parquet(?, hive_partitioning = false)"


def read_parquet(path: Path, file: str, form: Columns) -> Iterator[Record]:
    """The rows of a file, of which only the columns of `form` are read; `line` is a row's number.

    Memory is bounded by the file's largest row group.  Raises ConfigError.
    """
    name = pattern(path)
    number = 0
    try:
        with connect() as connection:
            # In one thread rows come in the file's order without being kept back for it.
            connection.execute("SET threads = 1; SET enable_progress_bar = false")
            described = connection.execute(f"DESCRIBE {_READ.format(columns='*')}", [name]).fetchall()
            types = {row[0]: str(row[1]) for row in described}
            columns = form.columns_of(types, file)
            may_be_nan = any("DOUBLE" in types[column] or "FLOAT" in types[column] for column in columns)
            # A column in which nothing is is none, whatever its type.
            empty = _empty(connection, name, [each for each in columns if types[each] in _NUMBERS])
            found = connection.execute(_READ.format(columns=", ".join(map(_quoted, columns))), [name])
            while rows := found.fetchmany(_ROWS_AT_ONCE):
                for row in rows:
                    number += 1
                    values = dict(zip(columns, row, strict=True))
                    if may_be_nan:
                        values = WithNan(values | empty)
                    yield Record(number, values)
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read as Parquet ({_reason(error, str(path))}): write it again"
        ) from None


def pattern(path: Path) -> str:
    """A path as DuckDB takes it: as a pattern, in which a character in brackets stands for itself."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in str(path))


def _empty(connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str]) -> dict[str, None]:
    """Those of some columns of numbers that hold NaN alone, with what then stands in each row."""
    if not columns:
        return {}
    counts = ", ".join(f"count(*) FILTER (NOT isnan({_quoted(column)}))" for column in columns)
    row = connection.execute(_READ.format(columns=counts), [name]).fetchone()
    return {column: None for column, count in zip(columns, row or (), strict=True) if not count}


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _reason(error: Exception, path: str) -> str:
    first = str(error).split("\n", 1)[0].split(": ", 1)[-1]
    return first.replace(f" '{path}'", "").replace(f' "{path}"', "").rstrip(". ")
