"""Rows: how fast a table enters the log, what a run over many of them holds and waits for, how a table is
mapped beside other tools, and whether rounds over rows keep a service busy.

Ingest is told as a ratio of the log's own rate of appending the same events, and rounds as a ratio of the
persona chain's figure, both measured by turns in the same run, so that a busy machine says as much.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.lib.harness import BUILD, ROOT, Options, Usage, measured, median_by, synth
from bench.lib.report import Report, Table
from bench.lib.rows import table
from bench.lib.server import Server
from bench.peers.environments import python_of
from bench.suites.orchestration import SLOTS, Cell, contenders, run_once

_RECIPES = ROOT / "bench" / "recipes"
_LATENCY_S = 0.2
# A question for each row, a harder one and its answer, one after the other.
_CALLS, _DEPTH = 3, 3
_MODEL = f'[models.one]\nbackend = "openai"\nid = "bench"\nconcurrency = {SLOTS}\n'
_LONGEST_S = 3600.0


def measure(options: Options) -> Report:
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    runs = options.pick(1, 3)
    ingested = [_ingest(options.work, options.pick(300, 20_000, 100_000), number) for number in range(runs)]
    many = _many(options.work, options.pick(300, 100_000, 1_000_000))
    with Server() as server:
        mapped = _mapped(options.work, options.pick(200, 5_000, 20_000), server)
        rounds = [_rounds(options.work, options.pick(60, 2_000), server) for _ in range(runs)]
    return _report(ingested, many, mapped, rounds)


def _ingest(work: Path, rows: int, number: int) -> dict[str, Any]:
    """Rows into a log, and the same events appended to another."""
    folder = _project(work / f"ingest-{number}", "tickets", rows)
    read = _probe("ingest", folder / "tickets.recipe", folder / "rows.duckdb")
    appended = _probe("append", folder / "rows.duckdb", folder / "again.duckdb", rows, "source.ingested")
    rate, least = rows / read["seconds"], appended["events"] / appended["seconds"]
    return {"rows": rows, "rate": rate, "append_rate": least, "ratio": rate / least}


def _many(work: Path, rows: int) -> dict[str, Any]:
    """A simulated run over many rows, the start of another once they are logged, and DuckDB beside it."""
    folder = _project(work / "many", "tickets", rows)
    run = _synth(folder, "tickets", "--simulate")
    # The bound is reached, which is not what was asked for.
    _synth(folder, "tickets", "--simulate", "--limit", "1", "--log", "logged.duckdb")
    first = _synth(folder, "tickets", "--simulate", "--max-calls", "1", "--log", "logged.duckdb", status=3)
    bare = _probe("read_rows", folder / "rows.jsonl")
    return {
        "rows": rows,
        "mib": (folder / "rows.jsonl").stat().st_size / 2**20,
        "run_s": run.wall_s,
        "cpu_us_a_row": run.cpu_s / rows * 1e6,
        "peak_mib": run.peak_mib,
        "first_s": first.wall_s,
        "first_cpu_s": first.cpu_s,
        "first_peak_mib": first.peak_mib,
        "bare_s": bare["seconds"],
        "bare_peak_mib": bare["peak_mib"],
    }


def _mapped(work: Path, rows: int, server: Server) -> list[dict[str, Any]]:
    folder = _project(work / "mapped", "tickets", rows, _MODEL)
    env = {"OPENAI_BASE_URL": server.url, "HF_HUB_OFFLINE": "1"}
    python: dict[str, Path | None] = {
        "aiohttp_loop": Path(sys.executable),
        "datatrove": python_of("datatrove"),
    }
    ours = synth("run", folder / "tickets.recipe", "--model", "one=openai:bench", "--json")
    commands: dict[str, list[str | Path]] = {"synth run": ours}
    for name, path in python.items():
        if path is not None:
            arguments: list[str | Path] = [
                "--file",
                folder / "rows.jsonl",
                "--url",
                server.url,
                "--out",
                folder / f"{name}.jsonl",
            ]
            commands[name.replace("_", " ")] = [path, "-m", "bench.peers.mapped", name, *arguments]
    results = []
    for name, command in commands.items():
        server.reset(latency_s=_LATENCY_S, slots=SLOTS)
        usage = measured(command, cwd=folder, env=env, timeout_s=_LONGEST_S).require()
        stats = server.stats()
        ideal = max(stats["asked"] * _LATENCY_S / SLOTS, _LATENCY_S)
        results.append(
            {
                "name": name,
                "calls": stats["asked"],
                "whole_over_ideal": usage.wall_s / ideal,
                "span_over_ideal": stats["seconds"] / ideal,
                "cpu_ms_a_call": usage.cpu_s / stats["asked"] * 1e3,
                "peak_mib": usage.peak_mib,
            }
        )
    return results


def _rounds(work: Path, rows: int, server: Server) -> dict[str, Any]:
    """From the first request to the last answer over the ideal, of rounds over rows and of the persona
    chain with about as many calls."""
    folder = _project(work / "rounds", "rounds", rows, _MODEL)
    server.reset(latency_s=_LATENCY_S, slots=SLOTS)
    _synth(folder, "rounds", "--model", "one=openai:bench", env={"OPENAI_BASE_URL": server.url})
    stats = server.stats()
    assert stats["asked"] == rows * _CALLS, "each call is made once"
    ideal = max(stats["asked"] * _LATENCY_S / SLOTS, _DEPTH * _LATENCY_S)
    rounds = stats["seconds"] / ideal
    chain = run_once(contenders()[0], Cell("p4", _LATENCY_S), rows * _CALLS // 4, server, work).span
    return {"calls": stats["asked"], "rounds": rounds, "chain": chain, "ratio": rounds / chain}


def _project(folder: Path, recipe: str, rows: int, settings: str = "") -> Path:
    """A folder with a recipe and a table of its own, a link to one that is made once."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(_RECIPES / f"{recipe}.recipe", folder)
    shutil.copy(table(BUILD / "tables" / f"{rows}.jsonl", rows), folder / "rows.jsonl")
    if settings:
        (folder / "synth.toml").write_text(settings, "utf-8")
    return folder


