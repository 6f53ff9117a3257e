"""How near a run comes to the least time that a service allows, and what it costs on the way.

A server on the loopback answers every call after 200 or 20 ms and has 256 slots, so the least
time for `n` calls is `n * latency / 256`, or the longest chain of calls where that is more: the ideal.
Reported are the whole process over the ideal, the span from the server's first request to its last
answer over the ideal, processor time a call beyond a run of one sample, and memory.  `synth` is the
command as users run it, its log on; beside it run a bare loop and other tools, where installed.

Then the run is killed at half, and run again.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from bench.lib import workload
from bench.lib.harness import ROOT, Child, Options, Usage, measured, median_by, repeat, synth
from bench.lib.report import Bars, Report, Table
from bench.lib.server import Server
from bench.peers.environments import PEERS, python_of

SLOTS = 256
# A contender that takes longer than this is not waited for.
MOST_S = 90.0
TITLE = "Orchestration: synth run against a server that keeps the time"
# What a run after a crash may take: three times what the slowest takes undisturbed.
_SECOND_S = 60.0
_KEY = re.compile(r"Ref-([0-9a-f]{16})")
_RECIPES = {"p4": ROOT / "recipes" / "persona.recipe", "r1": ROOT / "bench" / "recipes" / "cards.recipe"}
_PARAMETERS = {"p4": "conversations", "r1": "cards"}
_MODEL = f"""[models.{{name}}]
backend = "openai"
id = "bench"
concurrency = {SLOTS}

"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One column group of the table."""

    workload: workload.Name
    latency_s: float

    def __str__(self) -> str:
        return f"{self.workload.upper()} {self.latency_s * 1000:.0f} ms"


CELLS = (Cell("p4", 0.2), Cell("p4", 0.02), Cell("r1", 0.2))


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to do the work.  `python` is the interpreter it runs on, None where it is not installed;
    `keeps` says that it can go on after a crash."""

    name: str
    module: str
    python: Path | None = Path(sys.executable)
    env: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = False

    def command(self, cell: Cell, samples: int, url: str, folder: Path) -> Sequence[str | Path]:
        assert self.python is not None
        job = [cell.workload, "--samples", str(samples), "--url", url, "--out", folder / "out.jsonl"]
        return [self.python, "-m", self.module, *map(str, job)]


class Synth(Contender):
    """The command line, with a recipe and a `synth.toml` in its folder."""

    def command(self, cell: Cell, samples: int, url: str, folder: Path) -> Sequence[str | Path]:
        recipe = folder / _RECIPES[cell.workload].name
        if not recipe.exists():
            shutil.copy(_RECIPES[cell.workload], recipe)
            models = ("author", "base") if cell.workload == "p4" else ("author",)
            (folder / "synth.toml").write_text("".join(_MODEL.format(name=name) for name in models))
        settings = [f"{_PARAMETERS[cell.workload]}={samples}"]
        models_given = ["author=openai:bench"]
        if cell.workload == "p4":
            settings.append("base_revision=0000000")
            models_given.append("base=openai:bench")
        options = [part for text in settings for part in ("--set", text)]
        options += [part for text in models_given for part in ("--model", text)]
        return synth("run", recipe, "--log", folder / "synth.duckdb", "--json", *options)


def contenders() -> list[Contender]:
    """synth first, then what it is compared with."""
    ours = [
        Synth("synth run", "synth", keeps=True),
        Contender("aiohttp loop", "bench.peers.aiohttp_loop"),
        Contender("aiohttp loop, uvloop", "bench.peers.aiohttp_loop", env={"BENCH_UVLOOP": "1"}),
        Contender("openai client, asyncio", "bench.peers.openai_sdk"),
    ]
    return ours + [
        Contender(peer.title, peer.module, python_of(name), peer.env, peer.keeps)
        for name, peer in PEERS.items()
    ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one contender.  `calls` is what the server was asked, `ideal_s` the least time."""

    usage: Usage
    calls: int
    span_s: float
    ideal_s: float
    server_cpu_s: float

    @property
    def whole(self) -> float:
        return self.usage.wall_s / self.ideal_s

    @property
    def span(self) -> float:
        return self.span_s / self.ideal_s


def ideal_s(cell: Cell, samples: int, spoiled: int) -> float:
    """The least time in which the server's slots can give what is needed: an answer for each
    call, and one more for each that it spoiled."""
    calls = samples * workload.CALLS[cell.workload] + spoiled
    depth = workload.DEPTH[cell.workload] + (spoiled > 0)
    return max(calls * cell.latency_s / SLOTS, depth * cell.latency_s)


