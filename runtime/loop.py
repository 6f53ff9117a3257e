"""The event loop that a run is on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Young objects between two collections.  A run has some hundred thousand tasks, futures and
# messages alive: at Python's own 700 the collector takes a tenth of the loop's time.
_YOUNG = 20_000


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on a loop of its own."""
    before = gc.get_threshold()
    gc.set_threshold(_YOUNG, 20, 50)
    try:
        return asyncio.run(main)
    finally:
        gc.set_threshold(*before)
