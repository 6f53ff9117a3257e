"""Reading a source of rows: every row is looked at, and none is logged until all are known to hold."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice

from synth.base.canonical import canonical_json
from synth.base.errors import ConfigError
from synth.runtime.sources.faults import Fault, Faults, NoRows, Unusable, names
from synth.runtime.sources.hashes import Hashed, changed
from synth.runtime.sources.locate import Located
from synth.runtime.sources.notes import LeftOut, Notes, Unread
from synth.runtime.sources.rows.spool import LoggedRow, RowSpool, Twice
from synth.runtime.sources.rows.table import Table, TypedRow
from synth.runtime.sources.scan import changing, place_of, records, unit_of

# Of how rows are read.
READING = 1


class RowScan:
    """The reading of a source of rows.  `advance` reads some at a time; `again` gives the rows
    once it is concluded, `left_out` and `unread` what is to be said of them."""

    shape = "rows"
    reading = READING

    def __init__(self, located: Located, hashed: tuple[Hashed, ...], version: str) -> None:
        assert isinstance(located.form, Table), "rows of a schema are read as a table"
        self.located = located
        self.hashed = hashed
        self.unread = Unread()
        self.left_out = LeftOut()
        self._table = located.form
        # Rows in which tools are called, or can be.
        self.calling = 0
        self._read = 0
        self._faults = Faults()
        # Where each id is, for the sentence about one that is there twice.
        self._ids, self._lines, self._files = array("Q"), array("Q"), array("I")
        self._records = records(located)
        self._numbers = {file.name: number for number, file in enumerate(located.files)}
        self._shown = {file.name: canonical_json(file.name) for file in located.files}
        self._spool = RowSpool(located.source.name, version)

    @property
    def rows(self) -> int:
        """How many rows are used."""
        return self._spool.rows

    def advance(self, rows: int) -> bool:
        """Whether there may be more.  Raises ConfigError for a file that cannot be read."""
        count = 0
        # Most rows leave nothing in it.
        notes = Notes()
        for file, record in islice(self._records, rows):
            count += 1
            try:
                if isinstance(record.row, Fault):
                    raise Unusable.of(record.row)
                self._keep(self._table.row(record.row, notes), file.name, record.line)
            except Unusable as unusable:
                self._faults.add(place_of(self.located, file, record.line), unusable.fault)
                self.left_out.add(file.name, record.line, unusable.fault)
            else:
                if notes.rows or notes.messages:
                    self.unread.add(notes)
            if notes.rows or notes.messages:
                notes = Notes()
        self._read += count
        return count == rows

    def conclude(self) -> None:
        """Ends the reading, once all were read.  Raises ConfigError, in one sentence, where some do not fit
        and may not be left out, where there are none, and where the files changed meanwhile."""
        name, skips = self.located.name, self.located.skips
        if any(changed(each) for each in self.hashed):
            raise changing(name)
        if self._faults and not (skips and self.rows):
            raise ConfigError(self._faults.sentence(name, self._read, unit_of(self.located), skips=skips))
        if not self.rows:
            raise NoRows(f"{name} has no rows: write some into it, or leave the source out")
        self._spool.conclude()
        del self._ids[:], self._lines[:], self._files[:]

    def again(self) -> Iterator[LoggedRow]:
        """The rows in their order, once, as they are logged."""
        return self._spool.logged()

    def close(self) -> None:
        """Lets go of the rows."""
        self._spool.close()

    def _keep(self, row: TypedRow, file: str, line: int) -> None:
        try:
            number = self._spool.add(self._shown[file], line, row.values, row.rest, name=row.name)
        except Twice as twice:
            at = self._ids.index(twice.first)
            where = place_of(self.located, self.located.files[self._files[at]], self._lines[at])
            raise Unusable(
                "has an id that is there before", f"{names([str(row.name)])}, as on {where}"
            ) from None
        self.calling += row.calling
        if row.name is not None:
            self._ids.append(number)
            self._lines.append(line)
            self._files.append(self._numbers[file])
