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
            return Frame(committed, at if wal.find(FLUSH, at) >= 0 else None)
        if wal.startswith(FLUSH, at):
            committed = at + len(FLUSH)
    return Frame(committed)


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
    name = b"".join(map(_varint, file[_ID]))
    return _HEADER + name + b"g\x00" + _varint(iteration) + _HEADER_END


def broken_at(path: Path) -> int | None:
    """Where a write-ahead log is broken, so that the database would stop there without a word."""
    try:
        frame = frame_of(path.read_bytes())
    except FileNotFoundError:
        return None
    return None if frame is None else frame.broken


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
