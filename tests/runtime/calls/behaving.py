"""A service that behaves as it is told to, and runs on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

import synth
from tests.kit.servers.loopback import Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query
from tests.runtime.test_run import assert_counts_add_up

RECIPE = """edition 1

recipe outages { seed = 7 }

param count: count = 20

model author: model<chat> from openai("large")

conversation talk times count {
  turn question: user = "Say something about number {{ nth }}."
  turn answer: model by author { prompt = "{{ question }}", max_tokens = 60 }
  train_on = [answer]
}

export train: messages from talk to "out/talk"
"""

Deed = Callable[[OpenAIServer, int], Raw | str | None]


class Behaving(OpenAIServer):
    """Does with each request, by the number of its arrival from 1, what `deed` says: a response in
    place of an answer, `hang`, `drip`, or None for an answer."""

    def __init__(self, deed: Deed, **options: Any) -> None:
        super().__init__(**options)
        self.deed = deed
        self.arrived = 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.arrived += 1
        body = await request.json()
        done = self.deed(self, self.arrived)
        self.asked = body["messages"][-1]["content"]
        if isinstance(done, Raw):
            return web.json_response(done.body, status=done.status, headers=done.headers)
        if done == "hang":
            await asyncio.sleep(60)
        if done == "drip":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            while True:
                await response.write(b" \n")
                await asyncio.sleep(0.05)
        return await super()._handle(request)


def compiled(folder: Path, count: int = 20) -> Any:
    recipe = folder / "outages.recipe"
    recipe.write_text(RECIPE, "utf-8")
    return synth.compile(recipe, count=count)


def run(folder: Path, server: OpenAIServer, count: int = 20, **options: Any) -> synth.RunReport:
    """A run on a server; options of the model are those that its class has."""
    own = {name: options.pop(name) for name in ("timeout", "concurrency", "patience") if name in options}
    place = synth.OpenAI("large", base_url=server.base_url, **own)
    return synth.run(compiled(folder, count), log=folder / "log.duckdb", models={"author": place}, **options)


def failures(folder: Path) -> Mapping[str, int]:
    return dict(
        query(
            folder / "log.duckdb",
            "SELECT payload ->> 'failure', count(*) FROM events WHERE kind = 'call.failed' GROUP BY ALL",
        )
    )


def assert_adds_up(report: synth.RunReport, folder: Path, server: Behaving) -> None:
    """What the server was asked is what was issued, and the log has all of it."""
    assert_counts_add_up({"run_id": report.run_id, **report.counts}, folder / "log.duckdb")
    assert sum(step["issued"] for step in report.counts["steps"]) == server.arrived


def error(status: int, message: str, **headers: str) -> Raw:
    return Raw({"error": {"message": message, "code": None}}, status, headers)
