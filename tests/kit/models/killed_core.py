"""Runs the tiny model in vLLM's own processes, interrupts them, kills them, and prints what came of it.

A program of its own: vLLM decides once a process whether the model gets processes of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from importlib import import_module
from typing import Any

from synth.base.errors import CallFailed
from synth.runtime.engines.base import EngineSpec
from tests.kit.models.calls import call, zeros


def core_processes() -> list[Any]:
    psutil = import_module("psutil")
    return [child for child in psutil.Process().children(recursive=True) if "VLLM" in child.name()]


async def main(checkpoint: str) -> None:
    from synth.runtime.engines.local.vllm import VllmEngine

    options = {"max_num_seqs": 4, "kv_cache_gb": 0.25, "threads": 1}
    engine = VllmEngine(EngineSpec(name="tiny", backend="vllm", id=checkpoint, options=options))
    await engine.start()

    async def long_calls(strike: signal.Signals) -> list[str]:
        """Four calls that are running when the processes get a signal."""
        going = [
            asyncio.create_task(engine.generate(call(engine, f"{n}", schema=zeros(400)))) for n in range(4)
        ]
        await engine.generate(call(engine, "x", priority=-1, schema=zeros(1)))
        for process in core_processes():
            os.kill(process.pid, strike)
        ends = await asyncio.gather(*going, return_exceptions=True)
        return [end.kind if isinstance(end, CallFailed) else type(end).__name__ for end in ends]

    report = {
        "interrupted": await long_calls(signal.SIGINT),
        "killed": await long_calls(signal.SIGKILL),
        "again": [type(await engine.generate(call(engine, "x", schema=zeros(1)))).__name__],
    }
    await engine.close()
    report["left"] = [process.name() for process in core_processes()]
    print(json.dumps(report))


if __name__ == "__main__":
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
    asyncio.run(main(sys.argv[1]))
