"""Whether memory stays flat: the most that `synth run --simulate` has resident as the quota grows."""

from __future__ import annotations

from typing import Any

from bench.lib.harness import Options
from bench.lib.report import Lines, Report, Table
from bench.lib.simulated import PERSONA, RECIPE, simulated

LIMIT_MIB = 1024.0


def measure(options: Options) -> Report:
    sizes: list[int] = options.pick([100], [1_000, 10_000, 100_000], [10_000, 100_000, 1_000_000])
    runs = {
        "quickstart": [simulated(size, RECIPE) for size in sizes],
        # Its `distinct` check has to remember every persona.
        "persona, with `distinct`": [simulated(size, PERSONA) for size in sizes[: options.pick(1, 2)]],
    }
    rows: list[tuple[Any, ...]] = [
        (
            name,
            run.samples,
            run.calls,
            run.usage.peak_mib,
            round(run.calls / run.usage.wall_s),
            run.usage.cpu_s / run.calls * 1e6,
        )
        for name, series in runs.items()
        for run in series
    ]
    *earlier, last = runs["quickstart"]
    before = f", {earlier[-1].samples:,} {earlier[-1].usage.peak_mib:,.0f} MiB" if earlier else ""
    return Report(
        title="Memory: synth run --simulate as the quota grows",
        headline=(f"{last.samples:,} simulated samples take {last.usage.peak_mib:,.0f} MiB at most{before}."),
        tables=[
            Table(
                "Peak memory",
                ("recipe", "samples", "calls", "peak MiB", "calls a second", "CPU us a call"),
                rows,
            )
        ],
        notes=[
            "Whole processes, start-up included; two calls a sample in quickstart, four in persona.",
            "DuckDB keeps what was written since its last checkpoint in memory as well, so the peak climbs "
            "until the write-ahead log is as long as it may be, and then stays.",
        ],
        plots=[
            Lines(
                "The most memory resident",
                "samples",
                "MiB",
                {
                    name: [(run.samples, run.usage.peak_mib) for run in series]
                    for name, series in runs.items()
                },
                limit={"target at a million": LIMIT_MIB},
                log_x=True,
            )
        ],
        figures={
            name: [{"samples": run.samples, "peak_mib": run.usage.peak_mib} for run in series]
            for name, series in runs.items()
        },
        packages=("duckdb", "rensa"),
    )
