"""What a message says of itself beside its text: whether it is trained on, and what was thought."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from synth.base.display import quoted
from synth.runtime.engines.thinking import REASONING_KEYS, reasoning_of
from synth.runtime.sources.faults import Unusable
from synth.runtime.sources.notes import Notes

# True, 1 and their like say that a message is trained on.
_TRAINED = ("weight", "train", "training", "trainable", "loss", "loss_weight", "loss_mask")
# Or that it is not.
_MASKED = ("masked", "mask")
MARKS = frozenset((*_TRAINED, *_MASKED))

THOUGHTS = frozenset(REASONING_KEYS)

# How saved datasets write that there is nothing under a key.
NOTHING: tuple[Any, ...] = (None, "", [], {})

_WORDS = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "on"), 1),
    **dict.fromkeys(("0", "0.0", "false", "no", "off"), 0),
}

_TYPES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
}


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return "null" if value is None else _TYPES.get(type(value), f"a {type(value).__name__}")


def without_nan(value: Any, name: str = "") -> Any:
    """A value in which nothing stands where it has NaN, save in marks."""
    if isinstance(value, dict):
        return {key: without_nan(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if value != value and name not in MARKS else value


class WithNan(dict[str, Any]):
    """A row in which nothing stands where its file has NaN; `written` is the row as it was."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(without_nan(row))
        self.written = row


def spelled(value: Any) -> Any:
    """A value with numbers that JSON has no word for as the texts that files write them as."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: spelled(each) for key, each in value.items()}
    return [spelled(each) for each in value] if isinstance(value, list) else value


def weight_of(item: Mapping[str, Any], where: str, notes: Notes) -> int | None:
    """1 where a message is trained on, 0 where it is not, None where it does not say.

    Raises Unusable for a mark that is neither, and for marks that contradict each other.
    """
    found: dict[str, int] = {}
    for name in (*_TRAINED, *_MASKED):
        value = item.get(name)
        if value is None or value == "":
            continue
        mark = _mark(value)
        if mark is None:
            shown = quoted(str(value)) if isinstance(value, int | float | str) else kind_of(value)
            raise Unusable(f"has a `{name}` other than 0 and 1", f"{where}: {shown}")
        found[name] = 1 - mark if name in _MASKED else mark
        if name != "weight" or isinstance(value, str):
            notes.since(2)
    return _agreed(found, where)


def row_weight(row: Mapping[str, Any], taken: Collection[str], notes: Notes) -> tuple[int | None, set[str]]:
    """What a whole row says so, for those of its messages that do not say it themselves, and the
    columns that do: a column of that name with another value is no mark but a figure of somebody's.

    `taken` are columns that hold the row's texts.  Raises Unusable for marks that contradict each other,
    and for those that are no number.
    """
    found: dict[str, int] = {}
    for name in MARKS.intersection(row).difference(taken):
        value = row[name]
        if value != value:
            raise Unusable(f"has a `{name}` other than 0 and 1", f"it is {value}")
        mark = _mark(value)
        if mark is not None:
            found[name] = 1 - mark if name in _MASKED else mark
    if found:
        notes.since(2)
    return _agreed(dict(sorted(found.items())), "on the row"), set(found)


def is_good(label: Any) -> bool | None:
    """What a row's label says of its answer; None for what is no label, such as the number of a class."""
    if isinstance(label, str):
        return {"true": True, "false": False}.get(label.strip().lower())
    return label if isinstance(label, bool) else None


def _agreed(found: Mapping[str, int], where: str) -> int | None:
    if len(set(found.values())) > 1:
        told = ", ".join(f"`{name}`" for name in found)
        raise Unusable("has marks that contradict each other", f"{where}: {told}")
    return next(iter(found.values()), None)


def _mark(value: Any) -> int | None:
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    return int(value) if isinstance(value, int | float) and value in (0, 1) else None


def thoughts_of(item: Mapping[str, Any], where: str, notes: Notes) -> Iterator[str]:
    """What the keys of a message say was thought.  Raises Unusable for what is no text."""
    for name in REASONING_KEYS:
        value = item.get(name)
        if value in NOTHING or value is False:
            continue
        # As it stands: rows that the first version of the reader logged keep their names.
        text = value if isinstance(value, str) else reasoning_of({name: value})
        if text is None and not isinstance(value, list | dict):
            raise Unusable("has a thought that is no text", f"that of {where} is {kind_of(value)}")
        if text is not None and text.strip():
            if name != "thought":
                notes.since(2)
            yield text
        elif text is None:
            # Sealed by the service that thought it.
            notes.messages.append(name)


def joined(thoughts: Iterable[str]) -> str | None:
    """Thoughts as one: what is there twice, as services say it under two names, is taken once."""
    found: list[str] = []
    for text in thoughts:
        if text.strip() and not any(text.strip() == other.strip() for other in found):
            found.append(text)
    return "\n\n".join(found) if found else None
