"""What a service's body or header says, value by value, each of a type and within bounds.

A `Reading` goes along with one response: it takes what can be used, leaves out what cannot, and keeps
in `odd` what was wrong, in plain words, for the log.
"""

from __future__ import annotations

import codecs
import json
import math
import time
from array import array
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from synth.base.display import visible
from synth.base.text import valid_text
from synth.runtime.engines.wire.secrets import NONE, Secrets

# No call has more tokens; a larger count is none.
MOST_TOKENS = 1 << 24
_MOST_DIGITS = 40
_LONGEST_NAME = 200
_MOST_DIMENSIONS = 1 << 16
_NUMBERS = frozenset({int, float})
# Values that a body may hold: each takes some hundred bytes of memory, whatever it took on the wire.
_MOST_VALUES = 2_000_000
_SEPARATORS = (b",", b"[", b"{")
_FEW_BYTES = 1 << 20

_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Unreadable(Exception):
    """A body is not JSON that can be read."""


class Reading:
    """One response as it is read."""

    __slots__ = ("_secrets", "odd")

    def __init__(self, secrets: Secrets = NONE) -> None:
        self._secrets = secrets
        self.odd: list[str] = []

    def text(self, value: str, what: str = "the answer") -> str:
        """Text that becomes data: valid Unicode, without what was sent to get it."""
        sound = valid_text(value)
        if sound is not value:
            self.odd.append(f"{what} has broken characters, which are replaced")
        hidden = self._secrets.hide_in_data(sound)
        if hidden is not sound:
            self.odd.append(f"{what} repeats what was sent in a header, which is hidden")
        return hidden

    def name(self, value: Any, what: str) -> str | None:
        """A short name on one line; None where there is none."""
        if value is None:
            return None
        if not isinstance(value, str):
            self.odd.append(f"`{what}` is {told(value)} instead of a name")
            return None
        sound = self._secrets.hide(" ".join(valid_text(value).replace("\0", " ").split()))[:_LONGEST_NAME]
        if sound != value:
            self.odd.append(f"`{what}` is no name as it should be, and is kept as `{visible(sound)}`")
        return sound

    def count(self, value: Any, *path: str | int) -> int:
        """A count of tokens at a path in parsed JSON; 0 where there is none, or none that can be."""
        given = found = at(value, *path)
        if found is None:
            return 0
        if type(found) is int and 0 <= found <= MOST_TOKENS:
            return found
        if (isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20) or (
            isinstance(found, float) and found.is_integer()
        ):
            found = int(found)
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MOST_TOKENS:
            return found
        self.odd.append(f"`{'.'.join(map(str, path))}` is {told(given)}, which is no count of tokens")
        return 0

    def first_count(self, value: Mapping[str, Any], paths: Sequence[Sequence[str]]) -> int:
        """The count of tokens at the first of some paths where there is one above 0; else 0."""
        for path in paths:
            if path[0] in value and (found := self.count(value, *path)):
                return found
        return 0

    def object(self, value: Any, what: str) -> Mapping[str, Any]:
        """An object; an empty one where there is none."""
        if isinstance(value, dict):
            return value
        if value is not None:
            self.odd.append(f"`{what}` is {told(value)} instead of an object")
        return {}


def parsed(data: bytes) -> Any:
    """The JSON in a body, whose whole numbers of absurd length are infinite.  Raises Unreadable."""
    if len(data) > _FEW_BYTES and sum(map(data.count, _SEPARATORS)) > _MOST_VALUES:
        raise Unreadable(f"the response has more than {_MOST_VALUES:,} values")
    try:
        return _DECODER.decode(data.removeprefix(codecs.BOM_UTF8).decode())
    except (ValueError, RecursionError):
        raise Unreadable("the response is not JSON") from None


def _whole(digits: str) -> int | float:
    if len(digits) <= _MOST_DIGITS:
        return int(digits)
    return -math.inf if digits.startswith("-") else math.inf


_DECODER = json.JSONDecoder(parse_int=_whole)


def at(value: Any, *path: str | int) -> Any:
    """What lies at a path in parsed JSON; None where the path leaves it."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def told(value: Any) -> str:
    """A value in a few words: what it is where it is long, or is no number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Never longer than this: whole numbers of absurd length are infinite.
        return str(value)
    return _TYPES.get(type(value), "something else")


def wait_of(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, from `retry-after-ms` or Retry-After (seconds or an HTTP date).

    `headers` has lower-case names or does not care; `now` is seconds since the epoch.
    None when nothing usable was sent.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            wait = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(wait):
            return max(0.0, wait)
    try:
        moment = parsedate_to_datetime(headers["retry-after"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError, OSError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def duration(value: Any) -> float | None:
    """Seconds in a protobuf duration such as `34.07s`."""
    try:
        seconds = float(value.removesuffix("s"))
    except (AttributeError, ValueError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def vectors(found: Sequence[Any], dimensions: int | None) -> list[array[float]] | str:
    """Vectors of finite numbers, all of one length and none of nothing but zeros, or what is wrong
    with them.  `dimensions` is the length that was asked for, if any."""
    made = []
    for vector in found:
        if not isinstance(vector, list):
            return f"a vector is {told(vector)}"
        if not 0 < len(vector) <= _MOST_DIMENSIONS:
            return f"a vector has {len(vector):,} numbers"
        if not set(map(type, vector)) <= _NUMBERS:
            return f"a vector holds {told(next(each for each in vector if type(each) not in _NUMBERS))}"
        # What does not fit four bytes is infinite there.
        single = array("f", vector)
        if not all(map(math.isfinite, single)):
            return "a vector holds numbers that are none, or too large"
        if not any(single):
            return "a vector points nowhere: all of its numbers are 0"
        made.append(single)
    lengths = {len(vector) for vector in made}
    if len(lengths) > 1:
        return f"the vectors have different lengths ({', '.join(map(str, sorted(lengths)))})"
    if dimensions is not None and lengths and lengths != {dimensions}:
        return f"the vectors have {lengths.pop()} numbers, and {dimensions} were asked for"
    return made
