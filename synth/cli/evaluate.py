from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.cli import terminal
from synth.cli.options import (
    accept_loss_option,
    allow_option,
    compile_recipe,
    json_option,
    load_settings,
    log_option,
    model_options,
    recipe_argument,
    set_option,
    wait_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synth.runtime.evaluation.evaluate import Evaluated, Report
    from synth.runtime.evaluation.verdicts import Measured


@click.command(short_help="Take a recipe's own measures of its datasets, and of a student.")
@recipe_argument
@set_option
@log_option
@model_options
@allow_option
@click.option(
    "--student",
    "students",
    multiple=True,
    metavar="BACKEND:ID[@REVISION]",
    help="Take the measures of this model's answers as well.",
)
@click.option("--limit", type=click.IntRange(1), help="Ask each model about this many rows at most.")
@click.option(
    "--max-cost",
    type=click.FloatRange(0, min_open=True),
    help="Spend no more than this, in the unit of the prices.",
)
@accept_loss_option
@click.option("--retry-lost", is_flag=True, help="Ask again what earlier runs lost for good.")
@click.option("--partial", is_flag=True, help="Take the samples that are there when some are missing.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the measures to a file, as JSON.",
)
@wait_options
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    log: Path,
    models: tuple[str, ...],
    pocket: bool,
    simulate: bool,
    allowed: tuple[Path, ...],
    students: tuple[str, ...],
    limit: int | None,
    max_cost: float | None,
    accept_loss: bool,
    retry_lost: bool,
    partial: bool,
    output: Path | None,
    patience: float | None,
    grace: float,
    as_json: bool,
) -> None:
    """Take a recipe's own measures: of its datasets, and of what models answer to held-out rows.

    What models answer goes into the log, and is never asked twice.  What a service failed to answer is
    asked again by the next evaluation, and what was lost for good with --retry-lost.

    Exit status: 0 every bound holds, 1 faults, 2 usage, 3 a bound is missed, nothing could be measured or
    samples are missing, 5 trouble with the log, 130 interrupted.
    """
    if len(students) > 1:
        raise click.UsageError("--student is given twice, and one is asked at a time: run it once for each")
    student = students[0] if students else None
    from synth.base.errors import ConfigError
    from synth.base.leftovers import write_whole
    from synth.cli.progress import Display
    from synth.runtime.evaluation.evaluate import evaluate
    from synth.runtime.run.report import RunOptions

    plan = compile_recipe(recipe, overrides)
    if not plan.evaluations:
        raise ConfigError(
            f"the recipe `{plan.recipe}` declares no evaluation, such as "
            "`evaluation quality of train { emoji(at_most = 0%) }`"
        )
    settings = load_settings(recipe, plan, models, pocket, simulate, student)
    options = RunOptions(
        limit=limit,
        max_cost=max_cost,
        retry_lost=retry_lost,
        patience=patience,
        grace=grace,
        accept_loss=accept_loss,
        allowed=allowed,
    )
    with Display(quiet=as_json) as display:
        report = evaluate(
            plan,
            settings,
            log,
            student=student is not None,
            partial=partial,
            options=options,
            watch=display.watch,
        )
    told = {"recipe": plan.recipe, **_as_json(report)}
    if output is not None:
        try:
            body = terminal.to_json(told, indent=1) + "\n"
            write_whole(output, body.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise ConfigError(f"{output} cannot be written: {error.strerror}") from None
    if as_json:
        terminal.as_json(told)
    else:
        _print(report)
    raise SystemExit(report.exit_status)


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "held": report.held,
        "evaluations": [
            {
                "evaluation": evaluated.plan.name,
                "of": evaluated.plan.of,
                "rows": evaluated.rows,
                "held_out": evaluated.held_out,
                "held": evaluated.held,
                "measures": [_metric_as_json(each) for each in evaluated.measured],
            }
            for evaluated in report.evaluations
        ],
        "runs": [
            {
                "run_id": run.run_id,
                "outcome": run.outcome,
                "reason": run.reason,
                "stuck": [stuck.to_json() for stuck in run.stuck],
                "cost": run.cost,
                "warnings": list(run.warnings),
                **run.counts,
            }
            for run in report.runs
        ],
        "limits": dict(report.limits),
        "lost": dict(report.lost),
        "failed": dict(report.failed),
        "warnings": list(report.warnings),
    }


