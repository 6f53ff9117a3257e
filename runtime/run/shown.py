"""What a run says of itself, and how it looks in a notebook: a line as text, tables as HTML."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import TYPE_CHECKING

from synth.base.display import escaped
from synth.base.html import html_table

if TYPE_CHECKING:
    from synth.compiler.plan.model import Plan
    from synth.runtime.events.progress import Progress
    from synth.runtime.run.report import RunReport


def run_line(report: RunReport) -> str:
    cohorts = [f"{name} {c['completed']:,} of {c['quota']:,}" for name, c in report.counts["cohorts"].items()]
    calls = sum(step["issued"] for step in report.counts["steps"])
    cost = f", cost {report.cost:,.4f}" if report.cost else ""
    made = f"{', '.join(cohorts)}; {calls:,} calls in {report.seconds:,.1f} s{cost}"
    reason = "" if report.outcome == "finished" else f" ({report.reason})"
    return escaped(f"{report.outcome}{reason}: {made}")


def run_html(report: RunReport) -> str:
    counts = report.counts
    cohorts = [
        [name, c["quota"], c["completed"], c["found"], c["abandoned"], c["pending"]]
        for name, c in counts["cohorts"].items()
    ]
    steps = [
        [f"{s['cohort']}.{s['step']}", s["model"], s["issued"], s["reused"], s["rejected"], s["accepted"]]
        for s in counts["steps"]
    ]
    return html_table(
        run_line(report),
        ("conversation", "quota", "completed", "from the log", "abandoned", "pending"),
        cohorts,
    ) + html_table("", ("step", "model", "calls", "reused", "rejected", "accepted"), steps)


def met(progress: Progress) -> str:
    """That every quota is met, and how many samples and pairs were lost where no number of them was asked
    for."""
    rows = [
        f"`{cohort.name}` has {counters.completed:,} of {counters.completed + counters.abandoned:,} samples, "
        f"and {counters.abandoned:,} came to none"
        for cohort in progress.plan.cohorts
        if cohort.each and (counters := progress.cohorts[cohort.name]).abandoned
    ]
    lost = [
        f"`{pair.name}` has {counters.completed:,} pairs, after losing {counters.abandoned:,}"
        for pair in progress.plan.preferences
        if pair.steps and pair.quota is None and (counters := progress.cohorts[pair.name]).abandoned
    ]
    return "; ".join(("every quota is met", *rows, *lost))


def lost_calls(plan: Plan, calling: Collection[str]) -> list[str]:
    """A warning, where turns go on from rows of sources that are `calling` tools and have none to call."""
    turns = [
        f"`{cohort.name}.{turn.name}`"
        for cohort in plan.cohorts
        if cohort.rows is not None and cohort.rows.table in calling
        for before, turn in pairwise(cohort.turns)
        if before.role == "messages" and turn.role == "model" and turn.model is not None
        if turn.sees == "transcript" and not turn.tools
    ]
    if not turns:
        return []
    go = "goes" if len(turns) == 1 else "go"
    return [
        f"{' and '.join(turns)} {go} on from rows in which tools are called, and no `tools` are "
        "given there: the calls after the last question, and what came back, are dropped"
    ]
