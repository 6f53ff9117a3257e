"""The log: what appending costs, how long opening and resuming take as it grows, and how
materializing compares with what DuckDB and the disk do alone."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.lib.harness import Options, measured, median_by, synth
from bench.lib.report import Lines, Report, Table
from bench.lib.simulated import EVENTS_A_SAMPLE, RECIPE, Simulated, simulated, size_options
from synth.runtime.events.recorder import BATCH_EVENTS

# 256 calls at once, since a local engine is given twice what it runs, a quarter of a second each.
_THOUSAND_A_SECOND = "[simulate]\nlatency = 0.256\nconcurrency = 128\n"

_PAIRS = 3


def measure(options: Options) -> Report:
    sizes: list[int] = options.pick(
        [1_000], [10_000, 100_000, 1_000_000], [10_000, 100_000, 1_000_000, 4_000_000]
    )
    work = options.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    disk = _probe("disk", work, options.pick(16, 512))
    grown = [_at_size(simulated(size // EVENTS_A_SAMPLE), work) for size in sizes]
    source = simulated(sizes[min(1, len(sizes) - 1)] // EVENTS_A_SAMPLE)
    appended = _probe("append", source.log, work / "appended.duckdb", min(source.events, 100_000))
    share = _share(work, options.pick(50, 2_000))
    wide = [
        _probe("wide", RECIPE, work / "wide", *size)
        for size in options.pick([(20, 10)], [(5_000, 500), (20_000, 5_000)])
    ]
    largest = grown[-1]
    headline = (
        f"{appended['events'] / appended['seconds']:,.0f} durable events a second, worst stall "
        f"{appended['worst_ms']:.0f} ms; a run at {share['rate']:,.0f} calls a second is "
        f"{max(share['cost'], 0):.1%} longer for having a log.  With {largest['events']:,} events a run is "
        f"at its first call after {largest['resume_s']:.1f} s, and materializing takes "
        f"{largest['over_bare']:.2f} x DuckDB's bare query."
    )
    return Report(
        title="The log: appending, opening, resuming, materializing",
        headline=headline,
        tables=[
            _append_table(appended, share, source, disk["mib_s"]),
            _wide_table(wide),
            _growth_table(grown),
            _materialize_table(grown, disk["mib_s"]),
        ],
        notes=[
            f"The logs are those of `synth run recipes/quickstart.recipe --simulate`: {EVENTS_A_SAMPLE} "
            f"events a sample, {source.payload_bytes / source.events:,.0f} bytes of JSON each on average.",
            "Resuming is the whole process of `synth run` with ten more samples and `--max-calls 0`: until "
            "the first call would be issued, and out again.  An empty log takes the start-up alone.",
            "The bare query copies every completed sample's cell and values, in order, to JSON lines, "
            "and counts who made the calls: DuckDB alone, all cores.",
            "What a log costs a run is found by running it again with events counted and thrown away: "
            f"medians of {_PAIRS} runs each, by turns.",
            "With many calls open their answers come at one instant; the loop is then busy with them, and "
            "the log's thread commits meanwhile.  Twice as many samples are open as calls.",
            "The disk's rate is that of one file written in a row and flushed once.",
        ],
        plots=[
            Lines(
                "What a growing log costs",
                "events in the log",
                "seconds",
                {
                    "open, every event hashed": [(g["events"], g["deep_s"]) for g in grown],
                    "resume, whole process": [(g["events"], g["resume_s"]) for g in grown],
                    "materialize": [(g["events"], g["materialize_s"]) for g in grown],
                    "DuckDB's bare query": [(g["events"], g["bare_s"]) for g in grown],
                },
                log_x=True,
                log_y=True,
            ),
            Lines(
                "Memory while materializing",
                "events in the log",
                "peak, MiB",
                {
                    "synth materialize": [(g["events"], g["peak_mib"]) for g in grown],
                    "DuckDB's bare query": [(g["events"], g["bare_peak_mib"]) for g in grown],
                },
                log_x=True,
            ),
        ],
        figures={"append": appended, "share": share, "wide": wide, "sizes": grown, "disk": disk},
        packages=("duckdb",),
    )


def _at_size(run: Simulated, work: Path) -> dict[str, Any]:
    opened = _probe("opening", run.log)
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    written = _probe("materialize", run.recipe, run.samples, run.log, out)
    bare = _probe("bare", run.log, work / "bare.jsonl")
    return {
        "events": run.events,
        "log_bytes": run.log_bytes,
        "run_s": run.usage.wall_s,
        "calls_a_second": run.calls / run.usage.wall_s,
        **opened,
        "resume_s": _resume_s(run, work),
        "materialize_s": written["materialize_s"],
        "peak_mib": written["peak_mib"],
        "rows": written["rows"],
        "dataset_bytes": written["bytes"],
        "bare_s": bare["seconds"],
        "bare_peak_mib": bare["peak_mib"],
        "over_bare": written["materialize_s"] / bare["seconds"],
    }


def _resume_s(run: Simulated, work: Path) -> float:
    """A run with a few more samples, on a copy of the log, up to its first call."""
    copy = work / "resumed.duckdb"
    shutil.copy(run.log, copy)
    options = size_options(run.recipe, run.samples + 10)
    command = synth("run", run.recipe, *options, "--simulate", "--max-calls", "0", "--log", copy)
    # The bound is reached, which is not what was asked for.
    usage = measured(command, cwd=work).require(3)
    copy.unlink()
    return usage.wall_s


def _share(work: Path, samples: int) -> dict[str, Any]:
    folder = work / "share"
    folder.mkdir()
    (folder / "synth.toml").write_text(_THOUSAND_A_SECOND, "utf-8")
    # A run goes by the settings beside its recipe.
    recipe = Path(shutil.copy(RECIPE, folder)).resolve()
    on, off = [], []
    for run in range(_PAIRS):
        work = folder / str(run)
        work.mkdir()
        on.append(_probe("share", recipe, work, samples, "on"))
        off.append(_probe("share", recipe, work, samples, "off"))
    logged = median_by(on, lambda run: run["seconds"])
    without = median_by(off, lambda run: run["seconds"])
    return {
        **logged,
        "without_s": without["seconds"],
        "rate": logged["calls"] / logged["seconds"],
        "cpu_share": logged["cpu_s"] / logged["seconds"],
        "all_share": (logged["used_s"] - without["used_s"]) / logged["seconds"],
        "cost": logged["seconds"] / without["seconds"] - 1,
    }


def _probe(name: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.lib.probes", name, *map(str, arguments)]
    figures: dict[str, Any] = json.loads(measured(command, cwd=Path.cwd()).require().out)
    return figures


def _append_table(appended: dict[str, Any], share: dict[str, Any], source: Simulated, disk: float) -> Table:
    rate = appended["events"] / appended["seconds"]
    payload = source.payload_bytes / source.events
    return Table(
        f"Appending {appended['events']:,} events, {BATCH_EVENTS:,} a transaction",
        ("", ""),
        [
            ("durable events a second", round(rate)),
            ("JSON a second, MiB", rate * payload / 2**20),
            ("the disk's own rate, MiB a second", disk),
            ("median batch, ms", appended["median_ms"]),
            ("99th of a hundred, ms", appended["worst_99_ms"]),
            ("worst batch, ms", appended["worst_ms"]),
            ("closing, ms", appended["close_s"] * 1e3),
            ("bytes an event in the file", appended["bytes"] / appended["events"]),
            ("bytes of JSON an event", payload),
            (f"longer a run at {share['rate']:,.0f} calls a second for having a log, %", share["cost"] * 100),
            ("of one core that its thread takes meanwhile, %", share["cpu_share"] * 100),
            ("of one core that all of it takes, %", share["all_share"] * 100),
        ],
    )


def _wide_table(wide: list[dict[str, Any]]) -> Table:
    columns = (
        "open calls",
        "samples",
        "events",
        "largest batch",
        "median age when durable, s",
        "oldest, s",
        "run s",
    )
    rows: list[tuple[Any, ...]] = [
        (w["calls"], w["samples"], w["events"], w["largest"], w["median_s"], w["oldest_s"], w["seconds"])
        for w in wide
    ]
    return Table("Batches while many calls are open", columns, rows)


def _growth_table(grown: list[dict[str, Any]]) -> Table:
    columns = (
        "events",
        "simulated calls a second",
        "log MiB",
        "bytes an event",
        "open s",
        "open, hashed, s",
        "resume s",
    )
    rows: list[tuple[Any, ...]] = [
        (
            g["events"],
            round(g["calls_a_second"]),
            g["log_bytes"] / 2**20,
            g["log_bytes"] / g["events"],
            g["shallow_s"],
            g["deep_s"],
            g["resume_s"],
        )
        for g in grown
    ]
    return Table("Opening and resuming", columns, rows)


def _materialize_table(grown: list[dict[str, Any]], disk: float) -> Table:
    columns = (
        "events",
        "rows",
        "materialize s",
        "bare query s",
        "ratio",
        "MiB/s written",
        "of the disk's rate",
        "peak MiB",
        "bare peak MiB",
    )
    rows: list[tuple[Any, ...]] = []
    for g in grown:
        rate = g["dataset_bytes"] / 2**20 / g["materialize_s"]
        rows.append(
            (
                g["events"],
                g["rows"],
                g["materialize_s"],
                g["bare_s"],
                g["over_bare"],
                rate,
                rate / disk,
                g["peak_mib"],
                g["bare_peak_mib"],
            )
        )
    return Table("Materializing, the log being open", columns, rows)
