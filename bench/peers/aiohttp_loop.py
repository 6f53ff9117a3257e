"""The least a script can do: one event loop, aiohttp, nothing kept until the end.

    python -m bench.peers.aiohttp_loop p4 --samples 1000 --url URL --out FILE

BENCH_UVLOOP=1 runs it on uvloop.
"""

from __future__ import annotations

import asyncio
import os

from bench.lib.workload import Job, Messages, job, request, run


async def main(job: Job) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=job.slots)) as session:

        async def ask(messages: Messages, seed: int, wants_json: bool) -> str:
            body = request(messages, seed, wants_json)
            async with session.post(f"{job.url}/chat/completions", json=body) as response:
                answer = await response.json()
            text: str = answer["choices"][0]["message"]["content"]
            return text

        await run(job, ask)


if __name__ == "__main__":
    if os.environ.get("BENCH_UVLOOP") == "1":
        import uvloop

        uvloop.install()
    asyncio.run(main(job(__doc__)))
