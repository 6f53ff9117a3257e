"""The log as the scheduler asks it: off the event loop, one question at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from runtime.caller import Earlier
from store.history import History


class LoggedPast:
    """Earlier calls from a history.  Samples the log never saw cost nothing to ask for."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="synth-history")

    async def calls(self, names: Iterable[str]) -> Mapping[str, Earlier]:
        known = [name for name in names if self._history.knows(name)]
        if not known:
            return {}
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._history.calls, known)

    def close(self) -> None:
        self._worker.shutdown()
