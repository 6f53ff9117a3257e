"""Reading a source twice: once to know that all of it holds, once to hand its rows over.

Nothing is kept of the rows but eight bytes each, by which the second reading is known to find
what the first one did, and by which equal rows are told apart.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice, pairwise
from typing import Any

from synth.base.canonical import canonical_json, digest
from synth.base.errors import ConfigError
from synth.runtime.sources.faults import Fault, Faults, NoRows, Place, Unusable
from synth.runtime.sources.hashes import Hashed, changed
from synth.runtime.sources.locate import Located, SourceFile
from synth.runtime.sources.notes import LeftOut, Notes, Unread
from synth.runtime.sources.readers.arrow import read_arrow
from synth.runtime.sources.readers.csv import read_csv
from synth.runtime.sources.readers.jsonl import read_json, read_jsonl
from synth.runtime.sources.readers.parquet import read_parquet
from synth.runtime.sources.record import Columns, Record
from synth.runtime.sources.shapes import Conversation as Read
from synth.runtime.sources.shapes import Form, Shape, conversation
from synth.runtime.sources.tools import calls_tools, dense
from synth.store.log.source_payloads import Message


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row.  `number` counts a source's rows from 0; `size` is its text's length in bytes.

    `row_id` is 16 hex digits that stay the same when other rows change.
    """

    number: int
    row_id: str
    file: str
    line: int
    hash: str
    messages: list[Message]
    size: int
    tools: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Shaped:
    """The rows of one shape.  `left_out` is what is said of them where another is read."""

    shape: Shape
    number: int
    first: Place
    rows: int = 0
    calling: int = 0
    reading: int = 1
    unread: Unread = field(default_factory=Unread)
    left_out: LeftOut = field(default_factory=LeftOut)
    fault: Fault = field(init=False)

    def __post_init__(self) -> None:
        self.fault = Fault("has another shape than most rows", f"with {self.shape}")


class Scan:
    """The first reading of a source.  `advance` reads some rows at a time.

    Once it is concluded, `hashes` are those of the rows that are used and `left_out` says what was
    skipped; `calling` counts those in which tools can be called, and `reading` is the first version of the
    reader that would have read all of them so.
    """

    def __init__(self, located: Located, hashed: tuple[Hashed, ...]) -> None:
        assert isinstance(located.form, Form), "conversations are read by their shape"
        self.located = located
        self.hashed = hashed
        self._form = located.form
        self.hashes = array("Q")
        self.unread = Unread()
        self.left_out = LeftOut()
        self.reading = 1
        self.calling = 0
        self._read = 0
        self._shape: Shape | None = None
        self._faults = Faults()
        self._shapes: dict[str, _Shaped] = {}
        # Which of the shapes each row has.
        self._which = array("B")
        self._of_file: Counter[str] = Counter()
        self._records = records(located)

    @property
    def rows(self) -> int:
        return len(self.hashes)

    def advance(self, rows: int) -> bool:
        """Whether there may be more.  Raises ConfigError for a file that cannot be read."""
        for _ in range(rows):
            found = next(self._records, None)
            if found is None:
                return False
            file, record = found
            self._read += 1
            self._of_file[file.name] += 1
            place = place_of(self.located, file, record.line)
            try:
                self._look_at(record, place, file.name)
            except Unusable as unusable:
                self._faults.add(place, unusable.fault)
                self.left_out.add(file.name, place.line, unusable.fault)
        return True

    def conclude(self) -> None:
        """Finds the shape of all rows, once all were read.  Raises ConfigError, in one sentence, where
        some are not usable and may not be left out, where there are none, and where the files
        changed meanwhile."""
        name, skips, shapes = self.located.name, self.located.skips, list(self._shapes.values())
        if any(changed(each) for each in self.hashed):
            raise changing(name)
        if self._faults and not (skips and shapes):
            raise ConfigError(self._faults.sentence(name, self._read, unit_of(self.located), skips=skips))
        if not shapes:
            raise NoRows(f"{name} has no rows: write conversations into it, or leave the source out")
        if len(shapes) > 1 and not skips:
            unit = unit_of(self.located)
            parts = [
                f"{each.rows} {unit}{'s' * (each.rows != 1)} with {each.shape} from {each.first} on"
                for each in shapes
            ]
            raise ConfigError(f"{name} mixes shapes ({'; '.join(parts)}): put each into a source of its own")
        most = max(shapes, key=lambda each: each.rows)
        for other in shapes:
            if other is not most:
                self.left_out.join(other.left_out)
        if len(shapes) > 1:
            pairs = zip(self.hashes, self._which, strict=True)
            self.hashes = array("Q", (hash_ for hash_, which in pairs if which == most.number))
        self.reading, self.calling, self.unread = most.reading, most.calling, most.unread
        for file, columns in self._form.unread.items():
            self.unread.columns(columns, self._of_file[file])
        self._shape = most.shape

    @property
    def shape(self) -> str:
        """What the rows were read as."""
        assert self._shape is not None, "a shape is known once the reading is concluded"
        return self._shape.name

    def again(self) -> Iterator[Conversation]:
        """The second reading, of what the first one found."""
        assert self._shape is not None, "a shape is known once the reading is concluded"
        return conversations(self.located, self._shape, self.hashes)

    def close(self) -> None:
        """Nothing is held that has to be let go of."""

    def _look_at(self, record: Record, place: Place, file: str) -> None:
        if isinstance(record.row, Fault):
            raise Unusable.of(record.row)
        shape, notes = self._form.shape_of(record.row), Notes()
        found = conversation(record.row, shape, notes)
        hash_ = _short(digest(found.content))
        shaped = self._shapes.get(shape.name)
        if shaped is None:
            shaped = self._shapes[shape.name] = _Shaped(shape, len(self._shapes), place)
        shaped.rows += 1
        shaped.reading = max(shaped.reading, notes.reading)
        shaped.calling += calls_tools(found.messages, found.tools)
        if notes.rows or notes.messages:
            shaped.unread.add(notes)
        if self.located.skips:
            shaped.left_out.add(file, place.line, shaped.fault)
        self.hashes.append(hash_)
        self._which.append(shaped.number)


