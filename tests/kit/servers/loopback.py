"""A server on 127.0.0.1, on a thread or in a process of its own, that remembers what it was asked.

Everything mutable is touched on the server's event loop only; a test reads it after the
calls that it made have returned.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar, Self

from aiohttp import web

from tests.kit.servers import answers
from tests.kit.servers.faults import FAULTS, Fault, FaultPlan
from tests.kit.servers.tools import Calling, one_by_one, spoilt

VOLATILE = frozenset({"user", "metadata", "request_id", "safety_identifier"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, whatever its wire format.  `messages` are (role, text), as on the wire.

    `tools` are definitions with `name`, `description` and `parameters`.  `called` are the names of those
    called since the user last spoke, and `results` what each came to; `fault` is what a strict service
    would say of the conversation's calls.
    """

    key: str
    model: str
    messages: tuple[tuple[str, str], ...]
    schema: Mapping[str, Any] | None
    max_tokens: int | None
    body: Mapping[str, Any]
    tools: tuple[Mapping[str, Any], ...] = ()
    called: tuple[str, ...] = ()
    results: tuple[Any, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """A response given as it stands, in place of an answer."""

    body: Mapping[str, Any] | str | bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Received:
    """One request as it came.  `status` is None while it waits, and when nothing was sent."""

    key: str
    time_s: float
    headers: Mapping[str, str]
    credential: str | None
    body: Mapping[str, Any]
    fault: Fault | None = None
    status: int | None = None


Answer = Callable[[Asked], "str | Raw | Calling"]


class Loopback(ABC):
    """A server with one generating route, `/stats`, and a memory of all requests.

    `credential` and `models` are what it accepts (None: anything); `capacity` is how many
    requests it serves at once before it says 429.
    """

    route: ClassVar[str]

    def __init__(
        self,
        *,
        answer: Answer = one_by_one,
        faults: FaultPlan | None = None,
        latency_s: float = 0.0,
        credential: str | None = None,
        models: frozenset[str] | None = None,
        capacity: int | None = None,
    ) -> None:
        self.answer = answer
        self.faults = faults or FaultPlan()
        self.latency_s = latency_s
        self.credential = credential
        self.models = models
        self.capacity = capacity
        self.received: list[Received] = []
        self.by_status: Counter[int] = Counter()
        self.answered: Counter[str] = Counter()
        self.in_flight = 0
        self.max_in_flight = 0
        self.port = 0
        self._seen: Counter[str] = Counter()
        self._began = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    # The wire format

    @property
    @abstractmethod
    def base_url(self) -> str:
        """What a client is pointed at."""

    @abstractmethod
    def read(self, request: web.Request, body: Mapping[str, Any], key: str) -> Asked: ...

    @abstractmethod
    def credential_of(self, request: web.Request) -> str | None: ...

    @abstractmethod
    def completion(self, asked: Asked, text: str, *, cut: bool) -> dict[str, Any]:
        """The body of an answer; `cut` when it stopped at the limit of tokens."""

    @abstractmethod
    def calling(self, asked: Asked, given: Calling) -> dict[str, Any]:
        """The body of an answer that calls tools."""

    @abstractmethod
    def error(self, status: int, message: str, *, retry_after: float | None = None) -> Raw: ...

    # What it remembers

    @property
    def total(self) -> int:
        return len(self.received)

    def stats(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "answered": len(self.answered),
            "answered_again": sum(self.answered.values()) - len(self.answered),
        }

    # Serving

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()
        lasting = {name: value for name, value in body.items() if name not in VOLATILE}
        canonical = json.dumps([request.path, lasting], sort_keys=True)
        key = sha256(canonical.encode()).hexdigest()
        record = Received(
            key, time.monotonic() - self._began, dict(request.headers), self.credential_of(request), body
        )
        arrival, seen = len(self.received), self._seen[key]
        self.received.append(record)
        self._seen[key] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            asked = self.read(request, body, key)
            record.fault = self.faults.draw(
                arrival, key, seen, wants_json=asked.schema is not None, has_tools=bool(asked.tools)
            )
            late = self.faults.slow if record.fault == "slow" else 0.0
            if self.latency_s + late:
                await asyncio.sleep(self.latency_s + late)
            raw = self._refusal(record, asked) or self._respond(record, asked)
            return await self._send(request, record, raw)
        finally:
            self.in_flight -= 1

    def _refusal(self, record: Received, asked: Asked) -> Raw | None:
        if self.credential is not None and record.credential != self.credential:
            return self.error(401, f"the key {record.credential} is not valid")
        if self.models is not None and asked.model not in self.models:
            return self.error(404, f"the model {asked.model} does not exist")
        if self.capacity is not None and self.in_flight > self.capacity:
            return self.error(429, "too many requests at once", retry_after=self.faults.retry_after)
        if asked.fault is not None:
            return self.error(400, asked.fault)
        if record.fault == "rate_limit":
            return self.error(429, "rate limit reached", retry_after=self.faults.retry_after)
        if record.fault == "server_error":
            return self.error(500, "the server had an error")
        return None

    def _respond(self, record: Received, asked: Asked) -> Raw:
        if record.fault == "garbled":
            return Raw("<html>upstream connect error</html>")
        given = self.answer(asked)
        if isinstance(given, Raw):
            return given
        self.answered[asked.key] += 1
        if isinstance(given, Calling):
            return Raw(self.calling(asked, spoilt(given, record.fault)))
        text = answers.spoil(given, record.fault)
        room = 4 * asked.max_tokens if asked.max_tokens is not None else len(text)
        return Raw(self.completion(asked, text[:room], cut=len(text) > room))

    async def _send(self, request: web.Request, record: Received, raw: Raw) -> web.StreamResponse:
        if record.fault == "drop":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        body = json.dumps(raw.body) if isinstance(raw.body, Mapping) else raw.body
        data = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": "application/json", **raw.headers}
        if record.fault == "cut":
            response = web.StreamResponse(headers={**headers, "Content-Length": str(len(data))})
            await response.prepare(request)
            await response.write(data[: len(data) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        record.status = raw.status
        self.by_status[raw.status] += 1
        return web.Response(body=data, status=raw.status, headers=headers)

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats())

    async def serve(self, port: int, ready: Callable[[], None]) -> None:
        """Serves until `stop`; calls `ready` once `port` is known."""
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post(self.route, self._handle)
        app.router.add_get("/stats", self._stats)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
            self.port = runner.addresses[0][1]
            ready()
            await self._stopping.wait()
        finally:
            await runner.cleanup()

    def stop(self) -> None:
        """Ends `serve`, from any thread."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve(0, ready.set)), daemon=True)
        self._thread.start()
        if not ready.wait(timeout=30):
            raise RuntimeError("the loopback server did not start")
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def retry_headers(retry_after: float | None) -> dict[str, str]:
    """Retry-After in whole seconds, rounded up, as HTTP has it."""
    return {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}


def main(kind: type[Loopback], argv: Sequence[str] | None = None) -> None:
    """Serves as a process: prints the port on one line and stops at SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=kind.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--capacity", type=int, help="requests served at once before it answers 429")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--retry-after", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--slow", type=float, default=1.0, metavar="SECONDS")
    for fault in FAULTS:
        parser.add_argument(f"--{fault.replace('_', '-')}-rate", type=float, default=0.0, metavar="SHARE")
    options = vars(parser.parse_args(argv))
    rates: dict[Fault, float] = {
        fault: options[f"{fault}_rate"] for fault in FAULTS if options[f"{fault}_rate"] > 0
    }
    plan = FaultPlan(rates, seed=options["seed"], retry_after=options["retry_after"], slow=options["slow"])
    server = kind(faults=plan, latency_s=options["latency"], capacity=options["capacity"])

    def ready() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        print(server.port, flush=True)

    asyncio.run(server.serve(options["port"], ready))
