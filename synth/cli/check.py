from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synth.cli import terminal
from synth.cli.options import parse_overrides, set_option

if TYPE_CHECKING:
    from synth.compiler.plan.model import Plan


@click.command(short_help="Say what is wrong with recipes.")
@click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@set_option
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text")
def command(recipes: tuple[Path, ...], overrides: tuple[str, ...], form: str) -> None:
    """Say what is wrong with recipes, and exit with 1 when there are faults; with 2 when they are of
    --set alone.

    The synth.toml that a recipe would run with is read as well.  Warnings are printed too, but do not
    change the exit status.
    """
    from synth.base.diagnostics.diagnostic import Diagnostic
    from synth.base.diagnostics.render import to_github, to_json
    from synth.base.errors import SynthError, exit_status_of
    from synth.cli.output import plural, print_diagnostics
    from synth.compiler.compile import diagnose
    from synth.dsl.read import read

    found: list[Diagnostic] = []
    # Several recipes have one synth.toml.
    warnings, settings_faults = dict[str, None](), dict[str, None]()
    for recipe in recipes:
        source, faults = read(recipe)
        diagnosed = diagnose(source, faults, parse_overrides(overrides), lenient=True)
        found += diagnosed.diagnostics.sorted()
        if diagnosed.library:
            continue
        try:
            warnings.update(dict.fromkeys(_check_settings(recipe, diagnosed.plan)))
        except SynthError as fault:
            settings_faults[str(fault)] = None
    if form == "json":
        terminal.as_json(to_json(found))
    elif form == "github" and found:
        terminal.block(to_github(found))
    elif form == "text":
        print_diagnostics(found)
        if not found and not settings_faults:
            terminal.say(f"{plural(len(recipes), 'recipe')} without a fault")
    for said in warnings:
        terminal.tell(f"warning: {said}")
    for said in settings_faults:
        terminal.tell(f"synth: {said}")
    raise SystemExit(1 if settings_faults else exit_status_of(found))


def _check_settings(recipe: Path, plan: Plan | None) -> list[str]:
    """What is to be said of the recipe's synth.toml; of a recipe with faults, whether it can be read.
    Raises SynthError."""
    from synth.runtime.settings import load

    settings = load(recipe.resolve().parent)
    return [] if plan is None else settings.check(plan)
