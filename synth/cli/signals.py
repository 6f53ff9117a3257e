"""Ctrl-C and SIGTERM while a command works: what is in hand is put away, and one sentence says so."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

# Whichever of the two it was.
STATUS = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How long what is left of a command may take once it is interrupted, in seconds.
_PATIENCE_S = 5.0
_AGAIN_S = 0.05

# The first signal that came, or None.
received: int | None = None
_leave: Callable[[int, object], None]


def attend(leave: Callable[[int, object], None]) -> None:
    """Has the first Ctrl-C or SIGTERM raise KeyboardInterrupt; the second calls `leave`, which says
    so and ends the process at once."""
    global received, _leave
    received, _leave = None, leave
    _handle(_interrupted)
    sys.unraisablehook = _unraisable


def conclude(status: int) -> None:
    """Readies the process for its end, with what libraries still have to close."""
    if received is None or status != STATUS:
        _handle(_leave)
        return
    with suppress(OSError):
        name = "Ctrl-C" if received == signal.SIGINT else signal.Signals(received).name
        os.write(2, f"synth: interrupted by {name}; give the same command again\n".encode())
    _handle(signal.SIG_IGN)
    # A thread inside a library, loading a model say, is not waited for longer.
    watchdog = threading.Timer(_PATIENCE_S, os._exit, (STATUS,))
    watchdog.daemon = True
    watchdog.start()


def _handle(handler: Any) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _SIGNALS:
        # A caller that ignores one, as nohup does, goes on ignoring it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupted(number: int, frame: FrameType | None) -> None:
    global received
    if received is not None:
        _leave(number, frame)
    received = number
    raise KeyboardInterrupt


def _unraisable(fault: Any) -> None:
    if isinstance(fault.exc_value, KeyboardInterrupt):
        # It came where nothing can be raised, such as a finalizer: once more, where it can.
        threading.Timer(_AGAIN_S, _again).start()
        return
    sys.__unraisablehook__(fault)


def _again() -> None:
    global received
    number, received = received or signal.SIGINT, None
    # To the main thread: sent to this one, it would not end what the main thread waits for.
    signal.pthread_kill(threading.main_thread().ident or 0, number)
