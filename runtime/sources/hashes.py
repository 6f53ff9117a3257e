"""The sha256 of files, kept for large ones as long as nothing touches them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from synth.base import cache
from synth.base.errors import ConfigError
from synth.base.files import file_hash
from synth.runtime.sources.locate import SourceFile

# Smaller files are hashed in a tenth of a second.
LARGE = 64 * 1024 * 1024
# A file may change again within one tick of the clock that its times are taken from, unseen.
_SETTLED_NS = 2_000_000_000
_KIND = "hashes"


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file and the sha256 of its bytes; `stamp` changes when the file does."""

    file: SourceFile
    bytes: int
    sha256: str
    stamp: tuple[int, ...]


def hash_file(file: SourceFile) -> Hashed:
    """Raises ConfigError for a file that cannot be read.

    Of a large file that nothing wrote to since, what was found before is taken: every write changes the
    time of its last change, which no program can set.
    """
    try:
        status = file.path.stat()
        found = _kept(file.path, status)
        if found is None:
            begun = time.time_ns()
            found = file_hash(file.path)
            if status.st_size >= LARGE and max(status.st_ctime_ns, status.st_mtime_ns) < begun - _SETTLED_NS:
                cache.store(_KIND, _name(file.path, status), {"sha256": found})
    except OSError as error:
        raise ConfigError(f"{file.name} cannot be read ({error.strerror or error}): check the file") from None
    return Hashed(file, status.st_size, found, _stamp(status))


def quick_hash(path: Path) -> str | None:
    """The sha256 of a file where it takes no time; None of a large one that nobody hashed.

    Raises OSError."""
    status = path.stat()
    return file_hash(path) if status.st_size < LARGE else _kept(path, status)


def changed(hashed: Hashed) -> bool:
    """Whether anything wrote to a file since."""
    try:
        return _stamp(hashed.file.path.stat()) != hashed.stamp
    except OSError:
        return True


def _kept(path: Path, status: os.stat_result) -> str | None:
    if status.st_size < LARGE:
        return None
    kept = cache.load(_KIND, _name(path, status))
    found = None if kept is None else kept.get("sha256")
    return found if isinstance(found, str) else None


def _name(path: Path, status: os.stat_result) -> str:
    return sha256(repr([str(path), status.st_dev, *_stamp(status)]).encode()).hexdigest()[:32]


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
