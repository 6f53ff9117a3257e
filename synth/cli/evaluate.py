from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.cli.options import (
    compile_recipe,
    json_option,
    load_settings,
    log_option,
    model_options,
    recipe_argument,
    set_option,
)

if TYPE_CHECKING:
    from runtime.evaluation.evaluate import Evaluated
    from runtime.evaluation.verdicts import Measured


@click.command(short_help="Take a recipe's own measures of its datasets, and of a student.")
@recipe_argument
@set_option
@log_option
@model_options
@click.option(
    "--student",
    metavar="BACKEND:ID[@REVISION]",
    help="Also measure what this model answers to the held-out rows.",
)
@click.option("--limit", type=click.IntRange(1), help="Ask models about this many rows at most.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the measures to a file, as JSON.",
)
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    log: Path,
    models: tuple[str, ...],
    pocket: bool,
    simulate: bool,
    student: str | None,
    limit: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Take a recipe's own measures: of its datasets, and of what models answer to held-out rows.

    What models are asked goes into the log, and is never asked twice.

    Exit status: 0 every bound holds, 1 faults, 3 a bound is missed, 5 trouble with the log.
    """
    from dsl.errors import ConfigError
    from runtime.evaluation.evaluate import STUDENT, evaluate
    from runtime.run import RunOptions
    from synth.cli.progress import Display

    plan = compile_recipe(recipe, overrides)
    if not plan.evaluations:
        raise ConfigError(
            f"the recipe `{plan.recipe}` declares no evaluation, such as "
            "`evaluation quality of train { emoji(at_most = 0%) }`"
        )
    if student is not None:
        models = (*models, f"{STUDENT}={student}")
    settings = load_settings(
        recipe, plan, models, pocket, simulate, more=() if student is None else (STUDENT,)
    )
    with Display(quiet=as_json) as display:
        found = evaluate(
            plan,
            settings,
            log,
            student=student is not None,
            options=RunOptions(limit=limit),
            watch=display.watch,
        )
    body = json.dumps({"recipe": plan.recipe, "evaluations": [_as_json(e) for e in found]}, indent=1)
    if output is not None:
        try:
            output.write_text(body + "\n", "utf-8", newline="\n")
        except OSError as error:
            raise ConfigError(f"{output} cannot be written: {error.strerror}") from None
    if as_json:
        click.echo(body)
    else:
        for each in found:
            _print(each)
    raise SystemExit(_status(found))


def _status(found: list[Evaluated]) -> int:
    reports = [each.report for each in found if each.report is not None]
    ended = max((report.exit_status for report in reports), default=0)
    return ended or (0 if all(each.held for each in found) else 3)


def _as_json(evaluated: Evaluated) -> dict[str, Any]:
    return {
        "evaluation": evaluated.plan.name,
        "of": evaluated.plan.of,
        "held": evaluated.held,
        "measures": [
            {
                "measure": each.measure,
                "of": each.of,
                "value": None if each.value is None else round(each.value, 6),
                "unit": each.unit,
                "at_most": each.at_most,
                "at_least": each.at_least,
                "judged": each.judged,
                "held": each.held,
                "note": each.note,
                "examples": [{"row": row, "reason": reason} for row, reason in each.examples],
            }
            for each in evaluated.measured
        ],
    }


def _print(evaluated: Evaluated) -> None:
    from synth.cli.output import printable, table

    click.echo(f"{evaluated.plan.name}, of {evaluated.plan.of}\n")
    click.echo(
        table(
            ["measure", "of", "by", "value", "bound", "judged", ""],
            [
                [
                    each.measure,
                    each.of,
                    each.note.removeprefix("by "),
                    _value(each),
                    _bound(each),
                    each.judged,
                    "holds" if each.held else "MISSED",
                ]
                for each in evaluated.measured
            ],
            left=3,
        )
    )
    for each in evaluated.measured:
        if not each.held and each.examples:
            click.echo(f"\n  {each.measure} of {each.of}, for example")
            for row, reason in each.examples:
                click.echo(printable(f"    {row}  {reason}"))
    click.echo()


def _value(each: Measured) -> str:
    return "-" if each.value is None else f"{each.value:,.2f}{each.unit}"


def _bound(each: Measured) -> str:
    bounds = ((each.at_most, "<="), (each.at_least, ">="))
    return " and ".join(f"{sign} {bound:g}{each.unit}" for bound, sign in bounds if bound is not None)
