"""Logs that are damaged at random: what is said of each, and what can be had of it.

The damages and what is asserted of them are the tests' (`tests/store/log/damage.py`), which make a dozen.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.lib.harness import Options
from bench.lib.report import Report, Table
from tests.store.log.damage import Found, check, make

_DAMAGES = 200
_FAULTS = {
    "silent": "opened short of events without a word",
    "wrong": "events or rows that are not those that were written",
    "mute": "refused without the remedy",
    "short": "salvaged with less than what lies before the damage",
}


def measure(options: Options) -> Report:
    found, began = Found(), time.monotonic()
    count = 8 if options.quick else _DAMAGES
    with TemporaryDirectory(dir=options.work) as name:
        (folder := Path(name) / "truth").mkdir()
        truth = make(folder)
        for seed in range(count):
            with TemporaryDirectory(dir=options.work) as damaged:
                check(truth, seed, Path(damaged), found)
    faults = {name: getattr(found, name) for name in _FAULTS}
    if any(faults.values()):
        raise RuntimeError("; ".join(each for some in faults.values() for each in some))
    told = ", ".join(f"{name} {len(each)}" for name, each in faults.items())
    return Report(
        title="Damaged logs",
        headline=f"{count} damaged files and write-ahead logs: {told}.  {found.salvaged} of those that were "
        f"refused could be salvaged, with {found.kept / max(found.of, 1):.1%} of their events.",
        tables=[
            Table("How they ended", ("what became of it", "logs"), list(found.ends.most_common())),
            Table(
                "What was salvaged of those that were refused as damaged",
                ("", "count"),
                [
                    ("salvaged", found.salvaged),
                    ("nothing could be had", found.nothing),
                    ("events in them", found.of),
                    ("of these kept", found.kept),
                ],
            ),
            Table("What must not be", ("", "count"), [(_FAULTS[n], len(each)) for n, each in faults.items()]),
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
            "ends": dict(found.ends),
            "salvaged": found.salvaged,
            "nothing": found.nothing,
            "kept": found.kept,
            "of": found.of,
            **{name: len(each) for name, each in faults.items()},
        },
        packages=("duckdb",),
    )
