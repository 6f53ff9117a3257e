"""One way of generating, in a process of its own: `python -m bench.generate WAY FOLDER SAMPLES`.

The folder holds the recipe and the `synth.toml` that says where its model runs.  `synth` runs the
recipe with its log; the others take the exact prompts, seeds and limits from that log and give them
to vLLM's own `LLM.generate`: `known` all at once, which is the bound; `stages` a step after the
other; `batches` so for as many samples at a time as the engine has seats.

Time and processor time count from the first request given to the engine to its last step, so
loading does not.  Steps are those of the engine where it runs in this process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LOG = "synth.duckdb"
# What can be asked at the same time, one after the other.
_STAGES = (("persona",), ("acknowledgment", "question"), ("answer",))


@dataclass(slots=True)
class Meter:
    """What an engine did from its first request on.  `began` is in seconds since 1970."""

    steps: int = 0
    requests: int = 0
    began: float = 0.0
    seconds: float = 0.0
    cpu_s: float = 0.0
    in_process: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A call of the log."""

    sample: int
    step: str
    token_ids: list[int]
    sampling: dict[str, Any]
    seed: int


def watch() -> Meter:
    """Counts what every `LLMEngine` of this process does from now on."""
    from vllm import LLMEngine

    meter = Meter()
    at = cpu = 0.0
    add, step = LLMEngine.add_request, LLMEngine.step

    def add_request(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal at, cpu
        if not meter.requests:
            meter.began, at, cpu = time.time(), time.perf_counter(), time.process_time()
        meter.requests += 1
        return add(self, *arguments, **named)

    def counted(self: Any) -> Any:
        outputs = step(self)
        meter.steps += 1
        meter.seconds, meter.cpu_s = time.perf_counter() - at, time.process_time() - cpu
        return outputs

    LLMEngine.add_request, LLMEngine.step = add_request, counted
    return meter


def run(folder: Path, samples: int) -> dict[str, Any]:
    """`synth run`, and what its log says of tokens."""
    import duckdb

    import synth

    plan = synth.compile(folder / "chain.recipe", conversations=samples)
    meter = watch()
    report = synth.run(plan, log=folder / LOG)
    if report.outcome != "finished":
        raise RuntimeError(f"the run ended {report.outcome}: {report.reason}")
    with duckdb.connect(str(folder / LOG), read_only=True) as connection:
        row = connection.execute(
            """SELECT sum(prompt_tokens), sum(completion_tokens), sum((payload ->> 'cached_tokens')::BIGINT)
               FROM events WHERE kind = 'call.completed'"""
        ).fetchone()
    assert row is not None
    return _figures(meter, *map(int, row))


def replay(folder: Path, batches: Iterator[list[Request]]) -> dict[str, Any]:
    """Gives requests to `LLM.generate`, a batch after the other."""
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import RequestOutputKind

    llm = LLM(**arguments(folder))
    meter = watch()
    prompt = completion = cached = 0
    for batch in batches:
        outputs = llm.generate(
            [{"prompt_token_ids": request.token_ids} for request in batch],
            [
                SamplingParams(**each.sampling, seed=each.seed, output_kind=RequestOutputKind.FINAL_ONLY)
                for each in batch
            ],
            use_tqdm=False,
        )
        for output in outputs:
            prompt += len(output.prompt_token_ids)
            completion += len(output.outputs[0].token_ids)
            cached += output.num_cached_tokens or 0
    return _figures(meter, prompt, completion, cached)


def arguments(folder: Path) -> dict[str, Any]:
    """What the engine of `synth run` gives to vLLM for the folder's model."""
    import vllm

    import synth
    from runtime.config import load
    from runtime.engines.vllm import VllmEngine

    plan = synth.compile(folder / "chain.recipe")
    engine = VllmEngine(load(folder).spec(plan.models[0]))
    plain, found = vllm.EngineArgs, {}

    class Noted(Exception):
        pass

    def note(**named: Any) -> None:
        found.update(named)
        raise Noted

    vllm.EngineArgs = note
    try:
        engine._load()
    except Noted:
        return found
    finally:
        vllm.EngineArgs = plain
    raise RuntimeError("the engine was loaded without EngineArgs")


def logged(folder: Path) -> list[Request]:
    """Every call of the folder's log, in order of samples and then of time."""
    import duckdb

    with duckdb.connect(str(folder / LOG), read_only=True) as connection:
        rows = connection.execute(
            """SELECT dense_rank() OVER (ORDER BY first), step, payload FROM (
                   SELECT *, min(seq) OVER (PARTITION BY sample_id) AS first
                   FROM events WHERE kind = 'call.completed')
               ORDER BY first, seq"""
        ).fetchall()
    found = []
    for sample, step, payload in rows:
        call = json.loads(payload)
        found.append(Request(sample - 1, step, call["token_ids"], call["sampling"], call["seed"]))
    return found


def known(requests: Sequence[Request], seats: int) -> Iterator[list[Request]]:
    yield list(requests)


def stages(requests: Sequence[Request], seats: int) -> Iterator[list[Request]]:
    for names in _STAGES:
        yield [request for request in requests if request.step in names]


def batches(requests: Sequence[Request], seats: int) -> Iterator[list[Request]]:
    for start in range(0, max(request.sample for request in requests) + 1, seats):
        yield from stages([r for r in requests if start <= r.sample < start + seats], seats)


WAYS = {"known": known, "stages": stages, "batches": batches}


def _figures(meter: Meter, prompt: int, completion: int, cached: int) -> dict[str, Any]:
    meter.in_process = os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0"
    return {
        **asdict(meter),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cached_tokens": cached,
    }


def main() -> None:
    way, folder, samples, seats = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    os.chdir(folder)
    found = run(folder, samples) if way == "synth" else replay(folder, WAYS[way](logged(folder), seats))
    (folder / f"{way}.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
