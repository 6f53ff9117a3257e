"""How the measures of a run look in a notebook: a line as text, tables as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth.base.html import html_table

if TYPE_CHECKING:
    from synth.runtime.evaluation.evaluate import Report


def metrics_line(report: Report) -> str:
    found = [each for evaluated in report.evaluations for each in evaluated.measured]
    missed = [f"{each.plan.name} of {each.of}" for each in found if not each.held]
    return f"{len(found)} measures, " + (f"missed: {', '.join(missed)}" if missed else "every bound holds")


def metrics_html(report: Report) -> str:
    rows = [
        [
            evaluated.plan.name,
            each.plan.name,
            each.of,
            each.by,
            "holds" if each.held else "MISSED",
            "-" if each.value is None else f"{each.value:,.2f}{each.unit}",
            each.judged,
        ]
        for evaluated in report.evaluations
        for each in evaluated.measured
    ]
    header = ("evaluation", "measure", "of", "by", "", "value", "judged")
    return html_table(metrics_line(report), header, rows)
