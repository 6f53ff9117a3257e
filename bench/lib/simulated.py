"""Runs of the quickstart recipe in which every model is simulated: the real command, the real log.

Several benchmarks need such a log, so one of each size is made for all of them in one go.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from bench.lib.harness import BUILD, ROOT, Usage, measured, synth

RECIPE = ROOT / "recipes" / "quickstart.recipe"
PERSONA = ROOT / "recipes" / "persona.recipe"
# Two calls, a verdict on each, and the sample's end.
EVENTS_A_SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Simulated:
    """A finished run and the log it left.  `calls` and `events` are counted, not assumed."""

    recipe: Path
    samples: int
    folder: Path
    usage: Usage
    calls: int
    events: int
    payload_bytes: int

    @property
    def log(self) -> Path:
        return self.folder / "synth.duckdb"

    @property
    def log_bytes(self) -> int:
        return self.log.stat().st_size


@cache
def simulated(samples: int, recipe: Path = RECIPE) -> Simulated:
    """Runs so many samples of a recipe into a new log."""
    folder = BUILD / "simulated" / f"{recipe.stem}-{samples}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = synth(
        "run", recipe, *size_options(recipe, samples), "--simulate", "--json", "--log", "synth.duckdb"
    )
    usage = measured(command, cwd=folder).require()
    counts: dict[str, Any] = json.loads(usage.out)
    with duckdb.connect(str(folder / "synth.duckdb"), read_only=True) as connection:
        row = connection.execute("SELECT count(*), sum(strlen(payload)) FROM events").fetchone()
    assert row is not None
    return Simulated(
        recipe=recipe,
        samples=samples,
        folder=folder,
        usage=usage,
        calls=sum(step["issued"] for step in counts["steps"]),
        events=row[0],
        payload_bytes=int(row[1]),
    )


def size_options(recipe: Path, samples: int) -> list[str]:
    """The options that give a recipe its size."""
    options = ["--set", f"conversations={samples}"]
    return options + (["--set", "base_revision=0000000"] if recipe == PERSONA else [])
