"""The lines of a text file: bounded, in UTF-8, packed (by gzip, bzip2, xz or zstd) or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from unicodedata import name as character_name

from synth.base.errors import ConfigError
from synth.base.extras import install
from synth.runtime.sources.faults import SAVE_AS_UTF8, Fault

# A line is held in memory whole, several times over.
MAX_LINE = 32 * 1024 * 1024

_BLOCK = 1 << 20
_UTF8_MARK = b"\xef\xbb\xbf"


def read_lines(path: Path, file: str) -> Iterator[bytes]:
    """A file's lines with their ends.  `file` is what errors call it.

    Of a line of more than MAX_LINE bytes comes one byte more than these.  Raises ConfigError for a
    file that cannot be read, or that is no text.
    """
    number = 0
    with _reading(path, file, lambda: f"line {number}") as handle:
        while line := handle.readline(MAX_LINE + 1):
            number += 1
            if number == 1:
                _require_text(line, file)
                line = line.removeprefix(_UTF8_MARK)
            if len(line) > MAX_LINE:
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = handle.readline(MAX_LINE)
            yield line


def read_blocks(path: Path, file: str) -> Iterator[bytes]:
    """A file's bytes, unpacked, some at a time.  Raises ConfigError as `read_lines` does."""
    read = 0
    with _reading(path, file, lambda: f"byte {read}") as handle:
        while block := handle.read(_BLOCK):
            read += len(block)
            yield block


def begins_with(path: Path, file: str, mark: bytes) -> bool:
    """Whether a file's text begins so, after blanks; not where it cannot be read."""
    try:
        start = next(read_blocks(path, file), b"")
    except ConfigError:
        # Whoever reads it says so, with the line where it is damaged.
        return False
    return start.removeprefix(_UTF8_MARK).lstrip().startswith(mark)


@contextmanager
def _reading(path: Path, file: str, place: Callable[[], str]) -> Iterator[IO[bytes]]:
    """A file to be read, unpacked.  `place` says how far it was read when it turns out damaged."""
    try:
        with _opened(path, file) as handle:
            yield handle
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise ConfigError(f"{file} is damaged after {place()} ({error}): pack it again") from None
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


def _opened(path: Path, file: str) -> IO[bytes]:
    with path.open("rb") as handle:
        start = handle.read(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if start.startswith(b"BZh"):
        return bz2.open(path, "rb")
    if start == b"\xfd7zXZ\0":
        return lzma.open(path, "rb")
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(path, file)
    return path.open("rb")


def _zstd(path: Path, file: str) -> IO[bytes]:
    try:
        import zstandard
    except ImportError:
        raise ConfigError(
            f"{file} is packed by zstd, and reading it needs `zstandard`, which is not installed: "
            f"{install('zstd')}, or pack it by gzip"
        ) from None

    def unpacked() -> Iterator[bytes]:
        # Not the package's own stream, which takes a file that was cut for one that ends.
        with path.open("rb") as packed:
            frame = None
            while block := packed.read(_BLOCK // 8):
                while block:
                    frame = frame or zstandard.ZstdDecompressor().decompressobj()
                    try:
                        yield frame.decompress(block)
                    except zstandard.ZstdError as error:
                        raise EOFError(str(error)) from None
                    block, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
            if frame is not None:
                raise EOFError("it ends within a frame")

    return io.BufferedReader(_Stream(unpacked()), _BLOCK)


class _Stream(io.RawIOBase):
    """Blocks of bytes as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


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
