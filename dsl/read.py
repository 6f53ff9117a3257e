"""From a file's bytes to a `Source`: UTF-8, one kind of line end, no character that is not one.

What cannot be read is replaced by U+FFFD and reported, once for each kind of fault, so that
the rest of the file can still be checked.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from synth.base.diagnostics.diagnostic import Diagnostic
from synth.base.diagnostics.source import Source, Span
from synth.base.display import quoted, visible
from synth.base.errors import ConfigError
from synth.base.suggest import suggest

MAX_BYTES = 4 * 1024 * 1024

_REPLACEMENT = "\ufffd"
_SURROGATE = re.compile("[\ud800-\udfff]")
# The longer marks first: that of UTF-32 begins with that of UTF-16.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read(
    path: Path, *, name: str | None = None, max_bytes: int = MAX_BYTES
) -> tuple[Source, list[Diagnostic]]:
    """Reads a recipe file.  `name` is what diagnostics call it, the path unless given.

    Raises ConfigError when there is no such file or it may not be read.  Faults of its
    content are returned (E008).
    """
    display_name = visible(str(path) if name is None else name)
    try:
        if path.is_dir():
            raise ConfigError(f"`{display_name}` is a folder: name a recipe in it")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no file `{display_name}`: {_remedy(path)}") from None
    except PermissionError:
        raise ConfigError(f"`{display_name}` may not be read: ask for read permission on it") from None
    except (OSError, ValueError) as fault:
        reason = visible(getattr(fault, "strerror", None) or str(fault))
        raise ConfigError(f"`{display_name}` cannot be read ({reason}): check the path") from None
    if len(data) > max_bytes:
        source = Source(display_name, "", path)
        message = f"this file is longer than {max_bytes:_} bytes"
        hint = "a recipe holds no data: put the data into a file of its own and declare a `source`"
        return source, [Diagnostic("E008", message, Span(source, 0, 0), hint=hint)]
    return _decode(data, display_name, path)


def read_text(text: str, name: str) -> tuple[Source, list[Diagnostic]]:
    """A source from text that is in memory; faults as in `read`."""
    return _source(text, visible(name), None, None)


def _remedy(path: Path) -> str:
    try:
        near = suggest(path.name, (other.name for other in path.parent.iterdir()))
    except (OSError, ValueError):
        near = None
    return f"did you mean {quoted(near, 100)}?" if near else "check the path"


def _decode(data: bytes, name: str, path: Path) -> tuple[Source, list[Diagnostic]]:
    for mark, encoding in _OTHER_MARKS:
        if data.startswith(mark):
            text = data.decode(encoding, "replace")
            source, faults = _source(text, name, path, None)
            message = f"this file is {encoding.upper()}, not UTF-8"
            return source, [Diagnostic("E008", message, Span(source, 0, 0), hint="save it as UTF-8"), *faults]
    try:
        return _source(data.decode("utf-8"), name, path, None)
    except UnicodeDecodeError as fault:
        before = data[: fault.start].decode("utf-8")
        message = f"byte 0x{data[fault.start]:02X} is not UTF-8 text"
        return _source(data.decode("utf-8", "replace"), name, path, (len(_tidy(before)), message))


def _source(
    text: str, name: str, path: Path | None, undecodable: tuple[int, str] | None
) -> tuple[Source, list[Diagnostic]]:
    text = _tidy(text)
    faults = [] if undecodable is None else [(*undecodable, "save the file as UTF-8")]
    at = text.find("\0")
    if at >= 0:
        hint = (
            "remove it; a file with many of them is not UTF-8 text" if text.count("\0") > 1 else "remove it"
        )
        faults.append((at, "this is a NUL character, which no text holds", hint))
    surrogate = _SURROGATE.search(text)
    if surrogate:
        message = f"U+{ord(surrogate[0]):04X} is half of a character"
        faults.append((surrogate.start(), message, "write the whole character, or remove it"))
    if faults:
        text = _SURROGATE.sub(_REPLACEMENT, text.replace("\0", _REPLACEMENT))
    source = Source(name, text, path, replaced=bool(faults))
    return source, [
        Diagnostic("E008", message, Span(source, at, min(at + 1, len(text))), hint=hint)
        for at, message, hint in sorted(faults)
    ]


def _tidy(text: str) -> str:
    """Without the mark at the beginning, and with every line ending in one character."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")
