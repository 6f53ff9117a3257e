"""What Python callers see of a run while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from synth.cli import terminal
from synth.cli.progress import Display, line
from synth.runtime.run.run import Watch

if TYPE_CHECKING:
    from synth.runtime.calls.models import Models
    from synth.runtime.events.progress import Progress

# Seconds between two updates of a cell's output.
_REFRESH = 0.5


@contextmanager
def watching(progress: bool | None) -> Iterator[Watch]:
    """Shows progress in a notebook and on a terminal; with True in any case, with False never."""
    show = _cell_output()
    if progress is False or (progress is None and show is None and not terminal.is_terminal(err=True)):
        yield Watch()
        return
    with Display() if show is None else CellDisplay(show) as display:
        yield display.watch


class CellDisplay(Display):
    """Shows a run's progress as one line of a notebook cell's output, replaced as it goes on."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show

    def follow(self, progress: Progress, models: Models) -> None:
        self._show(line(progress, models))
        while not self._done.wait(_REFRESH):
            self._show(line(progress, models))
        self._show(line(progress, models))


def _cell_output() -> Callable[[str], None] | None:
    """What shows a text in the place of the one before in a notebook cell, or None elsewhere."""
    # Whoever is in a notebook has it imported.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is None:
        return None
    display = import_module("IPython.display").display
    handles: list[Any] = []

    def show(text: str) -> None:
        data = {"text/plain": text}
        if handles:
            handles[0].update(data, raw=True)
        else:
            handles.append(display(data, raw=True, display_id=True))

    return show
