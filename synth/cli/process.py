"""A command as a process: its failures as sentences, its exit status, what it could not print."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable

import click

from synth.cli import signals, terminal
from synth.cli.group import cli

# What click calls a value that is of the wrong type.
_WORDS = {
    "is not a valid integer range": "is no whole number",
    "is not a valid integer": "is no whole number",
    "is not a valid float range": "is no number",
    "is not a valid seconds": "is no number of seconds",
}


def run(leave: Callable[[int, object], None]) -> int:
    """Runs the command that the arguments name, and gives its exit status; a second Ctrl-C calls `leave`."""
    # What is imported stays: the collector would look through all of it again and again.
    gc.set_threshold(20_000, 20, 50)
    if "_SYNTH_COMPLETE" in os.environ:
        cli.main(prog_name="synth")
    signals.attend(leave)
    with terminal.attended():
        threading.excepthook = _of_thread
        status = _run()
        if (reason := terminal.lost_output()) is not None:
            terminal.tell(
                f"synth: standard output takes nothing ({reason}), so what was to be printed is not there; "
                "what the command did is done"
            )
            status = status or 1
    signals.conclude(status)
    return status


def _run() -> int:
    from synth.base.errors import RecipeError, SynthError
    from synth.base.telemetry import switch_off

    switch_off()
    try:
        with cli.make_context("synth", sys.argv[1:]) as context:
            cli.invoke(context)
        return 0
    except SystemExit as leaving:
        return _status(leaving)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except BaseException as fault:
        # Libraries turn a Ctrl-C into faults of their own.
        if signals.received is not None or isinstance(fault, KeyboardInterrupt | click.Abort):
            return signals.STATUS
        if isinstance(fault, click.ClickException):
            terminal.block(_in_words(fault), err=True)
            return fault.exit_code
        if isinstance(fault, RecipeError):
            from synth.cli.output import print_diagnostics

            print_diagnostics(fault.diagnostics)
            return fault.exit_status
        if isinstance(fault, SynthError):
            terminal.tell(f"synth: {fault}")
            return fault.exit_status
        if os.environ.get("SYNTH_DEBUG"):
            raise
        terminal.tell(
            f"synth: internal error, {type(fault).__name__}: {fault}; SYNTH_DEBUG=1 shows where, for a report"
        )
        return 1


def _in_words(fault: click.ClickException) -> str:
    """A wrong use as click tells it, whose own way of printing drops some of an argument."""
    context = fault.ctx if isinstance(fault, click.UsageError) else None
    said = f"Error: {_plain(fault, context)}"
    if context is None:
        return said
    help_option = context.command.get_help_option(context)
    hint = f"Try '{context.command_path} {context.help_option_names[-1]}' for help.\n" if help_option else ""
    return f"{context.get_usage()}\n{hint}\n{said}"


def _plain(fault: click.ClickException, context: click.Context | None) -> str:
    """What click says, without its own words for what an option takes."""
    said = fault.format_message()
    if isinstance(fault, click.BadOptionUsage) and context is not None and " requires " in said:
        name = fault.option_name
        option = next((each for each in context.command.params if name in each.opts), None)
        shown = "VALUE" if option is None else option.make_metavar(context)
        return f"{name} needs a value: {name} {shown.removesuffix(' RANGE')}"
    for words, plain in _WORDS.items():
        said = said.replace(words, plain)
    return said


def _status(leaving: SystemExit) -> int:
    if leaving.code is None or isinstance(leaving.code, int):
        return leaving.code or 0
    terminal.tell(str(leaving.code))
    return 1


def _of_thread(fault: threading.ExceptHookArgs) -> None:
    if fault.exc_type is not SystemExit and not os.environ.get("SYNTH_DEBUG"):
        terminal.tell(f"warning: a thread ended by {fault.exc_type.__name__}: {fault.exc_value}")
        return
    threading.__excepthook__(fault)
