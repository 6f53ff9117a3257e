"""What is wrong with the rows of a source: counted by kind, said in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from synth.base.canonical import is_too_large
from synth.base.display import code_point, visible
from synth.base.errors import ConfigError

MEND = "mend or remove"
WITHOUT = "leave such rows out with `bad_rows = skip`"
SAVE_AS_UTF8 = "save the file as UTF-8"
# Beyond this, further kinds of fault are only counted.
_MOST_KINDS = 3

_UNFIT = re.compile("[\0\ud800-\udfff]")
_Json = TypeVar("_Json")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be used.

    `what` completes "the row ..." and is the same for all faults of a kind; `detail` is this
    row's own; `remedy` is a clause, which may end with MEND.
    """

    what: str
    detail: str = ""
    remedy: str = MEND


class NoRows(ConfigError):
    """A source holds and has no rows."""


class Unusable(Exception):
    """A row is no conversation."""

    def __init__(self, what: str, detail: str = "", remedy: str = MEND) -> None:
        super().__init__(what)
        self.fault = Fault(what, detail, remedy)

    @classmethod
    def of(cls, fault: Fault) -> Unusable:
        return cls(fault.what, fault.detail, fault.remedy)


def fit(text: str, where: str) -> str:
    """The text itself.  Raises Unusable for characters that no text holds."""
    found = _UNFIT.search(text)
    if found is None:
        return text
    if found[0] == "\0":
        raise Unusable("has a NUL character", where)
    raise Unusable("has half of a character", f"{code_point(found[0])} in {where}")


def fit_json(value: _Json, where: str) -> _Json:
    """The same of all texts and names in a JSON value.  Raises Unusable also for numbers that not all readers
    of datasets take."""
    pending: list[Any] = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            fit(each, where)
        elif is_too_large(each):
            raise Unusable("has a number that is too large", where)
        elif isinstance(each, Mapping):
            pending += (*each, *each.values())
        elif isinstance(each, list | tuple):
            pending += each
    return value


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row begins: a line of a text file or a row of a table, from 1.

    `file` is the file's name where a source has several, else empty.
    """

    line: int
    unit: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.unit} {self.line}" + (f" of {self.file}" if self.file else "")


@dataclass(slots=True)
class _Kind:
    first: Place
    fault: Fault
    count: int = 0


class Faults:
    """Faults as they are found, of which only the first of each kind is kept."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, place: Place, fault: Fault) -> None:
        self._kinds.setdefault(fault.what, _Kind(place, fault)).count += 1

    def sentence(self, name: str, rows: int, unit: str, *, skips: bool) -> str:
        """One sentence about a source's file, of whose `rows` some have faults; all of them, where
        it `skips` those that do."""
        kinds = list(self._kinds.values())
        shown = kinds[:_MOST_KINDS]
        parts = [_part(kind, f"{kind.count} of {rows} {unit}{'s' * (rows != 1)}") for kind in shown[:1]]
        parts += [_part(kind, str(kind.count)) for kind in shown[1:]]
        if more := sum(kind.count for kind in kinds[_MOST_KINDS:]):
            parts.append(f"{more} more {'has' if more == 1 else 'have'} other faults")
        remedy = shown[0].fault.remedy
        if skips and remedy == WITHOUT:
            remedy = "no row is left, so mend these or name another file"
        elif remedy.endswith(MEND):
            remedy += " it" if sum(kind.count for kind in kinds) == 1 else " them"
            if not skips:
                remedy += ", or say `bad_rows = skip`"
        return f"{name}: {'; '.join(parts)}: {remedy}"


def _part(kind: _Kind, counted: str) -> str:
    what, _, rest = kind.fault.what.partition(" ")
    if kind.count > 1:
        what = {"is": "are", "has": "have"}[what]
    first = f"{'the first is ' if kind.count > 1 else ''}{kind.first}"
    detail = f" ({kind.fault.detail})" if kind.fault.detail else ""
    return f"{counted} {what} {rest}, {first}{detail}"


def names(columns: Iterable[str], most: int = 8) -> str:
    """Column names between backticks, made visible, the first `most` of them."""
    found = list(columns)
    shown = ", ".join(f"`{visible(name[:40])}`" for name in found[:most])
    return shown + (f" and {len(found) - most} more" if len(found) > most else "")