def conversations(located: Located, shape: Shape, hashes: array[int]) -> Iterator[Conversation]:
    """The second reading.  Raises ConfigError where it does not find the rows of the first."""
    assert isinstance(located.form, Form), "conversations are read by their shape"
    repeated = {one for one, next_ in pairwise(sorted(hashes)) if one == next_}
    seen: Counter[int] = Counter()
    number = 0
    for file, record in records(located):
        row = _again(record, located.form, shape)
        if row is None and located.skips:
            continue
        text = canonical_json(None if row is None else row.content).encode("utf-8", "surrogatepass")
        hash_ = sha256(text).hexdigest()
        short = _short(hash_)
        if row is None or number >= len(hashes) or hashes[number] != short:
            raise changing(located.name)
        occurrence = 0
        if short in repeated:
            occurrence = seen[short]
            seen[short] += 1
        row_id = digest([located.source.name, hash_, occurrence])[:16]
        yield Conversation(number, row_id, file.name, record.line, hash_, row.messages, len(text), row.tools)
        number += 1
    if number != len(hashes):
        raise changing(located.name)


def records(located: Located) -> Iterator[tuple[SourceFile, Record]]:
    """The rows of all files of a source as their readers give them, up to its limit."""
    limit = located.source.reader.arguments.get("limit")
    return islice(files_of(located, located.form), limit if isinstance(limit, int) else None)


def files_of(located: Located, form: Columns) -> Iterator[tuple[SourceFile, Record]]:
    """The rows of all files, with those columns of tables that `form` asks for."""
    for file in located.files:
        for record in _read(file, form):
            yield file, record


def place_of(located: Located, file: SourceFile, line: int) -> Place:
    """Where a row of a file is; the file is named where the source has several."""
    unit = "line" if file.format in ("jsonl", "json", "csv") else "row"
    return Place(line, unit, file.name if len(located.files) > 1 else "")


def unit_of(located: Located) -> str:
    """What the rows of a source are counted as."""
    return "line" if all(file.format == "jsonl" for file in located.files) else "row"


def _read(file: SourceFile, form: Columns) -> Iterator[Record]:
    match file.format:
        case "jsonl":
            return read_jsonl(file.path, file.name)
        case "json":
            return read_json(file.path, file.name)
        case "csv":
            return read_csv(file.path, file.name, form)
        case "parquet":
            return _dense(read_parquet(file.path, file.name, form), form)
        case _:
            return _dense(read_arrow(file.path, file.name, form), form)


def _dense(found: Iterator[Record], form: Columns) -> Iterator[Record]:
    if not form.has_messages:
        return found
    # What is no message there is as it is.
    definitions = isinstance(form, Form)
    return (
        record
        if isinstance(record.row, Fault)
        else record._replace(row=dense(record.row, definitions=definitions))
        for record in found
    )


def _again(record: Record, form: Form, shape: Shape) -> Read | None:
    if isinstance(record.row, Fault):
        return None
    try:
        if form.shape_of(record.row).name != shape.name:
            return None
        return conversation(record.row, shape, Notes())
    except Unusable:
        return None


def _short(hash_: str) -> int:
    return int(hash_[:16], 16)


def changing(name: str) -> ConfigError:
    return ConfigError(f"{name} changed while it was read: run again once nothing writes to it")
