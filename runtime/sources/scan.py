"""Reading a source twice: once to know that all of it holds, once to hand its rows over.

Nothing is kept of the rows but eight bytes each, by which the second reading is known to find
what the first one did, and by which equal rows are told apart.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from compiler.plan import canonical_json, digest
from dsl.errors import ConfigError
from runtime.sources.arrow import read_arrow
from runtime.sources.csv import read_csv
from runtime.sources.faults import Fault, Faults, Place, Unusable
from runtime.sources.jsonl import read_jsonl
from runtime.sources.locate import Located, SourceFile
from runtime.sources.messages import Message
from runtime.sources.parquet import read_parquet
from runtime.sources.record import Record
from runtime.sources.shapes import Form, Shape, conversation

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file and the sha256 of its bytes; `stamp` changes when the file does."""

    file: SourceFile
    bytes: int
    sha256: str
    stamp: tuple[int, ...]


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


def hash_file(file: SourceFile) -> Hashed:
    """Raises ConfigError for a file that cannot be read."""
    hasher = sha256()
    try:
        stamp = _stamp(file.path)
        with file.path.open("rb") as handle:
            while block := handle.read(_BLOCK):
                hasher.update(block)
    except OSError as error:
        raise ConfigError(f"{file.name} cannot be read ({error.strerror or error}): check the file") from None
    return Hashed(file, stamp[0], hasher.hexdigest(), stamp)


class Scan:
    """The first reading of a source.  `advance` reads some rows at a time."""

    def __init__(self, located: Located, hashed: tuple[Hashed, ...]) -> None:
        self.located = located
        self.hashed = hashed
        self.rows = 0
        self.hashes = array("Q")
        self.faults = Faults()
        self._shapes: dict[str, tuple[Shape, Place, int]] = {}
        self._records = records(located)

    def advance(self, rows: int) -> bool:
        """Whether there may be more.  Raises ConfigError for a file that cannot be read."""
        for _ in range(rows):
            found = next(self._records, None)
            if found is None:
                return False
            file, record = found
            self.rows += 1
            try:
                self._look_at(record, self._place(file, record.line))
            except Unusable as unusable:
                self.faults.add(self._place(file, record.line), unusable.fault)
        return True

    def conclude(self) -> Shape:
        """The shape of all rows, once all were read.  Raises ConfigError, in one sentence, where
        some are not usable, where there are none, and where the files changed meanwhile."""
        name = self.located.name
        if any(_changed(each) for each in self.hashed):
            raise _changing(name)
        if self.faults:
            raise ConfigError(self.faults.sentence(name, self.rows, self._unit))
        if not self._shapes:
            raise ConfigError(f"{name} has no rows: write conversations into it, or leave the source out")
        if len(self._shapes) > 1:
            parts = [
                f"{count} {self._unit}{'s' * (count != 1)} with {shape} from {place} on"
                for shape, place, count in self._shapes.values()
            ]
            raise ConfigError(f"{name} mixes shapes ({'; '.join(parts)}): put each into a source of its own")
        ((shape, _, _),) = self._shapes.values()
        return shape

    def _look_at(self, record: Record, place: Place) -> None:
        if isinstance(record.row, Fault):
            self.faults.add(place, record.row)
            return
        shape = self.located.form.shape_of(record.row)
        _, first, count = self._shapes.get(shape.name, (shape, place, 0))
        self._shapes[shape.name] = (shape, first, count + 1)
        self.hashes.append(_short(digest(conversation(record.row, shape))))

    def _place(self, file: SourceFile, line: int) -> Place:
        several = len(self.located.files) > 1
        unit = "line" if file.format in ("jsonl", "csv") else "row"
        return Place(line, unit, file.name if several else "")

    @property
    def _unit(self) -> str:
        return "line" if all(file.format == "jsonl" for file in self.located.files) else "row"


def conversations(located: Located, shape: Shape, hashes: array[int]) -> Iterator[Conversation]:
    """The second reading.  Raises ConfigError where it does not find the rows of the first."""
    repeated = {one for one, next_ in pairwise(sorted(hashes)) if one == next_}
    seen: Counter[int] = Counter()
    number = 0
    for file, record in records(located):
        messages = _again(record, located.form, shape)
        text = canonical_json(messages).encode("utf-8", "surrogatepass")
        hash_ = sha256(text).hexdigest()
        short = _short(hash_)
        if messages is None or number >= len(hashes) or hashes[number] != short:
            raise _changing(located.name)
        occurrence = 0
        if short in repeated:
            occurrence = seen[short]
            seen[short] += 1
        row_id = digest([located.source.name, hash_, occurrence])[:16]
        yield Conversation(number, row_id, file.name, record.line, hash_, messages, len(text))
        number += 1
    if number != len(hashes):
        raise _changing(located.name)


def records(located: Located) -> Iterator[tuple[SourceFile, Record]]:
    """The rows of all files of a source, as their readers give them."""
    for file in located.files:
        for record in _read(file, located.form):
            yield file, record


def _read(file: SourceFile, form: Form) -> Iterator[Record]:
    match file.format:
        case "jsonl":
            return read_jsonl(file.path, file.name)
        case "csv":
            return read_csv(file.path, file.name, form)
        case "parquet":
            return read_parquet(file.path, file.name, form)
        case _:
            return read_arrow(file.path, file.name, form)


def _again(record: Record, form: Form, shape: Shape) -> list[Message] | None:
    if isinstance(record.row, Fault):
        return None
    try:
        return conversation(record.row, shape) if form.shape_of(record.row).name == shape.name else None
    except Unusable:
        return None


def _short(hash_: str) -> int:
    return int(hash_[:16], 16)


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _changed(hashed: Hashed) -> bool:
    try:
        return _stamp(hashed.file.path) != hashed.stamp
    except OSError:
        return True


def _changing(name: str) -> ConfigError:
    return ConfigError(f"{name} changed while it was read: run again once nothing writes to it")
