"""Reading a source of rows: every row is looked at, and what is to be logged of it is kept in a temporary
file until all of them are known to hold."""

from __future__ import annotations

import re
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from synth.base.canonical import canonical_json, digest
from synth.base.display import code_point
from synth.base.errors import ConfigError
from synth.runtime.sources.faults import Fault, Faults, Unusable, names
from synth.runtime.sources.locate import Located
from synth.runtime.sources.notes import LeftOut, Notes, Unread
from synth.runtime.sources.rows.table import Table, TypedRow
from synth.runtime.sources.rows.values import plain
from synth.runtime.sources.scan import Hashed, changed, changing, place_of, records, unit_of
from synth.store.log.events import EncodedPayload

# Of how rows are read.
READING = 1

# So much is held in memory before the temporary file is one.
_IN_MEMORY = 8 * 1024 * 1024
_NAME_DIGITS = 16
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """A row as it is logged; `size` is its payload's length in bytes."""

    row_id: str
    payload: EncodedPayload
    size: int


class RowScan:
    """The reading of a source of rows.  `advance` reads some at a time; `again` gives the rows
    once it is concluded, `left_out` and `unread` what is to be said of them.

    Of each row some hundred bytes are held, to find ids that are there twice and to tell equal rows apart.
    """

    shape = "rows"
    reading = READING

    def __init__(self, located: Located, hashed: tuple[Hashed, ...], version: str) -> None:
        assert isinstance(located.form, Table), "rows of a schema are read as a table"
        self.located = located
        self.hashed = hashed
        self.unread = Unread()
        self.left_out = LeftOut()
        self.rows = 0
        self._table = located.form
        self._version = version
        self._read = 0
        self._faults = Faults()
        self._seen: set[int] = set()
        self._repeated: dict[int, int] = {}
        # Where each id is, for the sentence about one that is there twice.
        self._ids, self._lines, self._files = array("Q"), array("Q"), array("I")
        self._records = records(located)
        self._file_at = {file.name: number for number, file in enumerate(located.files)}
        self._spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        # However the run ends.
        weakref.finalize(self, self._spool.close)

    def advance(self, rows: int) -> bool:
        """Whether there may be more.  Raises ConfigError for a file that cannot be read."""
        for _ in range(rows):
            found = next(self._records, None)
            if found is None:
                return False
            file, record = found
            self._read += 1
            try:
                if isinstance(record.row, Fault):
                    raise Unusable.of(record.row)
                notes = Notes()
                typed = self._table.row(record.row, notes)
                self._keep(typed, file.name, record.line)
            except Unusable as unusable:
                place = place_of(self.located, file, record.line)
                self._faults.add(place, unusable.fault)
                self.left_out.add(file.name, record.line, unusable.fault)
            else:
                if notes.rows or notes.messages:
                    self.unread.add(notes)
        return True

    def conclude(self) -> None:
        """Ends the reading, once all were read.  Raises ConfigError, in one sentence, where some do not fit
        and may not be left out, where there are none, and where the files changed meanwhile."""
        name, skips = self.located.name, self.located.skips
        if any(changed(each) for each in self.hashed):
            raise changing(name)
        if self._faults and not (skips and self.rows):
            raise ConfigError(self._faults.sentence(name, self._read, unit_of(self.located), skips=skips))
        if not self.rows:
            raise ConfigError(f"{name} has no rows: write some into it, or leave the source out")
        self._seen, self._repeated = set(), {}
        del self._ids[:], self._lines[:], self._files[:]

    def again(self) -> Iterator[LoggedRow]:
        """The rows in their order, once, as they are logged.  The temporary file is gone after the last."""
        with self._spool as spool:
            spool.seek(0)
            for line in spool:
                text = line[_NAME_DIGITS:-1]
                yield LoggedRow(line[:_NAME_DIGITS].decode(), EncodedPayload(text.decode()), len(text))

    def close(self) -> None:
        """Removes the temporary file."""
        self._spool.close()

    def _keep(self, row: TypedRow, file: str, line: int) -> None:
        values = canonical_json(row.values)
        beside = f'"rest":{_json(row.rest)},' if row.rest else ""
        try:
            hash_ = sha256(values.encode()).hexdigest()
            name = "" if row.name is None else f'"name":{canonical_json(row.name)},'
            # In the order that canonical JSON has.
            text = (
                f'{{"file":{canonical_json(file)},"hash":"{hash_}","line":{line},{name}'
                f'{beside}"row":{self.rows},"source":"{self.located.source.name}",'
                f'"values":{values},"version":"{self._version}"}}'
            )
            encoded = text.encode()
        except UnicodeEncodeError:
            raise _half(row) from None
        if b"\\u0000" in encoded and (column := _with_nul(row)) is not None:
            raise Unusable("has a NUL character", f"in `{column}`")
        row_id = self._named(hash_) if row.name is None else self._with_id(row.name, file, line)
        self._spool.write(b"%b%b\n" % (row_id.encode(), encoded))
        self.rows += 1

    def _named(self, hash_: str) -> str:
        """A name by content, and by number among equals."""
        short, occurrence = int(hash_[:16], 16), 0
        if short in self._seen:
            occurrence = self._repeated[short] = self._repeated.get(short, 0) + 1
        else:
            self._seen.add(short)
        name = f'["{self.located.source.name}","{hash_}",{occurrence}]'
        return sha256(name.encode()).hexdigest()[:_NAME_DIGITS]

    def _with_id(self, id_: str, file: str, line: int) -> str:
        row_id = digest([self.located.source.name, "id", id_])[:_NAME_DIGITS]
        short = int(row_id, 16)
        if short in self._seen:
            at = self._ids.index(short)
            first = self.located.files[self._files[at]]
            where = place_of(self.located, first, self._lines[at])
            raise Unusable("has an id that is there before", f"{names([id_])}, as on {where}")
        self._seen.add(short)
        self._ids.append(short)
        self._lines.append(line)
        self._files.append(self._file_at[file])
        return row_id


def _json(value: Mapping[str, Any]) -> str:
    """Canonical JSON of what a file holds besides the fields, which may be what JSON has no word for."""
    try:
        text = canonical_json(value)
    except (TypeError, ValueError):
        return canonical_json(plain(value))
    return canonical_json(plain(value)) if "Infinity" in text or "NaN" in text else text


def _half(row: TypedRow) -> Unusable:
    for column, value in (*row.values.items(), *row.rest.items(), ("id", row.name)):
        found = _HALF.search(canonical_json([column, plain(value)]))
        if found is not None:
            return Unusable("has half of a character", f"{code_point(found[0])} in {names([column])}")
    return Unusable("has half of a character")


def _with_nul(row: TypedRow) -> str | None:
    """The column in which a NUL stands: its escape may also be what somebody wrote about one."""
    columns = (*row.values.items(), *row.rest.items(), ("id", row.name))
    return next((column for column, value in columns if _holds_nul([column, value])), None)


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(each) for pair in value.items() for each in pair)
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))