def run_once(contender: Contender, cell: Cell, samples: int, server: Server, work: Path) -> Outcome:
    """Runs a contender in a new folder.  Raises RuntimeError when it fails."""
    folder = _folder(work, contender, cell)
    server.reset(latency_s=cell.latency_s, slots=SLOTS, malformed=cell.workload == "r1")
    usage = _measured(contender, cell, samples, server, folder).require()
    stats = server.stats()
    return Outcome(
        usage,
        stats["asked"],
        stats["seconds"],
        ideal_s(cell, samples, stats["spoiled"]),
        stats["cpu_s"],
    )


@dataclass(frozen=True, slots=True)
class Crash:
    """What a kill -9 at half cost.  `again` are calls that were made both before and after it, by
    how far they had come: `committed` ones were in the log, `answered` ones on their way into it,
    the others in flight."""

    before: int
    again: Mapping[str, int]
    in_log: int | None
    finished: bool


def crash(contender: Contender, cell: Cell, samples: int, server: Server, work: Path) -> Crash:
    """Kills a run once half of its calls are answered, and runs it again."""
    folder = _folder(work, contender, cell)
    server.reset(latency_s=cell.latency_s, slots=SLOTS, malformed=cell.workload == "r1")
    half = samples * workload.CALLS[cell.workload] // 2
    command = contender.command(cell, samples, server.url, folder)
    with Child(command, cwd=folder, env=_environment(contender, server)) as child:
        while child.running and server.stats()["answered"] < half:
            pass
        child.kill()
        child.wait()
    calls = server.calls()
    before, answered = calls["asked"], {key[:16] for key in calls["answered"]}
    log = folder / "synth.duckdb"
    committed = committed_keys(log) if log.exists() else set()
    second = measured(command, cwd=folder, env=_environment(contender, server), timeout_s=_SECOND_S)
    known = {key[:16] for key in before}
    again = Counter(
        "committed" if key in committed else "answered" if key in answered else "in flight"
        for key in (full[:16] for full in server.calls()["asked"][len(before) :])
        if key in known
    )
    return Crash(
        len(before),
        {state: again[state] for state in ("committed", "answered", "in flight")},
        len(committed) if log.exists() else None,
        second.status == 0,
    )


def committed_keys(log: Path) -> set[str]:
    """The keys that the server put into its answers, from the calls that a log holds."""
    with duckdb.connect(str(log)) as connection:
        rows = connection.execute("SELECT payload ->> 'text' FROM events WHERE kind = 'call.completed'")
        matches = (_KEY.search(text or "") for (text,) in rows.fetchall())
        return {match[1] for match in matches if match}


def measure(options: Options) -> Report:
    samples: dict[str, int] = {
        "p4": options.pick(60, 1000),
        "r1": options.pick(120, 2000),
    }
    results: list[dict[str, Any]] = []
    with Server() as server:
        for contender in contenders():
            results.append(_results(contender, samples, server, options))
    return _report(results, samples, options)


def _results(
    contender: Contender, samples: Mapping[str, int], server: Server, options: Options
) -> dict[str, Any]:
    result: dict[str, Any] = {"name": contender.name, "installed": contender.python is not None}
    if contender.python is None:
        return result
    result["cells"] = {}
    for cell in CELLS:
        try:
            alone = run_once(contender, cell, 1, server, options.work)
            runs = repeat(
                lambda cell=cell: run_once(  # type: ignore[misc]
                    contender, cell, samples[cell.workload], server, options.work
                ),
                runs=1 if options.quick else 3,
                within_s=20,
            )
        except TimeoutError as error:
            result["cells"][str(cell)] = {"failed": str(error), "over_s": MOST_S}
            continue
        except RuntimeError as error:
            result["cells"][str(cell)] = {"failed": str(error)}
            continue
        median = median_by(runs, lambda run: run.whole)
        result["cells"][str(cell)] = {
            "runs": len(runs),
            "whole_over_ideal": median.whole,
            "span_over_ideal": median_by(runs, lambda run: run.span).span,
            "ideal_s": median.ideal_s,
            "wall_s": median.usage.wall_s,
            "calls": median.calls,
            "cpu_ms_a_call": (median.usage.cpu_s - alone.usage.cpu_s) / median.calls * 1e3,
            "start_up_s": alone.usage.wall_s - workload.DEPTH[cell.workload] * cell.latency_s,
            "start_up_cpu_s": alone.usage.cpu_s,
            "peak_mib": median.usage.peak_mib,
            "server_cpu_s": median.server_cpu_s,
        }
    if contender.keeps:
        cell = CELLS[0]
        try:
            cost = crash(contender, cell, samples[cell.workload], server, options.work)
        except TimeoutError as error:
            result["crash"] = {"failed": str(error)}
        else:
            result["crash"] = {
                "before": cost.before,
                "in_log": cost.in_log,
                "again": dict(cost.again),
                "finished": cost.finished,
            }
    return result


