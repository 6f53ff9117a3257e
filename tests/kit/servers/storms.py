"""Schedules of faults: what a hosted service does wrong, to which of its requests, and in what order."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, get_args

from aiohttp import web

from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer

Deed = Literal[
    "ok",
    "hang",  # nothing, for longer than anybody waits
    "drip",  # a byte now and then, without an end
    "late",  # the right answer, after a while
    "drop",  # the connection closes before any byte of an answer
    "cut",  # the connection closes in the middle of the body
    "429",
    "429 soon",  # with a Retry-After of milliseconds
    "429 tomorrow",  # with one of a day
    "500",
    "502 html",
    "503",
    "401",
    "403",
    "403 moderation",
    "404",
    "400",
    "html",  # 200, and a login page
    "not json",
    "wrong json",  # 200, and JSON that is no completion
    "error in 200",
    "empty",  # a completion without a text
]
DEEDS: tuple[Deed, ...] = get_args(Deed)
_STATUS = {deed: int(deed[:3]) for deed in DEEDS if deed[:3].isdigit()}
_MESSAGES = {"403 moderation": "Your input was flagged by moderation", "400": "invalid request"}
_BODIES: Mapping[str, str] = {
    "html": "<html><body>please log in</body></html>",
    "not json": '{"choices": [',
    "wrong json": '{"choices": {"0": []}, "usage": "many"}',
    "error in 200": '{"error": {"message": "Provider returned error", "code": 502}}',
}


@dataclass(frozen=True, slots=True)
class Phase:
    """So many requests, of which a share of 1 meets a deed and the others are answered."""

    deed: Deed
    requests: int
    share: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases one after the other; after them every request meets `after`."""

    phases: tuple[Phase, ...]
    after: Deed
    seed: int = 0

    def deed(self, number: int) -> Deed:
        """What the request of this number, from 0, meets."""
        first = 0
        for phase in self.phases:
            if number < first + phase.requests:
                draw = sha256(f"{self.seed}/{number}".encode()).digest()[0] / 256
                return phase.deed if draw < phase.share else "ok"
            first += phase.requests
        return self.after


class StormyServer(OpenAIServer):
    """Follows a schedule, and counts the requests that met each deed.  `late` and `drip` take so
    many seconds, `drip` for each byte."""

    def __init__(self, schedule: Schedule, *, late_s: float = 0.03) -> None:
        super().__init__()
        self.schedule = schedule
        self.late_s = late_s
        self.arrived = 0
        self.met: Counter[str] = Counter()
        # Tokens of prompts and of answers, of all that was answered, whether it arrived or not.
        self.billed = [0, 0]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        deed = self.schedule.deed(self.arrived)
        self.arrived += 1
        await request.read()
        self.met[deed] += 1
        if deed in _STATUS:
            return self._refuse(deed)
        if deed in _BODIES:
            kind = "text/html" if deed == "html" else "application/json"
            return web.Response(text=_BODIES[deed], content_type=kind)
        if deed == "hang":
            await asyncio.sleep(3600)
        if deed == "late":
            await asyncio.sleep(self.late_s)
        if deed == "drip":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            while True:
                await response.write(b" ")
                await asyncio.sleep(self.late_s)
        if deed in ("drop", "cut"):
            return await self._break_off(request, deed)
        if deed == "empty":
            body = await request.json()
            return web.json_response(self.completion(self.read(request, body, "empty"), "", cut=False))
        return await super()._handle(request)

    def completion(self, asked: Asked, text: str, *, cut: bool) -> dict[str, Any]:
        body = super().completion(asked, text, cut=cut)
        self.billed[0] += body["usage"]["prompt_tokens"]
        self.billed[1] += body["usage"]["completion_tokens"]
        return body

    def _refuse(self, deed: Deed) -> web.Response:
        status = _STATUS[deed]
        if deed == "502 html":
            return web.Response(status=status, text="<html>Bad Gateway</html>", content_type="text/html")
        wait = {"429 soon": 0.02, "429 tomorrow": 86_400.0}.get(deed)
        raw = self.error(status, _MESSAGES.get(deed, "no"), retry_after=None)
        headers = {} if wait is None else {"retry-after-ms": str(round(1000 * wait))}
        return web.json_response(raw.body, status=status, headers=headers)

    async def _break_off(self, request: web.Request, deed: Deed) -> web.StreamResponse:
        assert request.transport is not None
        if deed == "drop":
            request.transport.close()
            return web.Response()
        data = json.dumps({"choices": [{"message": {"content": "word " * 40}}]}).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        request.transport.close()
        return response


def described(schedule: Schedule) -> Mapping[str, Any]:
    """A schedule as JSON."""
    return {
        "phases": [[phase.deed, phase.requests, phase.share] for phase in schedule.phases],
        "after": schedule.after,
        "seed": schedule.seed,
    }
