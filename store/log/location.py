"""What is found at a log's place, before anything is opened."""

from __future__ import annotations

import os
import re
import stat
from enum import Enum, auto
from pathlib import Path

from synth.base.errors import LogError

# `https://...`, `s3://...`, `md:...`: to the database, what comes before the colon says how to reach it.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+._-]+:")
_SLASH = re.compile(r"^([^/:]+:)/(?!/)")
_MAGIC = b"DUCK"
_MAGIC_AT = 8
_OTHERS = {
    b"SQLite format 3\0": "a SQLite database",
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "an archive",
    b"\x1f\x8b": "a gzip file",
}
# A file has three headers of this size before its first table.
HEADER = 4096
_HEADERS = 3 * HEADER


class Found(Enum):
    """Nothing; a file that was not begun, since who made it was killed; or a database."""

    NOTHING = auto()
    UNBEGUN = auto()
    DATABASE = auto()


def look(path: Path) -> Found:
    """What is at a log's place.  Raises LogError for what can be no log."""
    refuse_addresses(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        return Found.NOTHING
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise LogError(f"{path} is a folder; `--log` names a file")
    if not stat.S_ISREG(status.st_mode):
        raise LogError(f"{path} is a {_special(status.st_mode)}; `--log` names a file")
    return _look_inside(path, status.st_size)


def refuse_addresses(path: Path) -> None:
    """Raises LogError for an address, or what a database would take for one."""
    if _ADDRESS.match(str(path)):
        address = _SLASH.sub(r"\1//", str(path))
        raise LogError(
            f"{address} is an address; `--log` names a file on this machine, by its whole path where there "
            "is a colon in its name"
        )


def wal_of(path: Path) -> Path:
    """Where the database keeps what is not in its file yet."""
    return path.with_name(f"{path.name}.wal")


def real(path: Path) -> Path:
    """The file itself where links lead to it: what belongs to a log lies beside that."""
    return Path(os.path.realpath(path))


def _look_inside(path: Path, size: int) -> Found:
    try:
        with path.open("rb") as file:
            head = file.read(_HEADERS)
        has_wal = wal_of(real(path)).exists()
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror}") from None
    marked = head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC
    if size <= _HEADERS and not has_wal and (marked or not any(head)):
        return Found.UNBEGUN
    if marked or not any(head[:HEADER]):
        return Found.DATABASE
    kind = next((kind for start, kind in _OTHERS.items() if head.startswith(start)), None)
    if kind is not None:
        raise LogError(f"{path} is {kind}, not a log: `--log` names another place for the log")
    raise LogError(
        f"{path} is not a DuckDB file, or its beginning is damaged: `--log` names another place for the "
        f"log, and if it was one `synth doctor {path}` says what of it can be had"
    )


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"