def _metric_as_json(each: Measured) -> dict[str, Any]:
    return {
        "measure": each.plan.name,
        "arguments": each.plan.arguments,
        "of": each.of,
        "by": each.by,
        "value": each.value,
        "unit": each.unit,
        "at_most": each.plan.at_most,
        "at_least": each.plan.at_least,
        "judged": each.judged,
        "held": each.held,
        "note": each.note,
        "examples": [{"row": row, "reason": reason} for row, reason in each.examples],
    }


def _print(report: Report) -> None:
    from synth.cli.output import money, plural, print_stuck, table
    from synth.store.log.served import in_words

    for warning in report.warnings:
        terminal.tell(f"warning: {warning}")
    for evaluated in report.evaluations:
        terminal.say(f"{evaluated.plan.name} of {evaluated.plan.of}{_rows(evaluated)}", "")
        judged = any(each.by for each in evaluated.measured)
        header = ["measure", "of", *(["by"] if judged else []), "", "value", "bound", "judged"]
        rows = [_cells(each, judged) for each in evaluated.measured]
        terminal.block(table(header, rows, left=header.index("value")))
        for each in evaluated.measured:
            examples = () if each.held else each.examples
            if each.note or examples:
                by = f", by {each.by}" if each.by else ""
                terminal.say("", f"  {each.plan.name} of {each.of}{by}: {each.note or 'for example'}")
            for row, reason in examples:
                terminal.say(f"    {row}  {reason}")
        terminal.say()
    asked = sum(step["issued"] for run in report.runs for step in run.counts["steps"])
    for name, limit in report.limits.items():
        terminal.say(f"{name} was given {limit:,} tokens for an answer, from the longest one in the rows.")
    if report.runs:
        spent = sum(run.cost for run in report.runs)
        missing = report.lost or report.failed or any(run.exit_status for run in report.runs)
        whole = "" if asked or missing else ": every answer is in the log"
        terminal.say(f"{plural(asked, 'call')} made{f', {money(spent)} spent' if spent else whole}.")
    _print_unanswered("lost for good", report.lost, "the same command with --retry-lost asks again")
    _print_unanswered("missing since a model or service failed", report.failed, "the same command asks again")
    for run in report.runs:
        for told in in_words(run.counts.get("served", {})):
            terminal.tell(f"warning: {told}")
        if run.exit_status:
            terminal.say(f"Stopped: {run.reason}; the same command goes on from here.")
            print_stuck(run.stuck)


def _print_unanswered(how: str, reasons: Mapping[str, int], remedy: str) -> None:
    from synth.base.display import quoted
    from synth.cli.output import plural

    if not reasons:
        return
    number = sum(reasons.values())
    most = max(reasons, key=lambda reason: reasons[reason])
    others = f" and {plural(len(reasons) - 1, 'other reason')}" if len(reasons) > 1 else ""
    told = f"{plural(number, 'answer')} {'is' if number == 1 else 'are'} {how}"
    terminal.say(f"{told} ({quoted(most, 160)}{others}): {remedy}.")


def _rows(evaluated: Evaluated) -> str:
    from synth.cli.output import plural

    if evaluated.rows is None:
        return ""
    if evaluated.held_out is not None:
        return f": {plural(evaluated.rows, 'row')}, {evaluated.held_out:,} held out"
    return f": {plural(evaluated.rows, 'row')}, none held out since the export has no split"


def _cells(each: Measured, by: bool) -> list[str]:
    bounds = ((each.plan.at_most, "<="), (each.plan.at_least, ">="))
    return [
        each.plan.name,
        each.of,
        *([each.by] if by else []),
        "holds" if each.held else "MISSED",
        "-" if each.value is None else f"{each.value:,.2f}{each.unit}",
        " and ".join(f"{sign} {bound:g}{each.unit}" for bound, sign in bounds if bound is not None),
        f"{each.judged:,}",
    ]
