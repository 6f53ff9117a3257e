from __future__ import annotations

import re
from pathlib import Path

import click

from synth.cli import terminal

_SOURCE = re.compile(r"^source (\w+)", re.MULTILINE)


@click.command(short_help="Print the schema and the source of a file.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--rows", is_flag=True, help="Take conversations as rows too.")
def command(file: Path, rows: bool) -> None:
    """Print the schema of a file's rows and the source that reads them, as they stand in a recipe.

    FILE is JSON Lines, JSON, CSV, Parquet or the folder of a dataset.  Paths in recipes are relative to the
    recipe: run this where it lies.  Types are those of the first 20,000 rows; bounds are not guessed.
    """
    from synth.runtime.sources.infer import MOST_ROWS, inferred

    text, whole = inferred(Path.cwd(), file.as_posix(), rows=rows)
    if not whole:
        terminal.say(f"# Of the first {MOST_ROWS:,} rows.")
    terminal.block(text.rstrip("\n"))
    name = _SOURCE.findall(text)[-1]
    over, method = f"conversation made over row in {name} {{ ... }}", "tickets"
    if ": messages from " in text:
        over = f"conversation better over chat in {name} {{ turn before: messages = chat ... }}"
        method = "distill"
    terminal.tell("")
    terminal.tell(f"Next: put it below `edition 1` and `recipe NAME {{ seed = 1 }}`, then say `{over}`;")
    terminal.tell(
        f"or `synth init DIR --from {method}` makes a whole recipe, whose source this can take the place of."
    )
