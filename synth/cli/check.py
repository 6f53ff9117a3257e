from __future__ import annotations

from pathlib import Path

import click

from synth.cli import terminal
from synth.cli.options import parse_overrides, set_option


@click.command(short_help="Say what is wrong with recipes.")
@click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@set_option
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text")
def command(recipes: tuple[Path, ...], overrides: tuple[str, ...], form: str) -> None:
    """Say what is wrong with recipes, and exit with 1 when there are faults; with 2 when they are of
    --set alone.

    Warnings are printed too, but do not change the exit status.
    """
    from synth.base.diagnostics.diagnostic import Diagnostic
    from synth.base.diagnostics.render import to_github, to_json
    from synth.base.errors import exit_status_of
    from synth.cli.output import plural, print_diagnostics
    from synth.compiler.compile import diagnose
    from synth.dsl.read import read

    found: list[Diagnostic] = []
    for recipe in recipes:
        source, faults = read(recipe)
        found += diagnose(source, faults, parse_overrides(overrides), lenient=True).diagnostics.sorted()
    if form == "json":
        terminal.as_json(to_json(found))
    elif form == "github" and found:
        terminal.block(to_github(found))
    elif form == "text":
        print_diagnostics(found)
        if not found:
            terminal.say(f"{plural(len(recipes), 'recipe')} without a fault")
    raise SystemExit(exit_status_of(found))
