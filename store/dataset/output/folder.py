"""A dataset's folder: there as a whole or not at all, and nothing in it that is not ours is replaced."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from synth.base.errors import ConfigError
from synth.base.files import file_hash
from synth.base.leftovers import draft, sweep
from synth.store.dataset.output.manifest import MANIFEST, is_manifest, load

CARD = "README.md"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def appearing(folder: Path, below: Path) -> Iterator[Path]:
    """A work folder that takes the place of `folder` when all went well, and vanishes otherwise.

    The two are exchanged at once where the system can, so that a kill leaves the old dataset or the
    new one; what is written is on the disk before that.  A link is followed to a place below
    `below`.  Raises ConfigError where a link leads elsewhere, where anything that `synth
    materialize` did not write is in the way, or where the folder cannot be written.
    """
    folder = _place(folder, below)
    work = draft(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _put_back(folder)
        _require_ours(folder)
        sweep(folder)
        work.mkdir()
        yield work
        for path in work.iterdir():
            _sync(path)
        _sync(work)
        _put(work, folder)
        _sync(folder.parent)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _place(folder: Path, below: Path) -> Path:
    """Where a folder really is, which is below `below`."""
    place, root = folder.resolve(), below.resolve()
    if not place.is_relative_to(root) or place == root:
        raise ConfigError(
            f"{folder} leads to {place}, which is not below {below}: remove the link, or choose another --out"
        )
    return place


def _require_ours(folder: Path) -> None:
    """Raises ConfigError where a folder holds what `synth materialize` did not write."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file: move it away, or choose another --out")
    entries = sorted(entry.name for entry in folder.iterdir())
    manifest = _manifest(folder)
    if entries and manifest is None:
        raise ConfigError(
            f"{folder} is there and holds no dataset of ours: move it away, or choose another --out"
        )
    foreign = [name for name in entries if name != MANIFEST and name not in (manifest or {}).get("files", {})]
    foreign += [name for name in entries if name not in foreign and not (folder / name).is_file()]
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise ConfigError(
            f"{folder} holds {foreign[0]!r}{more}, which `synth materialize` did not write: "
            "move it away, or choose another --out"
        )
    if (edited := _edited(folder, (manifest or {}).get("files", {}), entries)) is not None:
        raise ConfigError(
            f"{edited} was changed since `synth materialize` wrote it: move it away to have a new "
            "one, or choose another --out"
        )


def _edited(folder: Path, files: Mapping[str, Mapping[str, Any]], entries: Sequence[str]) -> Path | None:
    """The first file that is not as the manifest says.

    Each is read, since times say nothing of a folder that was copied: at 700 MB/s that is little beside
    what it takes to write the new one.  Sizes are compared before.
    """
    found = [(folder / name, entry) for name, entry in files.items() if name in entries]
    sized = (path for path, entry in found if entry.get("bytes", size := path.stat().st_size) != size)
    return next(sized, None) or next(
        (path for path, entry in found if entry["sha256"] != file_hash(path)), None
    )


def _manifest(folder: Path) -> Mapping[str, Any] | None:
    try:
        found = load(folder)
    except ConfigError:
        return None
    return found if is_manifest(found) else None


def _old(folder: Path) -> Path:
    """Where a dataset is for a moment, on systems that cannot exchange two folders."""
    return folder.with_name(f".{folder.name}.synth-old")


def _put_back(folder: Path) -> None:
    """Undoes half an exchange of a process that was killed; what else has that name is not ours."""
    old = _old(folder)
    if _manifest(old) is None:
        return
    if not folder.exists():
        old.rename(folder)
        return
    with suppress(ConfigError):
        _require_ours(old)
        shutil.rmtree(old, ignore_errors=True)


def _put(work: Path, folder: Path) -> None:
    """Makes `work` be `folder`; what was there before is `work` then, or gone."""
    if not folder.exists():
        work.rename(folder)
    elif not _exchanged(work, folder):
        # Two steps where the system has no exchange: a kill between them leaves the old one aside.
        old = _old(folder)
        folder.rename(old)
        work.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two paths were exchanged in one step."""
    if not sys.platform.startswith("linux"):
        return False
    with suppress(OSError, AttributeError):
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        paths = os.fsencode(one), os.fsencode(other)
        return bool(renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)
    return False


def _sync(path: Path) -> None:
    """Has a file, or a folder's list of names, written to the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        # A folder cannot be opened on some systems.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
