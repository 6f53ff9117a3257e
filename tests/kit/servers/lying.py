"""A service that lies: below HTTP, in HTTP, about how its bodies are packed, in JSON, and in each field.

Written on sockets, since no library sends such things.  The first requests of a server meet its lie,
and all others are answered as they should be.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

Body = dict[str, Any]
Lie = Callable[["Exchange"], Awaitable[None]]

LIES: dict[str, Lie] = {}
# Lies in a completion's fields, for each of the two protocols.
FIELDS: dict[str, Callable[[Body], Any]] = {}
GEMINI: dict[str, Callable[[Body], Any]] = {}


class Exchange:
    """One request and the right answer to it; whatever is written goes out as it stands."""

    def __init__(self, writer: asyncio.StreamWriter, headers: Mapping[str, str], right: bytes) -> None:
        self.writer = writer
        self.headers = headers
        self.right = right
        self.closing = False

    async def send(self, *parts: bytes) -> None:
        self.writer.writelines(parts)
        await self.writer.drain()

    async def reply(
        self, body: bytes, status: int = 200, *headers: str, kind: str = "application/json"
    ) -> None:
        lines = [f"HTTP/1.1 {status} So", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"), body)

    async def hang_up(self) -> None:
        self.closing = True


class LyingServer:
    """On a thread of its own.  `times` requests meet the lie; `seen` has what came, headers and path."""

    def __init__(self, lie: Lie, times: int = 2) -> None:
        self.lie, self.times = lie, times
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connection(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(":") for line in head[1:] if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                request = json.loads(await reader.readexactly(int(headers.get("content-length", 0))))
                path = head[0].split()[1]
                self.seen.append((path, headers))
                exchange = Exchange(writer, headers, json.dumps(right(path, request)).encode())
                await (self.lie(exchange) if len(self.seen) <= self.times else exchange.reply(exchange.right))
                if exchange.closing:
                    break
        writer.close()


def right(path: str, request: Body) -> Body:
    """The answer as it should be."""
    if path.endswith("/embeddings"):
        return {"data": [{"index": n, "embedding": [1.0, 0.5, n]} for n in range(len(request["input"]))]}
    if "generateContent" in path:
        candidate = {"content": {"parts": [{"text": "Fine."}]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m-1"}
    return {
        "id": "x",
        "model": "m-1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }


def lie(made: Lie) -> Lie:
    LIES[made.__name__] = made
    return made


def fields(lies: Mapping[str, Callable[[Body], Any]], name: str) -> Lie:
    """The right answer with a lie in its fields: changed in place, or put in its place as bytes."""

    async def tell(exchange: Exchange) -> None:
        body = json.loads(exchange.right)
        changed = lies[name](body)
        await exchange.reply(changed if isinstance(changed, bytes) else json.dumps(body).encode())

    return tell


# Below HTTP, and in it ------------------------------------------------------------------


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


# How a body is packed -------------------------------------------------------------------


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


# What a body says -----------------------------------------------------------------------


def _body(data: bytes, kind: str = "application/json") -> Lie:
    async def tell(exchange: Exchange) -> None:
        await exchange.reply(data, kind=kind)

    return tell


LIES |= {
    "empty": _body(b""),
    "page": _body(b"<html><body>please log in</body></html>", "text/html"),
    "stream": _body(b'data: {"choices":[{"delta":{}}]}\n\ndata: [DONE]\n\n', "text/event-stream"),
    "deep": _body(b"[" * 100_000),
    "deep_objects": _body(b'{"error":' * 900 + b"1" + b"}" * 900),
    "many_values": _body(b"[" + b"[]," * 700_000 + b"[]]"),
    "latin": _body(b'{"choices": [{"message": {"content": "caf\xe9"}}]}'),
    "list": _body(b"[]"),
    "null": _body(b"null"),
    "number": _body(b"1" * 6000),
    "not_a_number": _body(b"NaN"),
    "error_401": _body(b'{"error": {"code": 401, "message": "no such key"}}'),
    "error_429": _body(b'{"error": {"code": "429", "message": "slow down"}}'),
    "error_503": _body(b'{"error": {"code": 503, "message": "later"}}'),
    "error_list": _body(b'{"error": [[[["odd"]]]]}'),
}


def _each(exchange: Exchange) -> Iterator[str]:
    yield from exchange.headers.values()


@lie
async def marked_order(exchange: Exchange) -> None:
    await exchange.reply(b"\xef\xbb\xbf" + exchange.right)


@lie
async def repeats_in_an_error(exchange: Exchange) -> None:
    said = json.dumps({"error": {"message": "your headers: " + " ".join(_each(exchange))}})
    await exchange.reply(said.encode(), 400)


@lie
async def repeats_in_a_page(exchange: Exchange) -> None:
    said = "<html><body>" + "x" * 19_990 + " ".join(_each(exchange)) + "</body></html>"
    await exchange.reply(said.encode(), 502, kind="text/html")


@lie
async def repeats_in_an_answer(exchange: Exchange) -> None:
    said = json.dumps(" ".join(_each(exchange)))[1:-1].encode()
    await exchange.reply(exchange.right.replace(b"Fine.", said).replace(b"m-1", said))


@lie
async def repeats_encoded(exchange: Exchange) -> None:
    import base64
    from urllib.parse import quote

    said = " ".join(
        form
        for value in _each(exchange)
        for form in (
            quote(value, safe=""),
            value.encode().hex(),
            base64.b64encode(b"a" + value.encode()).decode(),
            base64.urlsafe_b64encode(value.encode()).decode(),
        )
    )
    await exchange.reply(exchange.right.replace(b"Fine.", said.encode()))


# What a field says ----------------------------------------------------------------------


def _of(*path: str | int, value: Any) -> Callable[[Body], None]:
    def change(body: Body) -> None:
        at: Any = body
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


def _text(old: bytes, new: bytes) -> Callable[[Body], bytes]:
    return lambda body: json.dumps(body).encode().replace(old, new)


_ODD_COUNTS = {
    "below_zero": -100_000,
    "beyond_31_bits": 2**31,
    "beyond_63_bits": 2**63,
    "half": 0.5,
    "not_a_number": float("nan"),
    "endless": float("inf"),
    "true": True,
    "words": "many",
    "list": [1],
}
_CHOICE = ("choices", 0, "message", "content")
_PART = ("candidates", 0, "content", "parts")
FIELDS |= {
    **{f"tokens_{name}": _of("usage", "prompt_tokens", value=odd) for name, odd in _ODD_COUNTS.items()},
    "tokens_of_4000_digits": _text(b'"prompt_tokens": 5', b'"prompt_tokens": ' + b"9" * 5000),
    "tokens_1e400": _text(b'"prompt_tokens": 5', b'"prompt_tokens": 1e400'),
    "total_of_a_million_million": _of("usage", "total_tokens", value=10**12),
    "usage_is_words": _of("usage", value="many"),
    "model_is_a_list": _of("model", value=["m"]),
    "model_is_half_a_character": _of("model", value="m\ud800\0\x1b[2J"),
    "model_of_a_megabyte": _of("model", value="m" * 1_000_000),
    "text_is_half_a_character": _of(*_CHOICE, value="a\ud800b\0 c"),
    "text_is_null": _of(*_CHOICE, value=None),
    "text_is_an_object": _of(*_CHOICE, value={"a": 1}),
    "text_is_a_number": _of(*_CHOICE, value=7),
    "text_in_parts": _of(*_CHOICE, value=[{"type": "text", "text": "Fine."}]),
    "parts_are_odd": _of(*_CHOICE, value=[5, None, {"type": ["x"]}, [[]]]),
    "choices_are_words": _of("choices", value="x"),
    "no_choices": _of("choices", value=[]),
    "ended_by_a_number": _of("choices", 0, "finish_reason", value=7),
    "ended_by_a_list": _of("choices", 0, "finish_reason", value=[[]]),
    "calls_a_tool": _of("choices", 0, "message", value={"tool_calls": [{"id": "\ud800"}], "content": None}),
    "refusal_is_a_list": _of("choices", 0, "message", "refusal", value=[{"a": "\ud800"}]),
    "thinks_deeply": _of("choices", 0, "message", "reasoning", value=[[[[{"text": ["\ud800"]}]]]]),
    "thinks_again_and_again": _of(*_CHOICE, value="<think>a</think>\n" * 20_000 + "Fine."),
    "keys_twice": _text(b'"id": "x"', b'"id": "x", "usage": [], "usage": {}, "choices": 5'),
}
GEMINI |= {
    **{
        f"tokens_{name}": _of("usageMetadata", "promptTokenCount", value=odd)
        for name, odd in _ODD_COUNTS.items()
        if name in ("beyond_31_bits", "not_a_number")
    },
    "usage_is_a_list": _of("usageMetadata", value=[1]),
    "model_is_half_a_character": _of("modelVersion", value="m\ud800"),
    "text_is_half_a_character": _of(*_PART, value=[{"text": "a\ud800b"}]),
    "parts_are_words": _of(*_PART, value="x"),
    "parts_are_odd": _of(*_PART, value=[5, None, {"text": 7}, [[]]]),
    "candidates_are_words": _of("candidates", value="x"),
    "blocked_by_an_object": _of("promptFeedback", value={"blockReason": {"a": ["\ud800"]}}),
    "ended_by_a_number": _of("candidates", 0, "finishReason", value=7),
    "calls_a_function": _of(*_PART, value=[{"functionCall": {"name": "\ud800"}}]),
}
