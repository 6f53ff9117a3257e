"""Ways of generating, in a process of their own: `python -m bench.lib.generate FOLDER LOAD WAY...`.

The folder holds the recipe and the `synth.toml` that says where its model runs; the load is samples,
seats and the most tokens of an answer, with commas between.  `synth` runs the
recipe with its log.  The others take the exact prompts, seeds and limits from that log and give them
to vLLM's own `LLM.generate`, with an engine and requests made as those of the run: `known` all at once,
which is the bound; `stages` a step after the other; `batches` so for as many samples at a time as the
engine has seats.  They share one engine, whose prefix cache is emptied between them.

Time and processor time count from the first request given to the engine to its last step, so
loading does not.  Steps are those of the engine where it runs in this process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import Call

LOG = "synth.duckdb"
# What can be asked at the same time, one after the other.
_STAGES = (("persona",), ("acknowledgment", "question"), ("answer",))


@dataclass(slots=True)
class Meter:
    """What an engine did from its first request on.  `began` is in seconds since 1970, `engine_cpu_s`
    the processor time of the thread that is in the engine, while it is there."""

    steps: int = 0
    requests: int = 0
    began: float = 0.0
    seconds: float = 0.0
    cpu_s: float = 0.0
    engine_cpu_s: float = 0.0
    in_process: bool = False

    def reset(self) -> None:
        self.steps = self.requests = 0
        self.engine_cpu_s = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """A call of the log: the number it has there, from 0, and its sample's."""

    number: int
    sample: int
    step: str
    token_ids: list[int]
    sampling: dict[str, Any]
    seed: int

    def call(self) -> Call:
        """The call as the engine of the run was given it."""
        return Call(
            key="",
            messages=(),
            token_ids=tuple(self.token_ids),
            schema=None,
            sampling=Sampling(**self.sampling),
            seed=self.seed,
        )


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
        entered = time.thread_time()
        try:
            return add(self, *arguments, **named)
        finally:
            meter.engine_cpu_s += time.thread_time() - entered

    def counted(self: Any) -> Any:
        entered = time.thread_time()
        outputs = step(self)
        meter.steps += 1
        meter.engine_cpu_s += time.thread_time() - entered
        meter.seconds, meter.cpu_s = time.perf_counter() - at, time.process_time() - cpu
        return outputs

    LLMEngine.add_request, LLMEngine.step = add_request, counted
    return meter


def run(folder: Path, samples: int, longest: int) -> dict[str, Any]:
    """`synth run`, and what its log says of tokens."""
    import duckdb

    import synth

    plan = synth.compile(folder / "chain.recipe", conversations=samples, longest=longest)
    meter = watch()
    report = synth.run(plan, log=folder / LOG)
    if report.outcome != "finished":
        raise RuntimeError(f"the run ended {report.outcome}: {report.reason}")
    with duckdb.connect(str(folder / LOG), read_only=True) as connection:
        row = connection.execute(
            """SELECT sum(prompt_tokens), sum(completion_tokens), sum((payload ->> 'cached_tokens')::BIGINT),
                      quantile_disc(completion_tokens, [0.1, 0.5, 0.9, 1.0])
               FROM events WHERE kind = 'call.completed'"""
        ).fetchone()
    assert row is not None
    *sums, lengths = row
    return _figures(meter, *map(int, sums)) | {"lengths": lengths}


class Replay:
    """A log's calls, given to `LLM.generate`."""

    def __init__(self, folder: Path, requests: Sequence[Request]) -> None:
        self._requests = requests
        import synth
        from synth.runtime.engines.local.vllm import VllmEngine
        from synth.runtime.engines.local.vllm_process import tell_torch
        from synth.runtime.settings import load

        plan = synth.compile(folder / "chain.recipe")
        # It sets vLLM's environment as a run does, which has to come before vLLM is imported.
        arguments = VllmEngine(load(folder).spec(plan.models[0])).engine_arguments()
        import torch
        from vllm import LLM

        if not torch.cuda.is_available():
            tell_torch()
        self._llm = LLM(**arguments)
        self._meter = watch()

    def generate(self, batches: Iterator[list[Request]]) -> dict[str, Any]:
        """Generates a batch after the other and says what it took."""
        from synth.runtime.engines.local.vllm import sampling_params

        self._llm.reset_prefix_cache()
        self._meter.reset()
        prompt = completion = cached = 0
        answers: dict[int, Sequence[int]] = {}
        for batch in batches:
            outputs = self._llm.generate(
                [{"prompt_token_ids": request.token_ids} for request in batch],
                [sampling_params(request.call()) for request in batch],
                use_tqdm=False,
            )
            for request, output in zip(batch, outputs, strict=True):
                answers[request.number] = output.outputs[0].token_ids
                prompt += len(output.prompt_token_ids)
                completion += len(output.outputs[0].token_ids)
                cached += output.num_cached_tokens or 0
        block = self._llm.llm_engine.vllm_config.cache_config.block_size
        best = best_cached(
            ((request.token_ids, answers[request.number]) for request in self._requests), block
        )
        return _figures(self._meter, prompt, completion, cached) | {"best_cached_tokens": best}


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
    requests = []
    for number, (sample, step, payload) in enumerate(rows):
        call = json.loads(payload)
        requests.append(Request(number, sample - 1, step, call["token_ids"], call["sampling"], call["seed"]))
    return requests


def best_cached(calls: Iterable[tuple[Sequence[int], Sequence[int]]], block: int) -> int:
    """How many prompt tokens a prefix cache can have at the most, of (prompt, answer) pairs.

    That is with one call after the other, in an order where each follows those whose answers
    it repeats, and with room for everything.  A cache holds whole blocks of tokens, and the last
    token of a prompt is always computed.
    """
    kept: set[tuple[int, ...]] = set()
    cached = 0
    for prompt, answer in calls:
        whole = (*prompt, *answer)
        end = 0
        while end + block < len(prompt) and whole[: end + block] in kept:
            end += block
        cached += end
        # The last token that was generated is never read again.
        kept.update(whole[:size] for size in range(block, len(whole), block))
    return cached


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
    folder, ways = Path(sys.argv[1]), sys.argv[3:]
    samples, seats, longest = map(int, sys.argv[2].split(","))
    os.chdir(folder)
    if ways == ["synth"]:
        results = {"synth": run(folder, samples, longest)}
    else:
        requests = logged(folder)
        replay = Replay(folder, requests)
        results = {way: replay.generate(WAYS[way](requests, seats)) for way in ways}
    for way, figures in results.items():
        (folder / f"{way}.json").write_text(json.dumps(figures), "utf-8")


if __name__ == "__main__":
    main()
