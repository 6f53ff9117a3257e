"""The script most people write: the `openai` client as it comes, on asyncio.

python -m bench.peers.openai_sdk p4 --samples 1000 --url URL --out FILE
"""

from __future__ import annotations

import asyncio

from bench.lib.workload import Job, Messages, job, request, run


async def main(job: Job) -> None:
    import openai

    async with openai.AsyncOpenAI(base_url=job.url, api_key="unused") as client:

        async def ask(messages: Messages, seed: int, wants_json: bool) -> str:
            answer = await client.chat.completions.create(**request(messages, seed, wants_json))
            return answer.choices[0].message.content or ""

        await run(job, ask)


if __name__ == "__main__":
    asyncio.run(main(job(__doc__)))
