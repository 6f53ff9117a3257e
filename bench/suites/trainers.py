"""Which tokens axolotl and LLaMA-Factory train on in the rows that are exported here, against those of
the turns that are marked.

Both pin other versions of everything, so each has an environment of its own below `build/trainers`,
which `scripts/trainers` makes (`make trainers`).  TRL's figures are held by `tests/training`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from bench.lib.harness import ROOT, Options, Unavailable, environment
from bench.lib.report import Cell, Report, Table
from bench.trainers.rows import CLOSING, make

HOME = ROOT / "build" / "trainers"
TITLES = {"axolotl": "axolotl", "llamafactory": "LLaMA-Factory"}
_HEAD = ("rows", "settings", "tokens", "with loss", "of the trained turns", "the same")


def measure(options: Options) -> Report:
    """Counts in each environment that is there.  Raises Unavailable where none is."""
    pythons = {name: HOME / name / "bin" / "python" for name in TITLES}
    there = {name: python for name, python in pythons.items() if (HOME / name / "ready").exists()}
    if not there:
        raise Unavailable("`make trainers` makes the environments of axolotl and LLaMA-Factory")
    expected = make(options.work)
    tables, figures = [], {}
    for name, python in there.items():
        counted = _counted(name, python, options.work)
        versions = ", ".join(f"{package} {number}" for package, number in counted["versions"].items())
        rows: list[tuple[Cell, ...]] = [_row(case, expected) for case in counted["counted"]]
        tables.append(Table(f"{TITLES[name]} ({versions})", _HEAD, rows))
        figures[name] = counted
    right = {name: _names(table) for name, table in zip(there, tables, strict=True)}
    headline = "  ".join(
        f"{TITLES[name]} trains on the marked turns and no others in {', '.join(forms) or 'no form'}."
        for name, forms in right.items()
    )
    notes = [
        "Four conversations of two model turns, of which the last is trained on; in `messages_both`, both "
        "are.  Tokens are bytes, control tokens aside, in ChatML.",
        "`the same`: what carries loss is, row for row, what the marked turns say, each with the token that "
        f"closes it ({CLOSING}; with or without the end of its line).",
    ]
    return Report("Rows in axolotl and LLaMA-Factory", headline, tables, notes, figures=figures)


def _counted(name: str, python: Path, work: Path) -> dict[str, Any]:
    script = ROOT / "bench" / "trainers" / f"in_{name}.py"
    quiet = {"HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "DISABLE_VERSION_CHECK": "1"}
    done = subprocess.run(
        [python, script, work],
        env=environment({**quiet, "HF_HOME": str(work / "hf"), "PYTHONPATH": ""}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{TITLES[name]}: {done.stderr.strip().splitlines()[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _row(case: dict[str, Any], expected: dict[str, list[str]]) -> tuple[Cell, ...]:
    wanted = sorted(expected[case["rows"]])
    trained = sorted(text.replace(f"{CLOSING}\n", CLOSING) for text in case["trained"])
    same = "yes" if trained == wanted else "no"
    return (
        f"`{case['rows']}`",
        "`{}`".format(case["settings"].replace("|", r"\|")) if case["settings"] else "as it is",
        case["tokens"],
        case["with_loss"],
        sum(len(text.replace(CLOSING, ".").encode()) for text in wanted),
        f"refused: {case['failed']}" if case["failed"] else same,
    )


def _names(table: Table) -> list[str]:
    return list(dict.fromkeys(str(row[0]) for row in table.rows if row[-1] == "yes"))
