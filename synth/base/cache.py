"""Plain data kept in the user's cache folder: what takes long to make and never changes.

It is kept as `marshal` behind a digest, and only in a folder that nobody but this user can
write: anything else about the folder, the file or the platform means no cache, never an error.
"""

from __future__ import annotations

import marshal
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from synth.base.leftovers import is_over

_DIGEST_BYTES = sha256().digest_size
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def _folder(kind: str) -> Path | None:
    root = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(root):
        return Path(root) / "synth" / kind
    try:
        return Path.home() / ".cache" / "synth" / kind
    except RuntimeError:
        return None


@contextmanager
def _private_folder(kind: str) -> Iterator[int | None]:
    """A descriptor of the cache folder, or None unless it is this user's alone.

    Files are opened relative to the descriptor: whoever can swap the folder afterwards
    swaps something that is no longer looked at.
    """
    folder = _folder(kind)
    if folder is None or not hasattr(os, "geteuid"):
        yield None
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        status = os.fstat(descriptor)
        private = status.st_uid == os.geteuid() and not status.st_mode & _OTHERS
        yield descriptor if private else None
    finally:
        os.close(descriptor)


def load(kind: str, name: str) -> dict[str, Any] | None:
    """What was stored under a name in the folder of a kind, or None."""
    with _private_folder(kind) as folder, suppress(OSError, ValueError, EOFError, TypeError):
        if folder is None:
            return None
        with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS or not stat.S_ISREG(status.st_mode):
                return None
            content = file.read()
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if sha256(payload).digest() != digest:
            return None
        loaded = marshal.loads(payload)
        return loaded if isinstance(loaded, dict) else None
    return None


def store(kind: str, name: str, plain: dict[str, Any]) -> None:
    """Keeps plain data (text, numbers, None, lists, tuples and dictionaries) for later runs."""
    payload = marshal.dumps(plain)
    draft = f"{name}.{os.getpid()}.{os.urandom(8).hex()}"
    with _private_folder(kind) as folder:
        if folder is None:
            return
        _sweep(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            with open(os.open(draft, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(sha256(payload).digest() + payload)
            os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)


def _sweep(folder: int) -> None:
    """Removes the drafts of processes that were killed."""
    with suppress(OSError):
        for left in os.listdir(folder):
            _, _, number = left.rpartition(".")[0].rpartition(".")
            if number.isdecimal() and int(number) != os.getpid() and is_over(int(number)):
                os.unlink(left, dir_fd=folder)