def _synth(
    folder: Path, recipe: str, *options: str, env: dict[str, str] | None = None, status: int = 0
) -> Usage:
    command = synth("run", f"{recipe}.recipe", "--json", *options)
    return measured(command, cwd=folder, env=env, timeout_s=_LONGEST_S).require(status)


def _probe(name: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.lib.probes", name, *map(str, arguments)]
    figures: dict[str, Any] = json.loads(
        measured(command, cwd=Path.cwd(), timeout_s=_LONGEST_S).require().out
    )
    return figures


def _report(
    ingested: list[dict[str, Any]],
    many: dict[str, Any],
    mapped: list[dict[str, Any]],
    rounds: list[dict[str, Any]],
) -> Report:
    into = median_by(ingested, lambda run: run["ratio"])
    over = median_by(rounds, lambda run: run["ratio"])
    return Report(
        title="Rows: a table into the log, and samples over it",
        headline=(
            f"Rows enter the log at {into['ratio']:.2f} of its own rate of appending.  A run over "
            f"{many['rows']:,} of them takes {many['peak_mib']:,.0f} MiB at most; once they are logged its "
            f"first call is out after {many['first_s']:.1f} s.  Rounds over rows keep {SLOTS} slots busy at "
            f"{over['ratio']:.2f} x the persona chain's figure."
        ),
        tables=[
            Table(
                f"{into['rows']:,} rows into the log",
                ("rows a second", "the same events appended, a second", "ratio"),
                [(round(run["rate"]), round(run["append_rate"]), run["ratio"]) for run in ingested],
            ),
            Table(
                f"A simulated run over {many['rows']:,} rows, {many['mib']:,.0f} MiB",
                ("", "s", "CPU s", "peak MiB"),
                [
                    ("the whole run, reading and logging them first", many["run_s"], None, many["peak_mib"]),
                    (
                        "from the start to the first call, they being logged",
                        many["first_s"],
                        many["first_cpu_s"],
                        many["first_peak_mib"],
                    ),
                    ("DuckDB alone reads the file", many["bare_s"], None, many["bare_peak_mib"]),
                ],
            ),
            Table(
                f"One call a row, {mapped[0]['calls']:,} rows, {_LATENCY_S * 1000:.0f} ms, {SLOTS} slots",
                (
                    "",
                    "whole process over the ideal",
                    "first call to last answer",
                    "CPU ms a call",
                    "peak MiB",
                ),
                [
                    (
                        way["name"],
                        way["whole_over_ideal"],
                        way["span_over_ideal"],
                        way["cpu_ms_a_call"],
                        way["peak_mib"],
                    )
                    for way in mapped
                ],
            ),
            Table(
                f"A conversation over a conversation over rows, {over['calls']:,} calls",
                ("over the ideal", "the persona chain", "ratio"),
                [(run["rounds"], run["chain"], run["ratio"]) for run in rounds],
            ),
        ],
        notes=[
            "Rows are of about 1 KB, in one JSONL file.  They are read, looked at and logged before the "
            "first call; the ratio is to the rate at which the log appends the same events in full batches.",
            "To the first call: the whole process of `synth run` with `--max-calls 1`, every event hashed on "
            "the way, and out again.",
            "The other tools are given the same file and the same server.  The bare loop holds all rows in "
            "memory and writes once; `synth run` has each row and answer in its log.",
            "Over the ideal: from the server's first request to its last answer, over the least time that "
            "its slots allow.",
        ],
        figures={"ingest": ingested, "many": many, "mapped": mapped, "rounds": rounds},
        packages=("duckdb", "aiohttp"),
    )
