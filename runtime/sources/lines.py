"""The lines of a text file: bounded, in UTF-8, packed by gzip or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from unicodedata import name as character_name

from dsl.errors import ConfigError
from runtime.sources.faults import SAVE_AS_UTF8, Fault

# A line is held in memory whole, several times over.
MAX_LINE = 32 * 1024 * 1024

_GZIP = b"\x1f\x8b"
_UTF8_MARK = b"\xef\xbb\xbf"


def read_lines(path: Path, file: str) -> Iterator[bytes]:
    """A file's lines with their ends, of at most MAX_LINE bytes.  `file` is what errors call it.

    Raises ConfigError for a file that cannot be read, or that is no text.
    """
    number = 0
    try:
        with _opened(path) as handle:
            while line := handle.readline(MAX_LINE + 1):
                number += 1
                if number == 1:
                    _require_text(line, file)
                    line = line.removeprefix(_UTF8_MARK)
                if len(line) > MAX_LINE:
                    raise ConfigError(
                        f"{file}: line {number} is longer than {MAX_LINE // 1024**2} MiB: "
                        "write each conversation on a line of its own"
                    )
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{file} is damaged after line {number} ({error}): pack it again") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror or error}): check the file") from None


def not_utf8(line: bytes) -> Fault:
    """The fault of a line that is not UTF-8, with the byte and a guess at what it is."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line[error.start]:02X} at column {error.start + 1}"
        if error.reason == "unexpected end of data":
            return Fault("is not UTF-8", f"{byte}; the line ends within a character")
    else:
        raise ValueError("the line is UTF-8")
    guess = _encoding_of(line)
    return Fault("is not UTF-8", byte + (f"; it looks like {guess}" if guess else ""), SAVE_AS_UTF8)


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as handle:
        packed = handle.read(2) == _GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _require_text(line: bytes, file: str) -> None:
    """Refuses, by the first line, files of which no line would make sense."""
    if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line[:2]:
        raise ConfigError(f"{file} is UTF-16, not UTF-8: {SAVE_AS_UTF8}")
    if line.startswith(b"PAR1"):
        raise ConfigError(f"{file} is a Parquet file: read it with `parquet`")


def _encoding_of(data: bytes) -> str | None:
    """The code page that text which is not UTF-8 was probably written in, or None.

    Arabic and western letters are told apart by how the text's bytes above 127 read.  Where most
    of these are UTF-8, the others are damage.
    """
    high = bytes(byte for byte in data if byte > 127)
    valid = "".join(char for char in data.decode("utf-8", "ignore") if not char.isascii())
    if 2 * len(valid.encode()) > len(high):
        return None
    for encoding, script, shown in (
        ("cp1256", "ARABIC", "Windows-1256, Arabic"),
        ("cp1252", "LATIN", "Windows-1252, western"),
    ):
        text = high.decode(encoding, "replace")
        letters = sum(character_name(char, "").startswith(script) for char in text)
        if 10 * letters >= 7 * len(text):
            return shown
    return None
