"""Events on their way into the log: numbered at once, committed in batches by one thread.

Everything here but `_commit` runs on the event loop; the log itself is touched by one worker
thread at a time.  An event counts once its commit returned.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from store.event import Event, Kind
from store.log import Log

BATCH_EVENTS = 256
BATCH_SECONDS = 0.2
# What is not committed yet is what a crash would cost, so batches go out sooner than that while
# commits are quick: they may take up to a twentieth of one core.
SHARE_OF_TIME = 0.05
# Calls wait once this many events are not yet durable: a slow disk slows the run down
# instead of filling memory.
MOST_PENDING = 8 * BATCH_EVENTS
# So often at most is told of commits, which takes a tenth of one.
TELL_SECONDS = 1.0


class Recorder:
    """The one way into the log while a run goes on.

    `after_commit` is called on the log's thread: after the first commit, then once in TELL_SECONDS
    while there are commits, and within TELL_SECONDS of the last one unless the recorder is closed.
    """

    def __init__(self, log: Log, run_id: str, *, after_commit: Callable[[], None] | None = None) -> None:
        self.run_id = run_id
        self.failure: Exception | None = None
        self._log = log
        self._after_commit = after_commit
        self._told = -TELL_SECONDS
        self._untold = False
        self._next = log.next_seq
        self._pending: list[Event] = []
        self._in_commit = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="synth-log")
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._committed = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._flush_forever(), name="synth-recorder")

    def emit(self, kind: Kind, payload: dict[str, Any], **columns: Any) -> int:
        """Adds an event; returns its seq.  It is durable within BATCH_SECONDS or so."""
        seq = self._next
        self._next += 1
        self._pending.append(Event(seq, kind, self.run_id, time.time_ns() // 1000, payload, **columns))
        self._some.set()
        if len(self._pending) >= BATCH_EVENTS:
            self._full.set()
        return seq

    async def room(self) -> None:
        """Returns when the log keeps up.  Raises what stopped the log from being written."""
        if self._waiting or self._crowded:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(woken)
            await woken
        if self.failure is not None:
            raise self.failure

    @property
    def _crowded(self) -> bool:
        return self.failure is None and len(self._pending) + self._in_commit >= MOST_PENDING

    def _wake(self) -> None:
        """Lets some of those go on who wait for room, and the next once it is known what those add."""
        for _ in range(BATCH_EVENTS):
            if not self._waiting or self._crowded:
                return
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
        asyncio.get_running_loop().call_soon(self._wake)

    async def settle(self) -> None:
        """Returns when every event so far is durable.  Raises what stopped the log from being
        written."""
        target = self._next
        while self._log.next_seq < target:
            if self.failure is not None:
                raise self.failure
            self._committed.clear()
            self._full.set()
            await self._committed.wait()

    async def close(self) -> None:
        """Commits what is left.  Raises what stopped the log from being written."""
        self._closing = True
        self._some.set()
        self._full.set()
        await self._task
        self._worker.shutdown()
        if self.failure is not None:
            raise self.failure

    async def _flush_forever(self) -> None:
        loop = asyncio.get_running_loop()
        patience = 0.0
        try:
            while await self._any():
                if not self._closing and len(self._pending) < BATCH_EVENTS:
                    self._full.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._full.wait(), patience)
                events, self._pending = self._pending, []
                self._in_commit = len(events)
                seconds = await loop.run_in_executor(self._worker, self._commit, events, loop)
                patience = min(BATCH_SECONDS, seconds / SHARE_OF_TIME)
                self._committed.set()
        except Exception as error:
            self.failure = error
            self._in_commit = 0
            self._wake()
            self._committed.set()

    async def _any(self) -> bool:
        """Waits for events; False when there will be none."""
        while not self._pending and not self._closing:
            self._some.clear()
            try:
                await asyncio.wait_for(self._some.wait(), TELL_SECONDS if self._untold else None)
            except TimeoutError:
                await asyncio.get_running_loop().run_in_executor(self._worker, self._tell)
        return bool(self._pending)

    def _commit(self, events: list[Event], loop: asyncio.AbstractEventLoop) -> float:
        """Commits events in batches, without waiting for the loop, which may be busy with thousands of
        answers.  Returns the processor time it took for each, in seconds: waiting for others costs them
        nothing."""
        began = time.thread_time()
        starts = range(0, len(events), BATCH_EVENTS)
        for start in starts:
            batch = events[start : start + BATCH_EVENTS]
            self._log.append(batch)
            self._in_commit -= len(batch)
            loop.call_soon_threadsafe(self._wake)
        self._untold = True
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._tell()
        return (time.thread_time() - began) / len(starts)

    def _tell(self) -> None:
        self._told, self._untold = time.monotonic(), False
        if self._after_commit is not None:
            self._after_commit()
