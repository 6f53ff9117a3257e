# mypy: disable-error-code="import-not-found"
"""Other ways to map a table: one call for each row of a JSONL file, its columns kept.

python -m bench.peers.mapped datatrove --file FILE --url URL --out FILE
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from bench.lib.workload import request, user

SLOTS = 256


def aiohttp_loop(file: Path, url: str, out: Path) -> None:
    """The least a script can do: all rows in memory, nothing kept until the end."""
    import aiohttp

    async def all_rows() -> None:
        rows = [json.loads(line) for line in file.open(encoding="utf-8")]
        slots = asyncio.Semaphore(SLOTS)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=SLOTS)) as session:

            async def one(row: dict[str, Any]) -> str:
                body = request(user(row["body"]), 1, wants_json=False)
                async with slots, session.post(f"{url}/chat/completions", json=body) as response:
                    answer = await response.json()
                return json.dumps({**row, "answer": answer["choices"][0]["message"]["content"]})

            made = await asyncio.gather(*map(one, rows))
        out.write_text("".join(f"{line}\n" for line in made), "utf-8")

    asyncio.run(all_rows())


def datatrove(file: Path, url: str, out: Path) -> None:
    """Its reader of JSON Lines, its inference runner and its writer."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    async def rollout(document: Document, generate: Any) -> str:
        answer = await generate(request(user(document.text), 1, wants_json=False))
        text: str = answer.text
        return text

    folder = out.with_suffix("")
    runner = InferenceRunner(
        rollout,
        InferenceConfig(
            server_type="endpoint",
            model_name_or_path="bench",
            # It adds /v1 and the route itself.
            endpoint_url=url.removesuffix("/v1"),
            max_concurrent_generations=SLOTS,
            max_concurrent_documents=2 * SLOTS,
        ),
        JsonlWriter(str(folder / "rows"), compression=None),
    )
    reader = JsonlReader(str(file.parent), glob_pattern=file.name, text_key="body", doc_progress=False)
    LocalPipelineExecutor([reader, runner], logging_dir=str(folder / "logs")).run()


MAPS = {mapper.__name__: mapper for mapper in (aiohttp_loop, datatrove)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(MAPS))
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    MAPS[arguments.name](arguments.file, arguments.url, arguments.out)


if __name__ == "__main__":
    main()
