"""What DuckDB says of a file that it cannot read, in our words."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from synth.base.errors import LogDamaged, LogError, LogHeld
from synth.store.log.wal import FRAME

_CHECKSUM = re.compile(
    r"computed checksum (?P<computed>\d+) does not match stored checksum (?P<stored>\d+)"
    r"(?: in block at location (?P<block>\d+))?"
)
_WAL_ENTRY = re.compile(r"entry at byte position (?P<entry>\d+)")
# What DuckDB raises where a file, not a query, is wrong, and words of what it says then.
_KINDS = (
    duckdb.IOException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.SerializationException,
)
_WORDS = (
    "corrupt",
    "checksum",
    "decompress",
    "replaying wal",
    "wal does not match",
    "wal was created",
    "could not read enough bytes",
    "invalidated",
    "serializ",
    "internal error",
    "not a valid duckdb",
)


def is_damage(error: BaseException | None) -> bool:
    """Whether an error says that a file is not as it was written, rather than that a query is wrong."""
    if type(error) is not duckdb.Error and not isinstance(error, _KINDS):
        return False
    text = str(error).lower()
    return any(word in text for word in _WORDS)


def damaged(path: Path, where: str) -> LogDamaged:
    """The sentence for a log that does not hold, with its remedy."""
    return LogDamaged(
        f"{path} is damaged: {where}; `synth doctor {path}` says what of it can be had, and with "
        "--salvage NEW writes that to a new log"
    )


def place(error: BaseException) -> str:
    """Where a file is damaged, in a clause."""
    text = str(error)
    checksum, entry = _CHECKSUM.search(text), _WAL_ENTRY.search(text)
    if entry is not None:
        return f"its write-ahead log is not as it was written at byte {int(entry['entry']):,}"
    if checksum is not None and checksum["block"] is not None:
        return f"its file is not as it was written at byte {int(checksum['block']):,}"
    if "WAL was created" in text or "WAL does not match" in text:
        return "its write-ahead log belongs to another state of the file"
    if "Could not read enough bytes" in text:
        return "its file was cut"
    return f"it cannot be read ({reason(error)})"


def explain(path: Path, error: duckdb.Error) -> LogError:
    """Why a log cannot be opened."""
    text = str(error)
    holder = re.search(r"PID (\d+)", text)
    if "lock" in text and holder is not None:
        return LogHeld(
            f"{path} is being written by process {holder[1]}: wait until it ends, or stop it; "
            "`synth status` shows how far it is"
        )
    if "already attached" in text or "different configuration" in text:
        return LogHeld(
            f"{path} is open in this process already: wait until the run that writes it ends, or give this "
            "one a log of its own"
        )
    if "version number" in text:
        return LogError(
            f"{path} was written by another version of DuckDB than the one installed here ({reason(error)}): "
            "upgrade the package `duckdb`"
        )
    if "Cannot open file" in text and not path.parent.exists():
        return LogError(
            f"there is no folder {path.parent} for the log {path.name}: make it, or give --log another"
        )
    if "Cannot open file" in text or "Could not set lock" in text:
        return LogError(f"{path}: the log cannot be opened ({reason(error)})")
    return damaged(path, place(error))


def reason(error: BaseException) -> str:
    """The first sentence of a DuckDB error, without its class and without advice."""
    first = str(error).split("\n", 1)[0]
    return first.split(": ", 1)[-1].rstrip(". ")


def repair_of(error: Exception) -> tuple[str, int, int] | None:
    """Which file (`file` or `wal`) has a checksum that does not hold, at which byte (of a block, of an
    entry), and the checksum of what is there now."""
    text = str(error)
    checksum, entry = _CHECKSUM.search(text), _WAL_ENTRY.search(text)
    if checksum is None:
        return None
    if entry is not None:
        return "wal", int(entry["entry"]) - FRAME, int(checksum["computed"])
    return ("file", int(checksum["block"]), int(checksum["computed"])) if checksum["block"] else None
