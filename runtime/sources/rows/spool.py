"""Rows that wait to be logged: in a temporary file, as the texts that their payloads will be."""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from synth.base.canonical import canonical_json, canonical_text
from synth.base.display import code_point
from synth.runtime.sources.faults import Unusable, names
from synth.runtime.sources.marks import spelled
from synth.runtime.sources.rows.values import plain
from synth.store.log.events import EncodedPayload

# So much is held in memory before the temporary file is one.
_IN_MEMORY = 8 * 1024 * 1024
# So many rows are written at once.
_AT_ONCE = 256
_NAME_DIGITS = 16
_HALF = re.compile("[\ud800-\udfff]")


class Twice(Exception):
    """A row has the name of an earlier one; `first` is the number that it is."""

    def __init__(self, first: int) -> None:
        super().__init__(first)
        self.first = first


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """A row as it is logged; `size` is its payload's length in bytes."""

    row_id: str
    payload: EncodedPayload
    size: int


class RowSpool:
    """The rows of one version of a source, named as they come.

    Of each some hundred bytes are held in memory, to tell equal ones apart.
    """

    def __init__(self, source: str, version: str) -> None:
        self.rows = 0
        self._source = source
        self._version = version
        self._seen: set[int] = set()
        self._repeated: dict[int, int] = {}
        self._unwritten: list[bytes] = []
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        # However the run ends.
        weakref.finalize(self, self._file.close)

    def add(
        self,
        file: str,
        line: int,
        values: Mapping[str, Any],
        rest: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        named_by: Mapping[str, Any] | None = None,
    ) -> int:
        """Takes a row, and gives the number that its name is.

        `file` is JSON of a text.  A row has the `name` that its source gives it, or one by its values, or by
        what it is `named_by` instead, and by its number among equals.  Raises Twice for a name that an
        earlier row has, Unusable for characters that no text holds.
        """
        again, shown = 0, ""
        try:
            written = canonical_json(values)
            hash_ = sha256(written.encode()).hexdigest()
            beside = f'"rest":{_json(rest)},' if rest else ""
            if name is None:
                content = hash_ if named_by is None else sha256(canonical_json(named_by).encode()).hexdigest()
                short = int(content[:_NAME_DIGITS], 16)
                if short in self._seen:
                    again = self._repeated.get(short, 0) + 1
                row_id = _digits(f'["{self._source}","{content}",{again}]')
            else:
                quoted = canonical_text(name)
                row_id = _digits(f'["{self._source}","id",{quoted}]')
                short = int(row_id, 16)
                if short in self._seen:
                    raise Twice(short)
                shown = f'"name":{quoted},'
            # Canonical JSON, whose names are in this order.
            encoded = (
                f'{row_id}{{"file":{file},"hash":"{hash_}","line":{line},{shown}{beside}"row":{self.rows},'
                f'"source":"{self._source}","values":{written},"version":"{self._version}"}}\n'
            ).encode()
        except UnicodeEncodeError:
            raise _half({**(rest or {}), **values, "id": name}) from None
        if b"\\u0000" in encoded and (column := _with_nul({**(rest or {}), **values, "id": name})):
            raise Unusable("has a NUL character", f"in {names([column])}")
        self._unwritten.append(encoded)
        if len(self._unwritten) == _AT_ONCE:
            self._write()
        self.rows += 1
        if again:
            self._repeated[short] = again
        else:
            self._seen.add(short)
        return short

    def conclude(self) -> None:
        """No row is added any more."""
        self._write()
        self._seen, self._repeated = set(), {}

    def logged(self) -> Iterator[LoggedRow]:
        """The rows in their order, once, as they are logged.  The temporary file is gone after the last."""
        with self._file as file:
            file.seek(0)
            for line in file:
                text = line[_NAME_DIGITS:-1]
                yield LoggedRow(line[:_NAME_DIGITS].decode(), EncodedPayload(text.decode()), len(text))

    def close(self) -> None:
        """Removes the temporary file."""
        self._file.close()

    def _write(self) -> None:
        self._file.write(b"".join(self._unwritten))
        self._unwritten.clear()


def _digits(named: str) -> str:
    return sha256(named.encode()).hexdigest()[:_NAME_DIGITS]


def _json(value: Mapping[str, Any]) -> str:
    """Canonical JSON of what a file holds besides the fields, which may be what JSON has no word for."""
    try:
        text = canonical_json(value)
    except (TypeError, ValueError):
        value = {name: plain(each) for name, each in value.items()}
        text = canonical_json(value)
    if "Infinity" in text:
        for column, each in value.items():
            if spelled(each) != each:
                raise Unusable("has a number that is too large", f"in {names([column])}")
    return text


def _half(row: Mapping[str, Any]) -> Unusable:
    for column, value in row.items():
        found = _HALF.search(canonical_json([column, plain(value)]))
        if found is not None:
            return Unusable("has half of a character", f"{code_point(found[0])} in {names([column])}")
    return Unusable("has half of a character")


def _with_nul(row: Mapping[str, Any]) -> str | None:
    """The column in which a NUL stands: its escape may also be what somebody wrote about one."""
    return next((column for column, value in row.items() if _holds_nul([column, value])), None)


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(each) for pair in value.items() for each in pair)
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))
