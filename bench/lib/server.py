"""A server on the loopback that answers chat completions after a fixed time, and keeps the time.

    python -m bench.lib.server          # prints its port

It speaks just enough HTTP/1.1 for the clients that are measured against it, and costs some 30
microseconds a call, so that what is measured is the client.  At most `slots` calls are served at
once; the rest wait their turn, as they would for a model.

What it answers depends on the request's bytes alone: one sentence that fits the persona recipe's
checks, or JSON for `bench/recipes/cards.recipe` where JSON is asked for.  With `malformed`, every
tenth request for JSON by its hash is answered by half of it: the first time, so that a client which
repeats the request, and one which asks with another seed, both get on.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import deque
from contextlib import suppress
from hashlib import sha256
from types import TracebackType
from typing import Any, Self, cast

from bench.lib.harness import ROOT, environment

_WORDS = (
    "amber anchor archive atlas autumn basin beacon bridge candle canvas cedar circle copper cotton "
    "delta desert echo ember engine family feather ferry forest garden glass granite harbor harvest "
    "hidden island ivory journey kettle ladder lantern letter lively machine maple market meadow memory "
    "mirror morning narrow needle notice ocean orchard paper patient planet quiet ribbon river saddle"
).split()
_WANTS_JSON = (b'"response_format"', b"JSON")
_MALFORMED_ONE_IN = 10


class ServerCounts:
    """What was asked and answered since the last reset, and how the server behaves."""

    def __init__(self, latency_s: float = 0.2, slots: int = 256, malformed: bool = False) -> None:
        self.latency_s = latency_s
        self.slots = slots
        self.malformed = malformed
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.spoiled = 0
        self.first = self.last = 0.0
        self.busy = self.most_busy = 0
        self.waiting: deque[tuple[Connection, bytes, str]] = deque()
        self._seen: set[str] = set()
        self._cpu = time.process_time()

    def stats(self) -> dict[str, Any]:
        return {
            "asked": len(self.asked),
            "answered": len(self.answered),
            "spoiled": self.spoiled,
            "most_busy": self.most_busy,
            "seconds": max(0.0, self.last - self.first),
            "cpu_s": time.process_time() - self._cpu,
        }

    def text(self, body: bytes, key: str) -> str:
        """The answer to a request.  It holds the request's key, which makes it unlike all others."""
        picked = [_WORDS[int(key[i : i + 2], 16) % len(_WORDS)] for i in range(16, 32, 2)]
        if not any(mark in body for mark in _WANTS_JSON):
            return f"You are Ref-{key[:16]}, keeper of {' '.join(picked[:4])} and {' '.join(picked[4:])}."
        text = json.dumps({"name": f"Ref-{key[:16]}", "age": 20 + int(key[:2], 16) % 60, "trade": picked[0]})
        spoil = self.malformed and int(key[32:40], 16) % _MALFORMED_ONE_IN == 0 and key not in self._seen
        self._seen.add(key)
        self.spoiled += spoil
        return text[: len(text) // 2] if spoil else text


class Connection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = b""
        self._last = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            whole = end + 4 + length
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._last = b"\r\nconnection: close" in head
            self._service.received(self, head.split(b" ", 2)[1], body)

    def send(self, body: bytes) -> bool:
        """False when the client has gone away."""
        if self.transport is None or self.transport.is_closing():
            return False
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)
        if self._last:
            self.transport.close()
        return True


class Service:
    """The routes, and the slots."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ledger = ServerCounts()

    def received(self, connection: Connection, path: bytes, body: bytes) -> None:
        if path.endswith(b"/chat/completions"):
            ledger = self.ledger
            if not ledger.asked:
                ledger.first = time.perf_counter()
            key = sha256(body).hexdigest()
            ledger.asked.append(key)
            ledger.waiting.append((connection, body, key))
            self._serve(ledger)
        elif path == b"/reset":
            self.ledger = ServerCounts(**json.loads(body))
            connection.send(b"{}")
        elif path == b"/calls":
            calls = {"asked": self.ledger.asked, "answered": self.ledger.answered}
            connection.send(json.dumps(calls).encode())
        else:
            connection.send(json.dumps(self.ledger.stats()).encode())

    def _serve(self, ledger: ServerCounts) -> None:
        while ledger.waiting and ledger.busy < ledger.slots:
            ledger.busy += 1
            ledger.most_busy = max(ledger.most_busy, ledger.busy)
            self._loop.call_later(ledger.latency_s, self._answer, ledger, *ledger.waiting.popleft())

    def _answer(self, ledger: ServerCounts, connection: Connection, body: bytes, key: str) -> None:
        ledger.busy -= 1
        text = json.dumps(ledger.text(body, key))
        written = connection.send(
            b'{"id":"chatcmpl-%s","object":"chat.completion","created":1700000000,"model":"bench",'
            b'"choices":[{"index":0,"message":{"role":"assistant","content":%s,"refusal":null},'
            b'"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,'
            b'"completion_tokens":%d,"total_tokens":%d}}'
            % (key[:24].encode(), text.encode(), len(body) // 4, len(text) // 4, (len(body) + len(text)) // 4)
        )
        if written:
            ledger.answered.append(key)
            ledger.last = time.perf_counter()
        self._serve(ledger)


class Server:
    """The server in a process of its own, as the benchmarks talk to it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.lib.server"], cwd=ROOT, env=environment(), stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def url(self) -> str:
        """What an OpenAI client is pointed at."""
        return f"http://127.0.0.1:{self.port}/v1"

    def reset(self, **settings: Any) -> None:
        """Forgets what was asked; `settings` are those of `ServerCounts`."""
        self._ask("/reset", json.dumps(settings).encode())

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self._ask("/stats")
        return stats

    def calls(self) -> dict[str, list[str]]:
        """The keys of the requests that were `asked`, and `answered`, in order."""
        calls: dict[str, list[str]] = self._ask("/calls")
        return calls

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        # No proxy: the loopback is nobody else's business.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", data=body, timeout=30) as response:
            return json.load(response)


async def serve() -> None:
    """Serves until SIGTERM; prints the port."""
    loop = asyncio.get_running_loop()
    service, stopped = Service(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()


def main() -> None:
    with suppress(ModuleNotFoundError):
        import uvloop

        uvloop.install()
    asyncio.run(serve())


if __name__ == "__main__":
    main()
