"""The write-ahead log beside a log's file, as far as its frame goes: entries with a size and a checksum,
and one that ends each transaction."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FRAME = struct.Struct("<QQ")
# What an entry has before its body: its size and its checksum.
FRAME = _FRAME.size
# The entry that ends a transaction, which is always the same.
FLUSH = bytes.fromhex("0500000000000000e7fe7d722fed3d5e640064ffff")
_HEADER = b"d\x00be\x00\x02f\x00\x10"
_HEADER_END = b"\xff\xff"
_ENTRY = b"d\x00"
# Where a file has its id, and its two headers: in each a checksum, then how often it was checkpointed.
_ID = slice(124, 140)
_ITERATIONS = (4096 + 8, 8192 + 8)


@dataclass(frozen=True, slots=True)
class Frame:
    """How far the entries of a write-ahead log can be followed.  `committed` is where the last
    transaction ends that was; `broken` is where an entry is that cannot be one although others come
    after it, None where all is well or the last one was cut by a kill."""

    committed: int
    broken: int | None = None


def frame_of(wal: bytes) -> Frame | None:
    """None where it is of a form that is not known here."""
    start = header_end(wal)
    if start is None:
        return None
    committed = start
    for at, size in entries(wal, start):
        if size is None:
            return Frame(committed, at if ends_at(wal, at) or wal.find(FLUSH, at) >= 0 else None)
        if wal.startswith(FLUSH, at):
            committed = at + len(FLUSH)
    return Frame(committed)


def ends_at(wal: bytes, at: int) -> bool:
    """Whether a transaction ends here, though the entry that says so was altered by a byte or two."""
    entry = wal[at : at + len(FLUSH)]
    return len(entry) == len(FLUSH) and sum(a != b for a, b in zip(entry, FLUSH, strict=True)) <= 2


def header_end(wal: bytes) -> int | None:
    """Where the first entry is."""
    end = wal.find(_HEADER_END, len(_HEADER), 128)
    return end + len(_HEADER_END) if wal.startswith(_HEADER) and end >= 0 else None


def entries(wal: bytes, start: int) -> Iterator[tuple[int, int | None]]:
    """Where each entry is and its size; the last one's is None where it cannot be one."""
    at = start
    while at + FRAME <= len(wal):
        size, _ = _FRAME.unpack_from(wal, at)
        body = at + FRAME
        if size < len(_ENTRY) or body + size > len(wal) or not wal.startswith(_ENTRY, body):
            yield at, None
            return
        yield at, size
        at = body + size


def header_for(file: bytes) -> bytes:
    """The beginning that a write-ahead log has which belongs to a database file in this state."""
    iteration = max(int.from_bytes(file[at : at + 8], "little") for at in _ITERATIONS)
    return _name_of(file) + _varint(iteration) + _HEADER_END


def broken_at(file: Path) -> int | None:
    """Where the write-ahead log of a database file is broken, so that the database would stop there
    without a word."""
    try:
        wal = file.with_name(f"{file.name}.wal").read_bytes()
    except FileNotFoundError:
        return None
    if FLUSH in wal and not wal.startswith(_name_of(_head_of(file))):
        return 0
    frame = frame_of(wal)
    return None if frame is None else frame.broken


def is_of_another(file: Path) -> bool:
    """Whether the write-ahead log beside a database file begins as that of another one, or as none."""
    try:
        with file.with_name(f"{file.name}.wal").open("rb") as wal:
            return not wal.read(256).startswith(_name_of(_head_of(file)))
    except OSError:
        return True


def _head_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_ITERATIONS[-1] + 8)


def _name_of(file: bytes) -> bytes:
    """What a write-ahead log begins with that belongs to a database file, in whatever state."""
    return _HEADER + b"".join(map(_varint, file[_ID])) + b"g\x00"


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
