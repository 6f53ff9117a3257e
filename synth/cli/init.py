from __future__ import annotations

import shlex
from pathlib import Path

import click

from synth.cli import terminal


@click.command(short_help="Make a starter project.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path(), metavar="[DIR]")
def command(folder: Path) -> None:
    """Make a starter project: a recipe that runs on this machine, and settings to fill in.

    Files that are there already are left alone.
    """
    from importlib.resources import files

    from synth.base.errors import ConfigError

    made: list[Path] = []
    try:
        for entry in sorted((files("synth") / "starter").iterdir(), key=lambda each: each.name):
            target = folder / entry.name.replace("gitignore", ".gitignore")
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(entry.read_text("utf-8"), "utf-8", newline="\n")
                made.append(target)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None
    for path in made:
        terminal.say(f"made {path}")
    if not made:
        terminal.say(f"{folder.resolve()} has all of it already")
    next_ = ["synth run quickstart.recipe --simulate   (or --pocket, for a real small model)"]
    if folder.resolve() != Path.cwd():
        # Logs and datasets are made where a command is given.
        next_.insert(0, f"cd {shlex.quote(str(folder))}")
    terminal.say("", f"Next: {next_[0]}", *(f"      {line}" for line in next_[1:]))
