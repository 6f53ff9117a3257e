"""The one door to the terminal: whatever commands print goes through here.

What somebody else wrote (models, services, files, arguments, libraries) shows as text and does
nothing else, and a stream that takes nothing ends no command.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from synth.base.display import escaped, escaped_block, escaped_json

_OUT, _ERR = 1, 2
# Colours, of which only our own are let through.
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
# A progress bar of a library begins its line again, or goes to the one above.
_REDRAWN = re.compile(r"\r+|(?:\x1b\[A)+")

# What each standard stream refused, by its number.
_refused: dict[int, OSError] = {}


# What commands print ---------------------------------------------------------------------


def say(*lines: str, err: bool = False) -> None:
    """Lines for people, an empty one without any: whatever ends a line inside one is shown."""
    _put("".join(f"{escaped(line)}\n" for line in lines or ("",)), err)


def tell(line: str) -> None:
    """A line on the side: warnings, notes, and why a command failed."""
    say(line, err=True)


def block(text: str, *, err: bool = False) -> None:
    """A text whose line ends are meant."""
    _put(escaped_block(text) + "\n", err)


def styled(text: str, *, err: bool = False) -> None:
    """A text of ours with colours in it, in which all that others wrote is visible already."""
    stream = _stream(err)
    parts = _STYLE.split(text)
    styles = _STYLE.findall(text) if colored(err) else [""] * (len(parts) - 1)
    shown = "".join(escaped_block(part) + style for part, style in zip(parts, [*styles, ""], strict=True))
    if stream is not None:
        _put(shown + "\n", err)


def data(text: str) -> None:
    """A text for programs: exactly as it is, save on a terminal, where it is shown."""
    _put(escaped_block(text) if is_terminal() else text, False)


def data_bytes(content: bytes) -> None:
    """The same of UTF-8."""
    stream = _stream(False)
    if is_terminal() or not hasattr(stream, "buffer"):
        data(content.decode("utf-8", "backslashreplace"))
        return
    with _counting(False):
        stream.buffer.write(content)
        stream.buffer.flush()


def as_json(value: Any, *, indent: int | None = 1) -> None:
    """A value as JSON: the same value, legal, and with escapes for what would act on a terminal."""
    _put(escaped_json(to_json(value, indent=indent)) + "\n", False)


def to_json(value: Any, *, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, default=str, allow_nan=False)
    except (TypeError, ValueError):
        # Numbers that JSON has none for, and keys that are no texts.
        return json.dumps(_legal(value), ensure_ascii=False, indent=indent, default=str)


def markdown(text: str, widest: int) -> None:
    """A page of ours, laid out on a terminal."""
    if not is_terminal():
        _put(escaped_block(text), False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(file=_stream(False))
    with _counting(False):
        console.print(Markdown(text, code_theme="ansi_dark"), width=min(console.width, widest))


def live_console() -> Any:
    """A console on the side for what is drawn again and again; its texts have to be escaped."""
    from rich.console import Console

    return Console(file=_Side())  # type: ignore[arg-type]


def is_terminal(err: bool = False) -> bool:
    stream = _stream(err)
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def colored(err: bool = False) -> bool:
    return is_terminal(err) and not os.environ.get("NO_COLOR")


def _legal(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(name): _legal(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [_legal(each) for each in value]
    return value


# Streams ---------------------------------------------------------------------------------


def _stream(err: bool) -> Any:
    stream = sys.stderr if err else sys.stdout
    return stream.raw if isinstance(stream, _Guarded) else stream


def _put(text: str, err: bool) -> None:
    stream = _stream(err)
    if stream is None or (not err and _OUT in _refused):
        return
    with _counting(err):
        stream.write(text)
        stream.flush()


@contextmanager
def _counting(err: bool) -> Iterator[None]:
    """Keeps what a stream refuses: a command goes on without it."""
    try:
        yield
    except OSError as fault:
        _refused.setdefault(_ERR if err else _OUT, fault)
    except ValueError:
        # It is closed.
        pass


class _Side:
    """Standard error for a library that draws: what it refuses is not missed."""

    def __init__(self) -> None:
        self._raw = _stream(True)

    def write(self, text: str) -> int:
        with _counting(True):
            self._raw.write(text)
        return len(text)

    def flush(self) -> None:
        with _counting(True):
            self._raw.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class _Guarded:
    """A standard stream for whoever writes to it without asking: libraries, and their warnings."""

    def __init__(self, raw: TextIO, err: bool) -> None:
        self.raw = raw
        self._err = err

    def write(self, text: str) -> int:
        start = _REDRAWN.match(text)
        free = start[0] if start else ""
        with _counting(self._err):
            self.raw.write(free + escaped_block(text[len(free) :]))
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with _counting(self._err):
            self.raw.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def attended() -> Iterator[None]:
    """Has everything that is written to the standard streams go through this door."""
    _refused.clear()
    _open_missing()
    before = sys.stdout, sys.stderr, warnings.showwarning
    for stream in (sys.stdout, sys.stderr):
        # Text that models wrote can hold anything a terminal's encoding cannot say.
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = _Guarded(sys.stdout, False), _Guarded(sys.stderr, True)
    warnings.showwarning = _warn
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr, warnings.showwarning = before
        for number in _refused:
            _let_go(number)


def lost_output() -> str | None:
    """Why standard output has not all that was printed, or None.  Who reads it may go."""
    fault = _refused.get(_OUT)
    return None if fault is None or fault.errno == errno.EPIPE else fault.strerror or str(fault)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    tell(f"warning: {message}")


def _open_missing() -> None:
    """Opens what the caller closed: else the next file that is opened, a log, would be the standard
    output of libraries."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _let_go(number: int) -> None:
    """Points a stream that takes nothing elsewhere, so that Python's own last flush finds no fault."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
