"""The commands of `synth`, each imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from synth.base.version import VERSION

# Name -> what it does, in the words of `synth --help`: known without importing the command.
COMMANDS = {
    "init": "Make a starter project.",
    "check": "Say what is wrong with recipes.",
    "infer": "Print the schema and the source of a file.",
    "explain": "Explain a diagnostic's code, or a part of the language.",
    "fmt": "Write recipes in the one layout.",
    "compile": "Turn a recipe into a plan and say what it will cost.",
    "run": "Generate until every quota is met.",
    "materialize": "Write the datasets of a recipe from the log.",
    "evaluate": "Take a recipe's own measures of its datasets, and of a student.",
    "replay": "Run a recipe again with the log as the only engine, and compare.",
    "verify": "Check a dataset against its manifest and the log.",
    "status": "Show how far runs are.",
    "show": "Tell one sample's whole story.",
    "forget": "Write a log anew without a sample, or without what holds a text.",
    "sql": "Ask the log a question.",
    "doctor": "Say what state a log is in, and save what can be had of it.",
}


class LazyGroup(click.Group):
    """A group that imports a command when it runs, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"synth.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from synth.base.suggest import suggest

            guess = suggest(args[0], COMMANDS)
            raise click.UsageError(
                f"there is no command `{args[0]}`" + (f"; did you mean `{guess}`?" if guess else "")
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as fault:
            if fault.ctx is None:
                fault.ctx = self._meant(ctx)
            raise

    def _meant(self, ctx: click.Context) -> click.Context:
        """The command that was wrongly used before it had a context of its own."""
        name = ctx.invoked_subcommand or ""
        command = self.get_command(ctx, name)
        return ctx if command is None else click.Context(command, info_name=name, parent=ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION, message="synth %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Synthetic training data from typed recipes.

    A recipe is compiled to a plan; a run batches its calls onto models and logs every event;
    datasets are materialized from the log, the same bytes every time.
    """
    if context.invoked_subcommand is None:
        from synth.cli import terminal

        terminal.block(context.get_help())
