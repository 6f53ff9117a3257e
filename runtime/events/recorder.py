"""Events on their way into the log: numbered at once, committed in batches by one thread.

The thread takes what is there by itself, since the event loop may be busy for seconds with
thousands of answers.  It alone touches the log, and everything else here runs on the loop.  An event
counts once its commit returned.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from threading import Event as Flag
from threading import Thread
from typing import Any, Literal, Unpack, overload

from synth.store.log import payloads, source_payloads
from synth.store.log.events import EncodedPayload, Event, Kind
from synth.store.log.log import Log

BATCH_EVENTS = 256
BATCH_SECONDS = 0.2
# So many batches at most are committed in one transaction.
MOST_TOGETHER = 4
_MOST_AT_ONCE = MOST_TOGETHER * BATCH_EVENTS
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
        self._told_at = -TELL_SECONDS
        self._untold = False
        self._next = log.next_seq
        # The loop appends and the thread takes from the left: both are one step of the interpreter.
        self._pending: deque[Event] = deque()
        self._due = Flag()
        self._calling = False
        self._at_once = False
        self._closing = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        # Some were let go on, and what they add is not known yet.
        self._waking = False
        self._committed = asyncio.Event()
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._write, name="synth-log", daemon=True)
        self._thread.start()

    @property
    def not_durable(self) -> int:
        """How many events are not committed yet."""
        return self._next - self._log.next_seq

    @overload
    def emit(
        self,
        kind: Literal[Kind.PLAN_REGISTERED],
        payload: payloads.PlanRegistered,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.RUN_STARTED],
        payload: payloads.RunStarted,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.SOURCE_INGESTED],
        payload: source_payloads.SourceIngested | source_payloads.RowIngested | EncodedPayload,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.SOURCE_COMPLETED],
        payload: source_payloads.SourceCompleted | source_payloads.DocumentsCompleted,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.RETRIEVAL_DONE],
        payload: payloads.RetrievalDone,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.FUNCTION_DONE],
        payload: payloads.FunctionDone,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.TOOL_DONE],
        payload: payloads.ToolDone,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.CALL_COMPLETED],
        payload: payloads.CallCompleted,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.CALL_FAILED],
        payload: payloads.CallFailed,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.STEP_ACCEPTED],
        payload: payloads.StepAccepted,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.STEP_REJECTED],
        payload: payloads.StepRejected,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.SAMPLE_COMPLETED],
        payload: payloads.SampleCompleted,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.SAMPLE_ABANDONED],
        payload: payloads.SampleAbandoned,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    @overload
    def emit(
        self,
        kind: Literal[Kind.RUN_STOPPED],
        payload: payloads.RunStopped,
        **columns: Unpack[payloads.EventColumns],
    ) -> int: ...
    def emit(self, kind: Kind, payload: Mapping[str, Any], **columns: Unpack[payloads.EventColumns]) -> int:
        """Adds an event; returns its seq.  It is durable within BATCH_SECONDS or so."""
        seq = self._next
        self._next += 1
        self._pending.append(Event(seq, kind, self.run_id, time.time_ns() // 1000, payload, **columns))
        count = len(self._pending)
        if count == 1 or count >= _MOST_AT_ONCE:
            self._due.set()
        elif count >= BATCH_EVENTS and not self._calling:
            # Many answers come in one turn of the loop: what they add goes with them.
            self._calling = True
            self._loop.call_soon(self._full)
        return seq

    def _full(self) -> None:
        self._calling = False
        self._due.set()

    async def room(self) -> None:
        """Returns when the log keeps up.  Raises what stopped the log from being written."""
        if self._waiting or self._waking or self._crowded:
            woken: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(woken)
            await woken
        if self.failure is not None:
            raise self.failure

    @property
    def _crowded(self) -> bool:
        return self.failure is None and self.not_durable >= MOST_PENDING

    def _wake(self) -> None:
        self._committed.set()
        if not self._waking:
            self._let_go_on()

    def _let_go_on(self) -> None:
        """Lets some of those go on who wait for room, and the next once it is known what those add."""
        free = BATCH_EVENTS if self.failure is not None else MOST_PENDING - self.not_durable
        self._waking = bool(self._waiting) and free > 0
        for _ in range(min(free, BATCH_EVENTS, len(self._waiting))):
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
        if self._waking:
            self._loop.call_soon(self._let_go_on)

    async def settle(self) -> None:
        """Returns when every event so far is durable.  Raises what stopped the log from being
        written."""
        target = self._next
        while self._log.next_seq < target:
            if self.failure is not None:
                raise self.failure
            self._committed.clear()
            self._at_once = True
            self._due.set()
            await self._committed.wait()

    async def close(self) -> None:
        """Commits what is left.  Raises what stopped the log from being written."""
        self._closing = True
        self._due.set()
        await self._ended.wait()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    # On the log's thread

    def _write(self) -> None:
        patience = 0.0
        try:
            while self._any():
                if self._may_grow:
                    self._due.clear()
                    # It may have become due just before that.
                    if self._may_grow:
                        self._due.wait(patience)
                patience = min(BATCH_SECONDS, self._commit() / SHARE_OF_TIME)
                self._tell_loop(self._wake)
        except Exception as error:
            self.failure = error
            self._tell_loop(self._wake)
        finally:
            self._tell_loop(self._ended.set)

    @property
    def _may_grow(self) -> bool:
        """Whether a batch is to wait for more events."""
        return not self._closing and not self._at_once and len(self._pending) < _MOST_AT_ONCE

    def _any(self) -> bool:
        """Waits for events; False when there will be none."""
        while not self._pending and not self._closing:
            self._at_once = False
            self._due.clear()
            if self._pending or self._closing:
                break
            if not self._due.wait(TELL_SECONDS if self._untold else None):
                self._tell()
        return bool(self._pending)

    def _batches(self) -> Iterator[list[Event]]:
        """What is pending, as far as one transaction takes it.  Where commits are behind, a few batches go
        together: most of what a commit costs is the same for all sizes."""
        for number in range(MOST_TOGETHER):
            count = min(len(self._pending), BATCH_EVENTS)
            if number and count < BATCH_EVENTS:
                return
            yield [self._pending.popleft() for _ in range(count)]

    def _commit(self) -> float:
        """Commits what is pending.  Returns the processor time that it took, in seconds: waiting for others
        costs them nothing."""
        began = time.thread_time()
        self._log.append(*self._batches())
        self._untold = True
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._tell()
        return time.thread_time() - began

    def _tell(self) -> None:
        self._told_at, self._untold = time.monotonic(), False
        if self._after_commit is not None:
            self._after_commit()

    def _tell_loop(self, what: Callable[[], None]) -> None:
        # The loop is closed where a run went down without closing this.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what)
