"""A log that a command reads: what is to be known of it is said first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from synth.cli import terminal

if TYPE_CHECKING:
    from synth.store.log.log import Log


@contextmanager
def reading(path: Path, *, deep: bool = True, trust: bool = True) -> Iterator[Log]:
    """An open log; its notices go to stderr."""
    from synth.store.log.log import Log

    with Log(path, deep=deep, trust=trust) as log:
        for notice in log.notices:
            terminal.tell(f"warning: {notice}")
        yield log
