"""The event loop that a run is on: a thread's own, or one in a thread beside it.

Where a loop is running already, as in a notebook, no second one can run in the same thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")

# Young objects between two collections.  A run has some hundred thousand tasks, futures and
# messages alive: at Python's own 700 the collector takes a tenth of the loop's time.
_YOUNG = 20_000

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# What a Ctrl-C does to a loop that another thread waits for; by default its work is cancelled.
_on_interrupt: dict[asyncio.AbstractEventLoop, Callable[[str], None]] = {}


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on a loop of its own, wherever it is called from."""
    before = gc.get_threshold()
    gc.set_threshold(_YOUNG, 20, 50)
    try:
        return _beside(main) if _is_running() else asyncio.run(main)
    finally:
        gc.set_threshold(*before)


@contextmanager
def interrupts(handle: Callable[[str], None]) -> Iterator[None]:
    """Has the running loop call `handle` with the signal's name for each Ctrl-C and SIGTERM.

    A loop in a thread beside the main one is told by the thread that waits for it (`run`).
    """
    loop = asyncio.get_running_loop()
    main = threading.current_thread() is threading.main_thread()
    handled = {number: signal.getsignal(number) for number in _SIGNALS} if main else {}
    for number in handled:
        loop.add_signal_handler(number, handle, number.name)
    _on_interrupt[loop] = handle
    try:
        yield
    finally:
        del _on_interrupt[loop]
        for number, before in handled.items():
            loop.remove_signal_handler(number)
            _restore(number, before)


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _beside(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in a thread of its own and waits for it.

    Signals come to the main thread: where it is the one that waits, it hands them on.
    """
    loop = asyncio.new_event_loop()
    done = Future[T]()
    asked = False

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                found = runner.run(main)
        except BaseException as fault:
            done.set_exception(fault)
        else:
            done.set_result(found)

    def interrupted(name: str) -> None:
        if handle := _on_interrupt.get(loop):
            handle(name)
            return
        for task in asyncio.all_tasks(loop):
            task.cancel()

    def hand_on(number: int, _: object) -> None:
        nonlocal asked
        asked = True
        # It may end at this very moment.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(interrupted, signal.Signals(number).name)

    # The context tells a notebook which cell an output belongs to.
    context = contextvars.copy_context()
    handled = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, hand_on) for number in handled}
    try:
        threading.Thread(target=context.run, args=(work,), name="synth-loop", daemon=True).start()
        return done.result()
    except asyncio.CancelledError:
        if asked:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            _restore(number, handler)


def _restore(number: signal.Signals, handler: Any) -> None:
    # None: one that was not set from Python, which cannot be set again from here.
    signal.signal(number, signal.SIG_DFL if handler is None else handler)
