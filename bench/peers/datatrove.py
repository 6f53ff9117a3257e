# mypy: disable-error-code="import-not-found"
"""datatrove's inference runner: a rollout function a document, against an endpoint.

    python -m bench.peers.datatrove p4 --samples 1000 --url URL --out FILE

BENCH_CHECKPOINTS=1 switches on what lets it go on after a crash: a cache of requests and chunks.
"""

from __future__ import annotations

import os
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter

from bench.lib.workload import ONE, Job, Messages, job, request


def main(job: Job) -> None:
    async def rollout(document: Document, generate: Any) -> Messages:
        async def ask(messages: Messages, seed: int, wants_json: bool) -> str:
            answer = await generate(request(messages, seed, wants_json))
            text: str = answer.text
            return text

        return await ONE[job.workload](ask, int(document.id))

    keeps = os.environ.get("BENCH_CHECKPOINTS") == "1"
    folder = job.out.with_suffix("")
    runner = InferenceRunner(
        rollout,
        InferenceConfig(
            server_type="endpoint",
            model_name_or_path="bench",
            # It adds /v1 and the route itself.
            endpoint_url=job.url.removesuffix("/v1"),
            max_concurrent_generations=job.slots,
            # The chain leaves slots free otherwise.
            max_concurrent_documents=2 * job.slots,
        ),
        JsonlWriter(
            str(folder / "rows"),
            output_filename="${rank}_${chunk_index}.jsonl" if keeps else None,
            compression=None,
        ),
        checkpoints_local_dir=str(folder / "checkpoints") if keeps else None,
        records_per_chunk=100,
    )
    documents = [Document(text="sample", id=str(number)) for number in range(job.samples)]
    LocalPipelineExecutor([documents, runner], logging_dir=str(folder / "logs")).run()


if __name__ == "__main__":
    main(job(__doc__))
