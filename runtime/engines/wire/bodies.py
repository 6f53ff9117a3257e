"""Responses and their bodies: how large, how packed, and what becomes of those that are not taken.

Imports no client, so that what may be missing is asked for by who needs it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple

# No answer needs more; what a service sends beyond that is not kept in memory.
MOST_BYTES = 64 << 20
# A packed body may be made of several, one after the other.
_MOST_PARTS = 16

PACKINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class TooLarge(Exception):
    """A response's body has more than MOST_BYTES."""


class Unpackable(Exception):
    """A response's body is packed in a way that was not asked for, or not as it says."""


class Redirected(Exception):
    """A service sends its callers elsewhere; `place` is the other host, None where it is the same one,
    or where none is named."""

    def __init__(self, status: int, place: str | None) -> None:
        super().__init__(status, place)
        self.status = status
        self.place = place


class Reply(NamedTuple):
    """A response that is all there.  `headers` do not care about case."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Arrived(Exception):
    """A reply on its way past a client that would read it by itself."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def unpacked(data: bytes, packings: tuple[str, ...]) -> bytes:
    """Raises TooLarge for what would have more than MOST_BYTES, and Unpackable."""
    for packing in reversed(packings):
        data = _unpacked(data, packing) if data else data
    if len(data) > MOST_BYTES:
        raise TooLarge
    return data


def _unpacked(data: bytes, packing: str) -> bytes:
    bits = PACKINGS[packing]
    if packing == "deflate" and (data[0] & 0x0F != 8 or int.from_bytes(data[:2]) % 31):
        # Many send it without the header that the standard asks for.
        bits = -zlib.MAX_WBITS
    parts, size = list[bytes](), 0
    while data:
        if len(parts) == _MOST_PARTS:
            raise Unpackable(f"the response is packed as {packing} in more than {_MOST_PARTS} parts")
        unpacker = zlib.decompressobj(bits)
        try:
            parts.append(unpacker.decompress(data, MOST_BYTES - size + 1))
        except zlib.error:
            raise Unpackable(f"the response says that it is packed as {packing}, and it is not") from None
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise TooLarge
        if not unpacker.eof:
            raise Unpackable(f"the response is packed as {packing}, and ends too early")
        data = unpacker.unused_data if bits > zlib.MAX_WBITS else b""
    return b"".join(parts)
