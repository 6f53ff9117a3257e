"""Arrow files, which datasets are saved as; reading them needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsl.errors import ConfigError
from runtime.sources.marks import without_nan
from runtime.sources.record import Record
from runtime.sources.shapes import Form

_ROWS_AT_ONCE = 256
_FILE_MARK = b"ARROW1"


def read_arrow(path: Path, file: str, form: Form) -> Iterator[Record]:
    """The rows of a file, of which only the columns of `form` are read; `line` is a row's number.

    Memory is bounded by the file's largest batch.  Raises ConfigError.
    """
    try:
        import pyarrow as arrow
    except ImportError:
        raise ConfigError(
            f"{file} is an Arrow file, and reading it needs `pyarrow`, which is not installed: "
            "pip install 'synth[arrow]'"
        ) from None
    number = 0
    try:
        with arrow.memory_map(str(path)) as mapped:
            for batch in _batches(arrow, mapped, form, file):
                for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                    for row in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                        number += 1
                        yield Record(number, without_nan(row))
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n", 1)[0].rstrip(". ")
        raise ConfigError(f"{file} cannot be read as Arrow ({reason}): save the dataset again") from None


def _batches(arrow: Any, mapped: Any, form: Form, file: str) -> Iterator[Any]:
    """The record batches of a stream, as datasets are saved, or of a file, as other tools write."""
    if mapped.read(len(_FILE_MARK)) == _FILE_MARK:
        reader = arrow.ipc.open_file(mapped)
        batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        mapped.seek(0)
        batches = reader = arrow.ipc.open_stream(mapped)
    columns = form.columns_of(reader.schema.names, file)
    for batch in batches:
        yield batch.select(columns)
