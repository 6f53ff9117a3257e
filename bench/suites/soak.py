"""Runs through random schedules of faults: each must end by itself or by its bound, and add up.

The cases and what is asserted of them are the tests' (`tests/runtime/schedules.py`); here are ten
times as many, and what they came to.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, settings

from bench.lib.harness import Options
from bench.lib.report import Report, Table
from tests.runtime.schedules import GRACE_S, PATIENCE_S, TIMEOUT_S, Case, cases, check

SCHEDULES = 200


def measure(options: Options) -> Report:
    schedules = 5 if options.quick else SCHEDULES
    ended: Counter[str] = Counter()
    deeds: Counter[str] = Counter()
    longest = 0.0
    begun = time.monotonic()

    @settings(
        max_examples=schedules,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def soak(case: Case) -> None:
        nonlocal longest
        with TemporaryDirectory(dir=options.work) as folder:
            outcome = check(case, Path(folder))
        ended[outcome.report.outcome if outcome.report is not None else "one sentence"] += 1
        deeds.update(phase.deed for phase in case.schedule.phases)
        longest = max(longest, outcome.seconds)

    soak()
    seconds = time.monotonic() - begun
    total = sum(ended.values())
    return Report(
        title="Random schedules of faults",
        headline=f"{total} runs through random schedules of faults ended, the longest after "
        f"{longest:.1f} s, and what the server did, the log and the summary added up in all of them.",
        tables=[
            Table("How they ended", ("outcome", "runs"), list(ended.most_common())),
            Table("What the services did", ("deed", "phases"), list(deeds.most_common())),
        ],
        notes=[
            "Each schedule has one to five phases of faults, between which a service answers or not; after "
            "each run a second one meets a service that is well.",
            f"All of it took {seconds:.0f} s.  Waits are set below a second: deadlines of {TIMEOUT_S:g} s, "
            f"patience of {PATIENCE_S:g} s, a grace of {GRACE_S:g} s.",
        ],
        figures={"runs": total, "outcomes": dict(ended), "longest_s": longest, "seconds": seconds},
        packages=("aiohttp", "duckdb", "hypothesis"),
    )
