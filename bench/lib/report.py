"""What a benchmark found, and how it is written: JSON for programs, Markdown and plots for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_INDEX = """# Results

Each page says what was measured on which machine and when; the JSON beside it holds every figure.  How
to run them, and what they compare with, is in [bench/README.md](../README.md).
"""

_NO_GPU = "None is of a GPU: `bench/gpu.sh` does all on a machine that has one, and has not been run yet.\n"

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a title; None is a figure that there is not."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars: `values` for each label, one list for each name.  `limit` is a line at a
    target; None is a bar that there is not."""

    title: str
    x: str
    labels: list[str]
    values: Mapping[str, list[float | None]]
    limit: Mapping[str, float] = field(default_factory=dict)
    log: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Points (x, y) joined by lines, for each name; `limit` are levels of y with a name."""

    title: str
    x: str
    y: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    limit: Mapping[str, float] = field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False
    marks: bool = True


Plot = Bars | Lines


@dataclass(slots=True)
class Report:
    """One benchmark's findings.  `headline` is what the list of all benchmarks says of it;
    `figures` is whatever else a program may want."""

    title: str
    headline: str
    tables: list[Table]
    notes: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


def write(name: str, report: Report, facts: Mapping[str, Any], out: Path) -> list[Path]:
    """Writes NAME.json, NAME.md and, when there is something to draw, NAME.png."""
    out.mkdir(parents=True, exist_ok=True)
    written = [out / f"{name}.json", out / f"{name}.md"]
    body = {
        "name": name,
        "title": report.title,
        "headline": report.headline,
        **facts,
        "tables": [asdict(table) for table in report.tables],
        "figures": report.figures,
        "notes": report.notes,
    }
    written[0].write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if report.plots:
        from bench.lib.plots import draw

        written.append(out / f"{name}.png")
        draw(report.plots, written[-1])
    written[1].write_text(markdown(name, report, facts), "utf-8")
    return written


def markdown(name: str, report: Report, facts: Mapping[str, Any]) -> str:
    """The page of one benchmark."""
    parts = [f"# {report.title}", report.headline]
    parts += [f"**{table.title}**\n\n{grid(table)}" for table in report.tables]
    if report.plots:
        parts.append(f"![{report.title}]({name}.png)")
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    parts.append(described(facts))
    return "\n\n".join(parts) + "\n"


def grid(table: Table) -> str:
    """A table in Markdown, its columns aligned so that it reads as plain text too."""
    rows = [table.columns, *(tuple(cell_text(cell) for cell in row) for row in table.rows)]
    numeric = [any(isinstance(row[i], int | float) for row in table.rows) for i in range(len(table.columns))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        + " |"
        for row in rows
    ]
    rule = [
        "-" * (width + 1) + ":" if right else "-" * (width + 2)
        for width, right in zip(widths, numeric, strict=True)
    ]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])


def cell_text(cell: Cell) -> str:
    """A cell as people read it: three digits that count, thousands apart."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        if not math.isfinite(cell) or cell == 0:
            return "0" if cell == 0 else str(cell)
        digits = max(0, 2 - math.floor(math.log10(abs(cell))))
        return f"{cell:,.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def index(out: Path) -> None:
    """Writes README.md over all results in a folder."""
    rows: list[tuple[Cell, ...]] = []
    results = [json.loads(path.read_text("utf-8")) for path in sorted(out.glob("*.json"))]
    for result in results:
        place = f"{result['machine']['cores']} cores" + (", GPU" if result["machine"]["gpu"] else "")
        page = f"[{result['name']}]({result['name']}.md)"
        rows.append((page, result["headline"], f"{result['date']}, {place}, {result['size']}"))
    table = grid(Table("", ("", "found", "measured"), rows))
    gpu = "" if any(result["machine"]["gpu"] for result in results) else f"\n{_NO_GPU}"
    (out / "README.md").write_text(f"{_INDEX}\n{table}\n{gpu}", "utf-8")


def described(facts: Mapping[str, Any]) -> str:
    """The line under every page: where, when and with what."""
    machine = facts["machine"]
    kept = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    gpu = f", {machine['gpu']}" if machine["gpu"] else ", no GPU"
    size = {"quick": "  A quick run: its sizes say that it works, not how fast it is.", "full": ""}
    return (
        f"Measured on {facts['date']}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}{gpu}; {kept}.  Load before it: {facts['load']}; "
        f"it took {facts['seconds']:,.0f} s." + size.get(facts["size"], "")
    )
