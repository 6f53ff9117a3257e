"""Arrow files, which datasets are saved as; reading them needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synth.base.errors import ConfigError
from synth.base.extras import install
from synth.runtime.sources.marks import WithNan
from synth.runtime.sources.record import Columns, Record

_ROWS_AT_ONCE = 256
_FILE_MARK = b"ARROW1"


def read_arrow(path: Path, file: str, form: Columns) -> Iterator[Record]:
    """The rows of a file, of which only the columns of `form` are read; `line` is a row's number.

    Memory is bounded by the file's largest batch.  Raises ConfigError.
    """
    try:
        import pyarrow as arrow
    except ImportError:
        raise ConfigError(
            f"{file} is an Arrow file, and reading it needs `pyarrow`, which is not installed: "
            f"{install('arrow')}"
        ) from None
    number = 0
    try:
        with arrow.memory_map(str(path)) as mapped:
            schema, batches = _opened(arrow, mapped)
            columns = form.columns_of(schema.names, file)
            # A column in which nothing is is none, whatever its type.
            numbers = [each for each in columns if arrow.types.is_floating(schema.field(each).type)]
            empty = dict.fromkeys(_empty(batches, numbers)) if numbers else {}
            for batch in _opened(arrow, mapped)[1]:
                wanted = batch.select(columns)
                for start in range(0, wanted.num_rows, _ROWS_AT_ONCE):
                    for row in wanted.slice(start, _ROWS_AT_ONCE).to_pylist():
                        number += 1
                        yield Record(number, WithNan(row | empty))
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n", 1)[0].rstrip(". ")
        raise ConfigError(f"{file} cannot be read as Arrow ({reason}): save the dataset again") from None


def _opened(arrow: Any, mapped: Any) -> tuple[Any, Iterator[Any]]:
    """The schema and the record batches of a stream, as datasets are saved, or of a file, as other
    tools write."""
    mapped.seek(0)
    if mapped.read(len(_FILE_MARK)) == _FILE_MARK:
        reader = arrow.ipc.open_file(mapped)
        return reader.schema, (reader.get_batch(index) for index in range(reader.num_record_batches))
    mapped.seek(0)
    reader = arrow.ipc.open_stream(mapped)
    return reader.schema, iter(reader)


def _empty(batches: Iterator[Any], columns: Sequence[str]) -> set[str]:
    """Those of some columns of numbers that hold NaN or nothing."""
    import pyarrow.compute as compute

    left = set(columns)
    for batch in batches:
        left = {each for each in left if compute.all(compute.is_nan(batch.column(each))).as_py() is not False}
        if not left:
            break
    return left
