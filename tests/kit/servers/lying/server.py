"""A server that answers with a lie as often as it is told to, and as it should from then on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Self

Body = dict[str, Any]
Lie = Callable[["Exchange"], Awaitable[None]]


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


def listed(lies: dict[str, Lie]) -> Callable[[Lie], Lie]:
    """A decorator that puts a lie among these by its name."""

    def add(made: Lie) -> Lie:
        lies[made.__name__] = made
        return made

    return add
