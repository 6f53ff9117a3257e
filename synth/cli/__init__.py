"""The command line: one click command a file, each imported when it is asked for."""

from __future__ import annotations

# Not from `typing`, which takes a while: until `main` has begun, a Ctrl-C ends in a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from synth.cli.group import COMMANDS, cli

__all__ = ["COMMANDS", "cli", "main"]


def main() -> None:
    """The entry point: every failure is one sentence and an honest exit status."""
    # What is there already, since a Ctrl-C while all else is imported is one as well.
    import _signal  # type: ignore[import-not-found]
    import os
    import sys

    def leave(number: int, _: object) -> None:
        name = "Ctrl-C" if number == _signal.SIGINT else "SIGTERM"
        try:
            os.write(2, f"synth: interrupted by {name}; give the same command again\n".encode())
        finally:
            os._exit(130)

    for number in (_signal.SIGINT, _signal.SIGTERM):
        # A caller that ignores one, as nohup does, goes on ignoring it.
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, leave)

    from synth.cli.process import run

    sys.exit(run(leave))


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in ("COMMANDS", "cli"):
            raise AttributeError(f"module 'synth.cli' has no attribute '{name}'")
        from synth.cli import group

        return getattr(group, name)
