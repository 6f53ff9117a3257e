"""Values of rows as their schema has them: for each type a function that is made once and takes one value.

What a column holds is taken as it is.  Only a table's text (`Cell`) is converted, since it can hold
nothing else.  A whole number is written as one, whatever the file: `1.0` is 1.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from synth.base.display import quoted
from synth.compiler.plan.value_types import ValueType
from synth.runtime.sources.faults import MEND, Unusable
from synth.runtime.sources.marks import kind_of
from synth.runtime.sources.messages import message_list
from synth.runtime.sources.notes import Notes
from synth.runtime.sources.record import Cell

# Takes a value that is there, and gives it as the plan's type has it.  Raises Unusable.
Take = Callable[[Any, Notes], Any]

# Beyond these no file that a dataset is written to holds a count, or a whole number exactly.
_MOST = 2**63 - 1
_EXACT = 2**53

_WHOLE = re.compile(r"[+-]?[0-9]{1,40}(?:\.0{1,40})?", re.ASCII)
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?", re.ASCII
)
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_SHOWN = 60


def taker(type_: ValueType, where: str) -> Take:
    """What takes the values of a type; `where` is what messages call the place, such as "a `body`"."""
    match type_.kind:
        case "text" | "path":
            return _text(type_, where)
        case "count":
            return _count(type_, where)
        case "number":
            return _number(type_, where, "number")
        case "ratio":
            return _number(type_, where, "ratio")
        case "boolean":
            return _boolean(where)
        case "enum":
            return _enum(type_, where)
        case "list":
            return _list(type_, where)
        case "record":
            return _record(type_, where)
        case "messages":
            return _messages(where)
        case _:
            return lambda value, notes: plain(value)


def _text(type_: ValueType, where: str) -> Take:
    low, high = type_.low or 0, math.inf if type_.high is None else type_.high
    bounded = type_.low is not None or type_.high is not None
    noun = "text" if type_.kind == "text" else "path"

    def take(value: Any, notes: Notes) -> str:
        if type(value) is not str:
            value = _as_text(value, where, noun)
        if bounded and not low <= len(value) <= high:
            raise _outside(type_, where, "characters", len(value))
        return value  # type: ignore[no-any-return]

    return take


def _as_text(value: Any, where: str, noun: str) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise _misfit(where, f"no {noun}", value)


def _count(type_: ValueType, where: str) -> Take:
    low = 0 if type_.low is None else type_.low
    high = _MOST if type_.high is None else min(type_.high, _MOST)

    def take(value: Any, notes: Notes) -> int:
        if type(value) is not int:
            found = _whole(value)
            if found is None:
                raise _misfit(where, "no count", value)
            value = found
        if not low <= value <= high:
            if value > _MOST or (type_.low is None and value < 0):
                raise _misfit(where, "no count", value)
            raise _outside(type_, where, "", value)
        return int(value)

    return take


def _whole(value: Any) -> int | None:
    """The whole number that a value is; a truth value is none."""
    if type(value) is Cell:
        text = value.strip()
        return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _EXACT else None
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and abs(value) < 10**40 and value == int(value) else None
    return None


def _number(type_: ValueType, where: str, noun: str) -> Take:
    low = -math.inf if type_.low is None else type_.low
    high = math.inf if type_.high is None else type_.high

    def take(value: Any, notes: Notes) -> int | float:
        kind = type(value)
        if kind is float:
            if not math.isfinite(value):
                raise _misfit(where, f"no {noun}", value)
            if value.is_integer() and abs(value) <= _EXACT:
                value = int(value)
        elif kind is not int:
            value = _other_number(value, where, noun)
        elif abs(value) > _EXACT:
            value = _large(value, where, noun)
        if not low <= value <= high:
            raise _outside(type_, where, "", value)
        return value  # type: ignore[no-any-return]

    return take


def _large(value: int, where: str, noun: str) -> int | float:
    try:
        return float(value)
    except OverflowError:
        raise _misfit(where, f"no {noun}", value) from None


def _other_number(value: Any, where: str, noun: str) -> int | float:
    written = value
    if isinstance(value, str) and (type(value) is Cell or noun == "ratio"):
        text = value.strip()
        # A ratio is its percentage, and may be written with the sign of one.
        text = text.removesuffix("%").rstrip() if noun == "ratio" else text
        if not _NUMBER.fullmatch(text):
            raise _misfit(where, f"no {noun}", written)
        value = float(text)
    elif isinstance(value, Decimal):
        value = float(value)
    else:
        raise _misfit(where, f"no {noun}", value)
    if not math.isfinite(value):
        raise _misfit(where, f"no {noun}", written)
    return int(value) if value.is_integer() and abs(value) <= _EXACT else value


def _boolean(where: str) -> Take:
    def take(value: Any, notes: Notes) -> bool:
        if type(value) is bool:
            return value
        found = _TRUTHS.get(value.strip().lower()) if type(value) is Cell else None
        if found is None:
            raise _misfit(where, "neither true nor false", value)
        return found

    return take


def _enum(type_: ValueType, where: str) -> Take:
    words = frozenset(type_.words)
    shown = ", ".join(type_.words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "")

    of = where[where.index("`") :]
    remedy = f"add what is missing to the enum of {of} or make it `text`; else {MEND}"

    def take(value: Any, notes: Notes) -> str:
        if isinstance(value, str) and value in words:
            return str(value)
        if type(value) is Cell and value.strip() in words:
            return value.strip()
        raise _misfit(where, f"none of {shown}", value, remedy)

    return take


def _list(type_: ValueType, where: str) -> Take:
    items = type_.items or ValueType(kind="any")
    of_item = taker(items, f"an item of {where.partition(' ')[2]}")
    low, high = type_.low or 0, math.inf if type_.high is None else type_.high

    def take(value: Any, notes: Notes) -> list[Any]:
        value = _from_cell(value, where, "list")
        if not isinstance(value, list | tuple):
            raise _misfit(where, "no list", value)
        if not low <= len(value) <= high:
            raise _outside(type_, where, "items", len(value))
        return [of_item(item, notes) for item in value]

    return take


def _record(type_: ValueType, where: str) -> Take:
    within = where.partition(" ")[2].strip("`")
    fields = fields_of(type_, within)
    known = frozenset(name for name, _, _ in fields)

    def take(value: Any, notes: Notes) -> dict[str, Any]:
        value = _from_cell(value, where, "record")
        if not isinstance(value, Mapping):
            raise _misfit(where, "no object", value)
        made = {}
        for name, of_field, optional in fields:
            found = value.get(name)
            if found is not None:
                made[name] = of_field(found, notes)
            elif not optional:
                raise Unusable(f"has no `{within}.{name}`", "it is null" if name in value else "")
        if len(value) > len(made):
            notes.rows += [f"{within}.{name}" for name in value if name not in known]
        return made

    return take


def fields_of(type_: ValueType, within: str = "") -> list[tuple[str, Take, bool]]:
    """Of each field of a record its name, what takes its values and whether it may be absent."""
    prefix = f"{within}." if within else ""
    return [(name, taker(field, f"a `{prefix}{name}`"), field.optional) for name, field in type_.fields]


def _messages(where: str) -> Take:
    column = where.partition(" ")[2].strip("`")

    def take(value: Any, notes: Notes) -> Any:
        return message_list(value, column, notes)

    return take


def _from_cell(value: Any, where: str, noun: str) -> Any:
    """What the text of a cell is as JSON; other values are as they are."""
    if type(value) is not Cell:
        return value
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _misfit(where, f"no {noun} as JSON", value) from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def plain(value: Any) -> Any:
    """A value of any type as JSON has it; bytes are none, and stay out."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Decimal):
        return plain(int(value) if value.is_finite() and value == value.to_integral_value() else float(value))
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return None if isinstance(value, bytes | bytearray | memoryview) else str(value)


def _misfit(where: str, wanted: str, value: Any, remedy: str = MEND) -> Unusable:
    return Unusable(f"has {where} that is {wanted}", f"it is {_shown(value)}", remedy)


def _outside(type_: ValueType, where: str, unit: str, value: float) -> Unusable:
    low, high = ("" if end is None else f"{end:,}".replace(",", "_") for end in (type_.low, type_.high))
    return Unusable(
        f"has {where} outside {low}..{high}{f' {unit}' if unit else ''}",
        f"it {'has' if unit else 'is'} {value:,}".replace(",", "_"),
    )


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quoted(str(value)[:_SHOWN]) if value else "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_SHOWN else f"a number of {value.bit_length()} bits"
    return str(value) if isinstance(value, float | Decimal) else kind_of(value)
