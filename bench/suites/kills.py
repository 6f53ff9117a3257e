"""Commands killed at the writes, fsyncs, renames and unlinks that they make, and what is left of them.

The scenes and what is asserted of them are the tests' (`tests/kills/harness.py`), which make sixty of
these kills.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.lib.harness import Options, Unavailable
from bench.lib.report import Report, Table
from tests.kills.harness import Findings, Kill, Op, Project, When, opened
from tests.kills.harness import Unavailable as NoKills
from tests.kit.servers.openai import OpenAIServer

# After one write is before the next call, and so it is with an fsync.
_WHENS: dict[Op, tuple[When, ...]] = {
    "write": ("before", "half"),
    "fsync": ("before",),
    "rename": ("before", "after"),
    "unlink": ("before", "after"),
}
_SCENES = ("run", "materialize", "materialize over older ones", "evaluate", "forget")
# Of the calls that a command makes every so many-th is taken, and with --full each.
_QUICK, _NORMAL = 12, 4


def measure(options: Options) -> Report:
    findings, began = Findings(), time.monotonic()
    asked: Counter[tuple[str, str]] = Counter()
    killed: Counter[str] = Counter()
    try:
        with TemporaryDirectory(dir=options.work) as name:
            folder = Path(name).resolve()
            (door_folder := folder / "door").mkdir()
            with OpenAIServer(latency_s=0.002) as server, opened(door_folder) as door:
                project = Project(door, server, folder / "project")
                for scene in _SCENES:
                    kills = list(_kills(project, scene.split()[0]))
                    for kill in kills[:: options.pick(_QUICK, _NORMAL, 1)]:
                        killed[scene] += _play(project, scene, kill, findings, folder / "cut")
                        asked[scene, kill.op] += 1
                        shutil.rmtree(folder / "cut")
    except NoKills as reason:
        raise Unavailable(str(reason)) from None
    faults = {name: len(getattr(findings, name)) for name in Findings.__slots__}
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in faults.items())
    ops = tuple(_WHENS)
    return Report(
        title="Kills at system calls",
        headline=f"{killed.total()} kills at writes, fsyncs, renames and unlinks: {counts}.",
        tables=[
            Table(
                "Kills of each command",
                ("command", *ops, "killed"),
                [(scene, *(asked[scene, op] for op in ops), killed[scene]) for scene in _SCENES],
            ),
            Table("What was wrong", ("what", "count"), list(faults.items())),
        ],
        notes=[
            "Each command is killed with SIGKILL at one of its calls below its folder, before it or in the "
            "middle of it, and then run again to its end.  The run reads a source of 300 rows beside its "
            "calls; the datasets are JSONL with a split, Parquet and a mix, with their cards.",
            "Lost: an event that `progress.json` had told of is not in the log.  Paid twice: a call that the "
            "log had was made again.  Missing: a dataset is neither whole as it was nor whole as it is to "
            "be, or has other rows at the end.  Leftovers: after the next run there is a file that a run "
            "without a kill does not leave.  Refused: the command that was run again did not succeed.",
            f"All of it took {time.monotonic() - began:.0f} s.",
            *findings.lines()[:20],
        ],
        figures={"kills": killed.total(), **faults},
        packages=("aiohttp", "duckdb"),
    )


def _kills(project: Project, command: str) -> Iterator[Kill]:
    """A kill at each of a command's calls, in each way."""
    for op, whens in _WHENS.items():
        for number in range(1, project.counts[command][op] + 1):
            for when in whens:
                yield Kill(op, number, when)


def _play(project: Project, scene: str, kill: Kill, findings: Findings, folder: Path) -> int:
    if scene == "run":
        return project.run([kill], findings, folder)
    if scene == "evaluate":
        return project.evaluate([kill], findings, folder)
    if scene == "forget":
        return project.forget([kill], findings, folder)
    return project.materialize([kill], findings, folder, over=scene != "materialize")