def _report(results: list[dict[str, Any]], samples: Mapping[str, int], options: Options) -> Report:
    ours = results[0]["cells"]
    first = ours[str(CELLS[0])]
    lost = results[0]["crash"]
    headline = (
        f"P4 at 200 ms: {first['whole_over_ideal']:.2f} x the ideal for the whole process, "
        f"{first['span_over_ideal']:.2f} x from the first call to the last answer, "
        f"{first['cpu_ms_a_call']:.2f} ms of processor a call; killed at half, "
        f"{lost['again']['committed']} committed calls were made again."
    )
    notes = [
        f"P4 is {samples['p4']:,} samples of persona, then acknowledgment and question side by side, then "
        f"answer; R1 is {samples['r1']:,} calls for JSON of which the server spoils one in ten.",
        "Over the ideal: the whole process, and in brackets from the first request to the last answer by "
        "the server's clock.  Medians of up to three runs.",
        "Processor time is the process's own, all threads, less that of the same command with one "
        "sample, over the calls it made.",
        "Memory is the most that was resident in the contender's largest process.",
        *(f"{peer.title} {peer.note}" for name, peer in PEERS.items() if peer.note and python_of(name)),
    ]
    return Report(
        title=TITLE,
        headline=headline,
        tables=[_times(results), _costs(results), _crashes(results)],
        notes=notes,
        plots=[_plot(results)],
        figures={"slots": SLOTS, "samples": dict(samples), "contenders": results},
        packages=("aiohttp", "uvloop", "openai", "duckdb"),
    )


def _times(results: list[dict[str, Any]]) -> Table:
    rows: list[tuple[str, ...]] = []
    for result in results:
        cells = [
            _brackets(result["cells"][str(cell)]) if result["installed"] else "not installed"
            for cell in CELLS
        ]
        rows.append((result["name"], *cells))
    return Table(
        "Time over the ideal: whole process (first call to last answer)", ("", *map(str, CELLS)), [*rows]
    )


def _brackets(cell: Mapping[str, Any]) -> str:
    if "over_s" in cell:
        return f"over {cell['over_s']:g} s"
    if "failed" in cell:
        return "failed"
    return f"{cell['whole_over_ideal']:.2f} ({cell['span_over_ideal']:.2f})"


def _costs(results: list[dict[str, Any]]) -> Table:
    rows = []
    for result in results:
        cell = result["cells"][str(CELLS[0])] if result["installed"] else {}
        names = ("calls", "cpu_ms_a_call", "start_up_s", "start_up_cpu_s", "peak_mib")
        rows.append((result["name"], *(cell.get(name) for name in names)))
    columns = ("", "calls", "CPU ms a call", "start-up s", "start-up CPU s", "peak MiB")
    return Table(f"What it costs, {CELLS[0]}", columns, rows)


def _crashes(results: list[dict[str, Any]]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for result in results:
        cost = result.get("crash")
        if not result["installed"]:
            continue
        if cost is None:
            rows.append((result["name"], None, None, "all: it keeps nothing", None, None, None))
        elif "failed" in cost:
            late = f"the second run had not ended after {_SECOND_S:g} s"
            rows.append((result["name"], None, None, late, None, None, None))
        else:
            again = cost["again"]
            ended = "" if cost["finished"] else "; the second run failed"
            rows.append(
                (
                    result["name"],
                    cost["before"],
                    cost["in_log"],
                    f"{sum(again.values()):,}{ended}",
                    again["committed"] if cost["in_log"] is not None else None,
                    again["answered"],
                    again["in flight"],
                )
            )
    columns = (
        "",
        "calls before",
        "in its log",
        "made again",
        "committed",
        "answered, not yet in the log",
        "in flight",
    )
    return Table(f"kill -9 at half, then again ({CELLS[0]})", columns, rows)


def _plot(results: list[dict[str, Any]]) -> Bars:
    there = [result for result in results if result["installed"]]
    values = {
        str(cell): [result["cells"][str(cell)].get("whole_over_ideal") for result in there] for cell in CELLS
    }
    return Bars(
        "Whole process over the ideal (1 is the least time possible)",
        "times the ideal, logarithmic",
        [result["name"] for result in there],
        values,
        log=True,
    )


def _folder(work: Path, contender: Contender, cell: Cell) -> Path:
    folder = work / re.sub(r"\W+", "-", f"{contender.name} {cell}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _measured(contender: Contender, cell: Cell, samples: int, server: Server, folder: Path) -> Usage:
    command = contender.command(cell, samples, server.url, folder)
    return measured(command, cwd=folder, env=_environment(contender, server), timeout_s=MOST_S)


def _environment(contender: Contender, server: Server) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.url, "HF_HUB_OFFLINE": "1", **contender.env}
