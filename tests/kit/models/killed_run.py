"""Runs a recipe on the tiny model in vLLM's own processes, kills them once, and prints what came of it.

A program of its own: vLLM decides once a process whether the model gets processes of its own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from threading import Thread

import synth
from tests.kit.models.killed_core import core_processes

RECIPE = """\
edition 1

recipe killed { seed = 1 }

model base: model<chat, template> from vllm("somewhere") { temperature = 1.0, max_tokens = 200 }

conversation talk times 12 {
  turn question: user by base { prompt = "Ask something.", retry = 9 }
  turn answer: model by base { sees = transcript, retry = 9 }
  train_on = [answer]
}

export train: messages from talk to "out"
"""
PLACE = """\
[models.base]
backend = "vllm"
id = "{checkpoint}"
max_num_seqs = 4
kv_cache_gb = 0.25
threads = 1
"""


def strike(progress: Path) -> None:
    """Kill the engine's processes as soon as some call has been answered and logged."""
    while not progress.exists() or not any(
        step["completed"] for step in json.loads(progress.read_text("utf-8"))["steps"]
    ):
        time.sleep(0.01)
    for process in core_processes():
        os.kill(process.pid, signal.SIGKILL)


def main(checkpoint: str) -> None:
    Path("killed.recipe").write_text(RECIPE, "utf-8")
    Path("synth.toml").write_text(PLACE.format(checkpoint=checkpoint), "utf-8")
    log = Path("synth.duckdb")
    Thread(target=strike, args=(Path("progress.json"),), daemon=True).start()
    report = synth.run(synth.compile(Path("killed.recipe")), log=log)
    done = {"outcome": report.outcome, "counts": report.counts}
    print(json.dumps({**done, "left": [process.name() for process in core_processes()]}))


if __name__ == "__main__":
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
    main(sys.argv[1])
