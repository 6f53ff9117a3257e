"""Tables as text: a header, then a row for each conversation."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from synth.base.errors import ConfigError
from synth.runtime.sources.faults import Fault, names
from synth.runtime.sources.readers.lines import MAX_LINE, not_utf8, read_lines
from synth.runtime.sources.record import Cell, Columns, Record

# What `surrogateescape` makes of a byte that is not UTF-8; UTF-8 itself has no such character.
_ESCAPED = re.compile("[\udc80-\udcff]")
_DELIMITERS = ",;\t"


def read_csv(path: Path, file: str, form: Columns) -> Iterator[Record]:
    """The rows of a file; blank lines are passed over.

    Fields are separated by commas, or by semicolons or tabs where the header is.  Raises
    ConfigError for a file that cannot be read or whose header has not the columns of `form`.
    """
    # A conversation can be longer than the 128 KiB that the module has for its limit.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    lines = (line.decode("utf-8", "surrogateescape") for line in _lines(path, file))
    first = next(lines, "")
    delimiter = next((each for each in _DELIMITERS if form.fits(_fields(first, each))), ",")
    rows = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    header = _header(rows, file)
    place = {name: index for index, name in enumerate(header)}
    wanted = [(name, place[name]) for name in form.columns_of(header, file)]
    while True:
        number = rows.line_num + 1
        try:
            fields = next(rows, None)
        except csv.Error as error:
            yield Record(number, Fault("is not CSV", _reason(error)))
            continue
        if fields is None:
            return
        if not fields:
            continue
        if len(fields) != len(header):
            detail = f"{len(fields)} instead of {len(header)}"
            yield Record(number, Fault("has another number of fields than the header", detail))
            continue
        row = {name: fields[index] for name, index in wanted}
        broken = next((text for text in row.values() if not text.isascii() and _ESCAPED.search(text)), None)
        if broken is not None:
            yield Record(number, not_utf8(broken.encode("utf-8", "surrogateescape")))
            continue
        yield Record(number, {name: Cell(text) for name, text in row.items()})


def _lines(path: Path, file: str) -> Iterator[bytes]:
    for number, line in enumerate(read_lines(path, file), 1):
        if len(line) > MAX_LINE:
            raise ConfigError(
                f"{file}: line {number} is longer than {MAX_LINE // 1024**2} MiB: "
                "write each conversation on a line of its own"
            )
        yield line


def _header(rows: Iterator[list[str]], file: str) -> list[str]:
    try:
        header = [name.strip() for name in next(rows)]
    except csv.Error as error:
        raise ConfigError(f"{file}: its header is not CSV ({_reason(error)}): mend it") from None
    if any(_ESCAPED.search(name) for name in header):
        fault = not_utf8("".join(header).encode("utf-8", "surrogateescape"))
        raise ConfigError(f"{file}: its header {fault.what} ({fault.detail}): {fault.remedy}")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise ConfigError(
            f"{file} has more than one column {names(sorted(repeated))}: give each its own name"
        )
    return header


def _reason(error: csv.Error) -> str:
    """What the module says of a row, less what it says to programmers."""
    text = str(error)
    if text.startswith("unexpected end"):
        return "a quote that is opened there is never closed"
    if text.startswith("new-line character"):
        return "a carriage return stands alone in it"
    return text


def _fields(line: str, delimiter: str) -> list[str]:
    """The names that a header has when it is read with a delimiter."""
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []
