"""docs/commands.md: what each command does and takes, from the commands themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import click

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "commands.md"
_WIDTH = 100


def page() -> str:
    """The page, as it should be."""
    from synth.cli.group import COMMANDS, cli

    lines = [
        "# Commands",
        "",
        "Made by `python scripts/commands.py` of what the commands say of themselves with `--help`.",
        "",
        *(f"- [`synth {name}`](#synth-{name}): {does}" for name, does in COMMANDS.items()),
        "",
    ]
    with click.Context(cli, info_name="synth", **cli.context_settings) as above:
        for name in COMMANDS:
            command = cli.get_command(above, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=above, max_content_width=_WIDTH) as context:
                context.terminal_width = _WIDTH
                text = command.get_help(context)
            lines += [
                f"## synth {name}",
                "",
                "```",
                *(line.rstrip() for line in text.splitlines()),
                "```",
                "",
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"wrote docs/{PAGE.name}\n")
