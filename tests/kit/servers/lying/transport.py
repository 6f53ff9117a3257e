"""Lies below HTTP, in HTTP, and about how a body is packed."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

from tests.kit.servers.lying.server import Exchange, Lie, listed

LIES: dict[str, Lie] = {}
lie = listed(LIES)


@lie
async def hangs_up(exchange: Exchange) -> None:
    await exchange.hang_up()


@lie
async def resets(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 So\r\nContent-Length: 500\r\n\r\n{")
    exchange.writer.transport.abort()
    await exchange.hang_up()


@lie
async def speaks_tls(exchange: Exchange) -> None:
    await exchange.send(b"\x16\x03\x01\x00\xa5\xff\xfe\r\n\r\n")
    await exchange.hang_up()


@lie
async def promises_more(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 So\r\nContent-Length: 9000\r\n\r\n", exchange.right)
    await exchange.hang_up()


@lie
async def promises_less(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 So\r\nContent-Length: 20\r\n\r\n", exchange.right)


@lie
async def two_lengths(exchange: Exchange) -> None:
    await exchange.reply(exchange.right, 200, "Content-Length: 3")
    await exchange.hang_up()


@lie
async def length_below_zero(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 So\r\nContent-Length: -5\r\n\r\n", exchange.right)
    await exchange.hang_up()


@lie
async def goes_on_speaking(exchange: Exchange) -> None:
    """What is said after an answer is the answer to nobody."""
    more = exchange.right.replace(b"Fine.", b"Stale.")
    head = "HTTP/1.1 200 So\r\nContent-Length: {}\r\n\r\n"
    await exchange.send(
        *(part for body in (exchange.right, more) for part in (head.format(len(body)).encode(), body))
    )


@lie
async def chunks_of_nothing(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 So\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
    await exchange.hang_up()


@lie
async def chunks_with_trailers(exchange: Exchange) -> None:
    size = f"{len(exchange.right):x};a=b\r\n".encode()
    await exchange.send(b"HTTP/1.1 200 So\r\nTransfer-Encoding: chunked\r\n\r\n", size, exchange.right)
    await exchange.send(b"\r\n0\r\nX-Late: 1\r\n\r\n")


@lie
async def old_fashioned(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.0 200 So\r\n\r\n", exchange.right)
    await exchange.hang_up()


@lie
async def goes_on_for_ever(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 So\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(2000):
        await exchange.send(b"8000\r\n", b" " * 0x8000, b"\r\n")


@lie
async def a_byte_at_a_time(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 So\r\nContent-Length: 9000\r\n\r\n")
    while True:
        await exchange.send(b" ")
        await asyncio.sleep(0.05)


@lie
async def says_to_go_on(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)
    await exchange.reply(exchange.right)


@lie
async def headers_without_end(exchange: Exchange) -> None:
    await exchange.reply(exchange.right, 200, *(f"X-{n}: {n}" for n in range(5000)))
    await exchange.hang_up()


@lie
async def a_header_of_a_megabyte(exchange: Exchange) -> None:
    await exchange.reply(exchange.right, 200, f"X-Long: {'a' * 1_000_000}")
    await exchange.hang_up()


@lie
async def odd_headers(exchange: Exchange) -> None:
    await exchange.reply(
        exchange.right, 200, "Set-Cookie: a=\xff\xfe", "X-Odd: \xed\xa0\x80", kind="text/x; charset=rot13"
    )


@lie
async def wants_to_be_another_protocol(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    await exchange.hang_up()


def _with_status(status: int, body: bytes = b"", *headers: str) -> Lie:
    async def tell(exchange: Exchange) -> None:
        await exchange.reply(body, status, *headers)

    return tell


for _status in (204, 206, 304, 500, 999):
    LIES[f"status_{_status}"] = _with_status(_status)
for _status in (302, 307):
    LIES[f"leads_away_{_status}"] = _with_status(_status, b"", "Location: http://127.0.0.2:9/v1/x")
LIES["leads_to_a_file"] = _with_status(302, b"", "Location: file:///etc/passwd")
LIES["leads_nowhere"] = _with_status(302)
LIES["leads_to_itself"] = _with_status(307, b"", "Location: /v1/elsewhere")
for _name, _wait in {
    "wait_nan": "nan",
    "wait_huge": "1e308",
    "wait_negative": "-5",
    "wait_past": "Thu, 01 Jan 1970 00:00:00 GMT",
    "wait_far": "Fri, 31 Dec 9999 23:59:59 GMT",
    "wait_words": "soon\x80",
}.items():
    LIES[_name] = _with_status(429, b"{}", f"Retry-After: {_wait}")


def _packed(packing: str, pack: Callable[[bytes], bytes]) -> Lie:
    async def tell(exchange: Exchange) -> None:
        await exchange.reply(pack(exchange.right), 200, f"Content-Encoding: {packing}")

    return tell


_ZEROS = 6 << 20
_BOMB = gzip.compress(b" " * _ZEROS, 9)


def _raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


LIES |= {
    "packed": _packed("gzip", gzip.compress),
    "packed_raw": _packed("deflate", _raw),
    "packed_twice": _packed("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "packed_thrice": _packed("gzip, gzip, gzip", lambda data: data),
    "not_packed": _packed("gzip", lambda data: data),
    "packed_unasked": _packed("br", lambda data: data),
    "packed_in_zstd": _packed("zstd", lambda data: b"\x28\xb5\x2f\xfd" + data),
    "packed_nothing": _packed("gzip", lambda data: b""),
    "packed_in_part": _packed("gzip", lambda data: gzip.compress(data)[:-9]),
    "packed_in_many": _packed("gzip", lambda data: gzip.compress(b"") * 4000),
    "bomb": _packed("gzip", lambda data: _BOMB),
    "bomb_deflated": _packed("deflate", lambda data: zlib.compress(b" " * _ZEROS, 9)),
    "bomb_in_a_bomb": _packed("gzip, gzip", lambda data: gzip.compress(_BOMB)),
}
