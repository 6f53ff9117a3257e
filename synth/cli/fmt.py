from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synth.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synth.base.diagnostics.diagnostic import Diagnostic
    from synth.base.diagnostics.source import Source

_STDIN = "standard input"
_TONES = {"-": "red", "+": "green", "@": "cyan"}


@click.command(short_help="Write recipes in the one layout.")
@click.argument("recipes", nargs=-1, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--check", is_flag=True, help="Print what would change, and exit with 1 if anything would.")
@click.option("--stdin", "piped", is_flag=True, help="Read standard input, write to standard output.")
def command(recipes: tuple[Path, ...], check: bool, piped: bool) -> None:
    """Write recipes in the one layout: two spaces a level, one statement a line.

    What a recipe says is not touched, nor its comments.  A file with faults is left as it is.
    """
    from synth.cli.output import plural, print_diagnostics
    from synth.dsl.read import read

    if piped == bool(recipes):
        raise click.UsageError("name the recipes to format, or give one with --stdin")
    found: list[Diagnostic] = []
    changes = 0
    if piped:
        before = sys.stdin.buffer.read()
        after, faults = _formatted(*_read_text(before))
        found += faults
        if after is not None and not check:
            terminal.data_bytes(after)
        elif after is not None and after != before:
            changes += 1
            _print_diff(_STDIN, before, after)
    for path in recipes:
        after, faults = _formatted(*read(path))
        found += faults
        if after is None or after == (before := path.read_bytes()):
            continue
        changes += 1
        if check:
            _print_diff(str(path), before, after)
        else:
            _replace(path, after)
            terminal.say(f"formatted {path}")
    print_diagnostics(found)
    if recipes and not changes and not found:
        terminal.say(f"{plural(len(recipes), 'recipe')} formatted already")
    if found or (check and changes):
        raise SystemExit(1)


def _read_text(content: bytes) -> tuple[Source, Sequence[Diagnostic]]:
    from synth.base.errors import ConfigError
    from synth.dsl.read import read_text

    try:
        return read_text(content.decode("utf-8"), _STDIN)
    except UnicodeDecodeError as fault:
        byte = f"byte 0x{content[fault.start]:02X} at offset {fault.start:,}"
        raise ConfigError(f"{_STDIN} is not UTF-8 text ({byte}): write the recipe in UTF-8") from None


def _formatted(source: Source, faults: Sequence[Diagnostic]) -> tuple[bytes | None, list[Diagnostic]]:
    """A recipe's new content, or None and what is wrong with it."""
    from synth.dsl.format import format_source
    from synth.dsl.parse import parse

    text = None if faults else format_source(source)
    if text is None:
        return None, [*faults, *parse(source)[1]]
    # Readers take one carriage return before a line end away.
    return text.replace("\r\n", "\r\r\n").encode(), []


def _replace(path: Path, content: bytes) -> None:
    """Gives a file other content, all of it or none, and leaves its mode.  Links are followed.
    Raises ConfigError."""
    from synth.base.errors import ConfigError
    from synth.base.leftovers import write_whole

    try:
        write_whole(path, content)
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise ConfigError(f"{path} cannot be written ({reason}), and is as it was") from None


def _print_diff(name: str, before: bytes, after: bytes) -> None:
    """A unified diff: exact where a program may read it, with every character visible and in
    colour on a terminal."""
    from difflib import unified_diff
    from io import StringIO

    from synth.base.display import visible

    old, new = (list(StringIO(content.decode(), newline="\n")) for content in (before, after))
    for number, line in enumerate(unified_diff(old, new, name, name)):
        text = line.removesuffix("\n")
        if terminal.is_terminal():
            tone = _TONES.get(line[0]) if number > 1 else None
            terminal.styled(click.style(visible(text), fg=tone, bold=number < 2 or None))
        else:
            terminal.data(text + "\n")
        if not line.endswith("\n"):
            terminal.say("\\ No newline at end of file")
