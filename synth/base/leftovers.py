"""What processes leave behind when they are killed in the middle of writing."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path


def draft(path: Path) -> Path:
    """The name under which this process writes what is to be at `path`."""
    return path.with_name(f"{_prefix(path)}{os.getpid()}")


def sweep(path: Path) -> None:
    """Removes the drafts of `path` whose processes are gone; those of others that live stay."""
    prefix = _prefix(path)
    with suppress(OSError):
        for left in list(path.parent.iterdir()):
            number, _, more = left.name.removeprefix(prefix).partition("-")
            if not left.name.startswith(prefix) or not number.isdecimal() or not is_over(int(number)):
                continue
            # One of several drafts of this process may be under way in another thread.
            if not (more and int(number) == os.getpid()):
                _remove(left)


def write_whole(path: Path, content: bytes) -> None:
    """Gives a file other content: all of it or none, and on the disk.  Its mode stays, links are
    followed, and what is no regular file, a pipe for example, is written to as it is.  Raises OSError."""
    target = path.resolve()
    mode = None
    if target.exists():
        if not target.is_file():
            target.write_bytes(content)
            return
        # A file that may not be written is not to be replaced either.
        with target.open("r+b") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    sweep(target)
    written = draft(target)
    try:
        with written.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            written.chmod(mode)
        written.replace(target)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def is_over(pid: int) -> bool:
    """Whether what was written by the process of this number is left over: no such process lives, or it
    is this one, which has not begun."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return pid == os.getpid()


def _prefix(path: Path) -> str:
    return f".{path.name}.synth-"


def _remove(left: Path) -> None:
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        with suppress(OSError):
            left.unlink()
