from __future__ import annotations

from pathlib import Path

import click

from synth.cli import terminal
from synth.cli.options import (
    compile_recipe,
    json_option,
    load_settings,
    log_option,
    model_options,
    recipe_argument,
    set_option,
)
from synth.cli.reading import reading


@click.command(short_help="Run a recipe again with the log as the only engine, and compare.")
@recipe_argument
@set_option
@log_option
@model_options
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    log: Path,
    models: tuple[str, ...],
    pocket: bool,
    simulate: bool,
    as_json: bool,
) -> None:
    """Run a recipe again with the log as the only engine, and compare.

    No model is loaded and nothing is written.  What is replayed is the last run; the last one with
    the models that --model, --pocket or --simulate name, where they do.

    Exit status: 0 the same, 1 faults, 2 usage, 3 no such run, 4 diverged, 5 trouble with the log.
    """
    from synth.base.errors import Diverged
    from synth.cli.origin import told_origin
    from synth.cli.output import plural
    from synth.runtime.run.replay import replay

    plan = compile_recipe(recipe, overrides, log=log)
    written_by = load_settings(recipe, plan, models, pocket, simulate).written_by(plan.models)
    with reading(log) as opened:
        found = replay(plan, opened, written_by)
        origin = told_origin(plan, opened, written_by)
    if as_json:
        terminal.as_json(
            {
                "same": found.same,
                "pending": found.pending,
                "forgotten": found.forgotten,
                "diverged": found.diverged,
            },
            indent=None,
        )
    else:
        pending = f", {plural(found.pending, 'sample')} pending in the log" if found.pending else ""
        gone = f", {found.forgotten:,} forgotten" if found.forgotten else ""
        terminal.say(f"{plural(found.same, 'sample')} came out as logged{pending}{gone}")
        if origin.line:
            terminal.say(origin.line)
    if found.diverged:
        more = f", and {len(found.diverged) - 1} more" if len(found.diverged) > 1 else ""
        raise Diverged(f"{log} does not replay: {found.diverged[0]}{more}")
