"""From a file's bytes to text: one encoding, one kind of line end, no control characters."""

from __future__ import annotations

import codecs
import re

from synth.base.text import valid_text
from synth.runtime.documents.faults import Unreadable
from synth.runtime.sources.faults import SAVE_AS_UTF8
from synth.runtime.sources.readers.lines import not_utf8

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]")
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")


def decode(data: bytes, declared: str | None = None) -> str:
    """The text of a file: by its byte order mark, else by the encoding it declares, else UTF-8.

    Raises Unreadable for what is no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data.removeprefix(mark), encoding)
    if b"\0" in data:
        raise Unreadable("is a binary file: it holds NUL bytes", "leave it out, or save it as text")
    return _decoded(data, _known(declared))


def clean(text: str) -> str:
    """Text with `\\n` for every line end, blanks for control characters and no lone surrogates."""
    return _CONTROLS.sub(" ", _LINE_ENDS.sub("\n", valid_text(text)))


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return clean(data.decode(encoding))
    except UnicodeError as error:
        if not isinstance(error, UnicodeDecodeError) or encoding != "utf-8":
            raise Unreadable(f"is not the {encoding.upper()} that it says it is", SAVE_AS_UTF8) from None
        line = data[: error.start].count(b"\n")
        fault = not_utf8(data.split(b"\n", line + 1)[line])
    raise Unreadable(f"{fault.what} (line {line + 1}: {fault.detail})", fault.remedy)


def _known(declared: str | None) -> str:
    """The encoding declared, where it is one for text and Python knows it, else UTF-8."""
    try:
        "".encode(declared or "utf-8")
        name = codecs.lookup(declared or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    # What says UTF-16 in ASCII is not UTF-16; browsers take that for UTF-8, too.
    return "utf-8" if name.startswith("utf") else name
