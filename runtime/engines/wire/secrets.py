"""What is sent with requests and must not be written anywhere, taken out of what comes back.

A value is known as it is and in the ways in which servers quote it: URL-encoded, escaped as JSON or
HTML, in hexadecimal, and in base64, whatever stands before it there.  One that is split over lines,
encrypted or encoded twice is beyond reach.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

# A shorter value, or one of a single kind of characters, may be a word that an answer rightly has.
_SECRET_BYTES = 8
_LONG_BYTES = 20
# Nothing is kept of values so short, whose letters are everywhere.
_LEAST_BYTES = 4

# Headers that say nothing of who asks.
_OPEN_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-type", "user-agent"}
)


class Secrets:
    """Values by what is written in their place.

    `hide` is for messages, which lose every value of four characters or more; `hide_in_data` for what
    becomes part of a dataset, which loses only what can be no word.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._all: dict[str, str] = {}
        self._certain: dict[str, str] = {}
        # By what any of its characters may be escaped as in JSON, whose text is read after this.
        self._escaped: list[tuple[re.Pattern[str], str, bool]] = []
        for value, mark in sorted(values.items(), key=lambda item: -len(item[0])):
            for form in _forms(value):
                self._all.setdefault(form, f"[{mark}]")
                if _is_certain(value):
                    self._certain.setdefault(form, f"[{mark}]")
            if len(value) >= _LEAST_BYTES:
                self._escaped.append((_escaped(value), f"[{mark}]", _is_certain(value)))
        self.longest = max(map(len, self._all), default=0)

    def hide(self, text: str) -> str:
        return self._unescaped(_without(text, self._all), certain=False)

    def hide_in_data(self, text: str) -> str:
        """The same object where there is nothing to hide."""
        return self._unescaped(_without(text, self._certain), certain=True)

    def is_in(self, text: str) -> bool:
        """Whether a text has any of it, in letters of whatever case."""
        folded = text.casefold()
        return any(form.casefold() in folded for form in self._all)

    def _unescaped(self, text: str, *, certain: bool) -> str:
        if "\\u" in text:
            for pattern, mark, sure in self._escaped:
                if (sure or not certain) and pattern.search(text):
                    text = pattern.sub(mark, text)
        return text


NONE = Secrets({})


def of_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Values of headers that are somebody's own, and those of their words that are no words, by what
    they are called."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if name.lower() not in _OPEN_HEADERS:
            words = filter(_is_certain, value.split())
            found |= {part: f"header {name.lower()}" for part in (*words, value)}
    return found


def _without(text: str, forms: Mapping[str, str]) -> str:
    for form, mark in forms.items():
        if form in text:
            text = text.replace(form, mark)
    return text


def _escaped(value: str) -> re.Pattern[str]:
    """A value of which any character may be `\\uXXXX`."""
    return re.compile("".join(f"(?:{re.escape(each)}|(?i:{_units(each)}))" for each in value))


def _units(character: str) -> str:
    raw = character.encode("utf-16-be", "surrogatepass")
    return "".join(rf"\\u{raw[at : at + 2].hex()}" for at in range(0, len(raw), 2))


def _is_certain(value: str) -> bool:
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return len(value) >= _LONG_BYTES or (len(value) >= _SECRET_BYTES and mixed)


def _forms(value: str) -> Iterable[str]:
    """A value as it is and as others write it, the likeliest first; none of one too short to tell."""
    if len(value) < _LEAST_BYTES:
        return ()
    raw = value.encode("utf-8", "surrogatepass")
    escaped = json.dumps(value)[1:-1]
    forms = [
        value,
        *(quote(value, safe=safe, errors="replace") for safe in ("", "/")),
        quote_plus(value, errors="replace"),
        escaped,
        escaped.replace("/", "\\/"),
        repr(value)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
    ]
    if len(raw) >= _SECRET_BYTES:
        forms += [raw.hex(), raw.hex().upper()]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            for before in range(3):
                # Without the characters that what stands before or after has a part in.
                coded = encode(b"\0" * before + raw).decode().rstrip("=")
                first = -(-before * 8 // 6)
                last = (before + len(raw)) * 8 // 6
                forms.append(coded[first:last])
    return dict.fromkeys(forms)
