from __future__ import annotations

from pathlib import Path

import click

from synth.cli import terminal
from synth.cli.options import compile_recipe, set_option
from synth.cli.reading import reading


@click.command(short_help="Check a dataset against its manifest and the log.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--log", type=click.Path(path_type=Path), help="Materialize again from this log and compare.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="The recipe, where what is exported was changed since the last run.",
)
@set_option
def command(folder: Path, log: Path | None, recipe: Path | None, overrides: tuple[str, ...]) -> None:
    """Check a dataset against its manifest, and with --log against the log it comes from.

    Exit status: 0 it holds, 1 no dataset, 2 usage, 4 it differs, 5 the log does not hold.
    """
    from synth.cli.output import plural
    from synth.store.dataset.verify import read_manifest, verify_against_log, verify_files

    plan = compile_recipe(recipe, overrides) if recipe is not None else None
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    against = ""
    if log is not None:
        with reading(log, trust=False) as opened:
            verify_against_log(folder, manifest, opened, plan)
        against = f" and is what the first {manifest['log']['events']:,} events of {log} give"
    terminal.say(f"{folder} holds {plural(len(manifest['files']), 'file')} as written{against}")
