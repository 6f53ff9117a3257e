"""Logs that are damaged at random: what is said of each, and what can be had of it.

The damages and what is asserted of them are the tests' (`tests/store/log/damage.py`), which make a dozen.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.lib.harness import Options
from bench.lib.report import Report, Table
from tests.store.log.damage import Findings, check, make

_DAMAGES = 200
_FAULTS = {
    "silent": "opened short of events without a word",
    "wrong": "events or rows that are not those that were written",
    "mute": "refused without the remedy",
    "short": "salvaged with less than what lies before the damage",
}


def measure(options: Options) -> Report:
    findings, began = Findings(), time.monotonic()
    count = 8 if options.quick else _DAMAGES
    with TemporaryDirectory(dir=options.work) as name:
        (folder := Path(name) / "truth").mkdir()
        truth = make(folder)
        for seed in range(count):
            with TemporaryDirectory(dir=options.work) as damaged:
                check(truth, seed, Path(damaged), findings)
    faults = {name: getattr(findings, name) for name in _FAULTS}
    if any(faults.values()):
        raise RuntimeError("; ".join(case for cases in faults.values() for case in cases))
    counts = ", ".join(f"{name} {len(cases)}" for name, cases in faults.items())
    return Report(
        title="Damaged logs",
        headline=f"{count} damaged files and write-ahead logs: {counts}.  {findings.salvaged} of those that "
        f"were refused could be salvaged, with {findings.kept / max(findings.of, 1):.1%} of their events.",
        tables=[
            Table("How they ended", ("what became of it", "logs"), list(findings.ends.most_common())),
            Table(
                "What was salvaged of those that were refused as damaged",
                ("", "count"),
                [
                    ("salvaged", findings.salvaged),
                    ("nothing could be had", findings.nothing),
                    ("events in them", findings.of),
                    ("of these kept", findings.kept),
                ],
            ),
            Table(
                "What must not be", ("", "count"), [(_FAULTS[n], len(cases)) for n, cases in faults.items()]
            ),
        ],
        notes=[
            "A log of a simulated run of the quickstart in batches of nine events, half of it in the "
            "write-ahead log.  Damages are flipped bits, bytes, noise, zeros, lost pages, cut files, older "
            "copies, a missing write-ahead log, altered headers and sizes, and repeated parts.",
            "Nothing can be had where the file's own tables of contents are gone.",
            f"All of it took {time.monotonic() - began:.0f} s.",
        ],
        figures={
            "damages": count,
            "ends": dict(findings.ends),
            "salvaged": findings.salvaged,
            "nothing": findings.nothing,
            "kept": findings.kept,
            "of": findings.of,
            **{name: len(cases) for name, cases in faults.items()},
        },
        packages=("duckdb",),
    )
