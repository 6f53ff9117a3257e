"""The files of a folder that a glob matches, in order, before any of them is read."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from synth.base.display import quoted, visible
from synth.base.errors import ConfigError
from synth.runtime.documents.faults import FileFaults, Unreadable
from synth.runtime.documents.glob import compile_glob

MAX_BYTES = 64 * 1024 * 1024
SUFFIXES = (".md", ".markdown", ".txt", ".html", ".htm", ".pdf", ".jsonl")


@dataclass(frozen=True, slots=True)
class File:
    """`name` is the path below the folder, with `/`."""

    name: str
    path: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """The files to read, by name, and how many others the glob matched, by suffix."""

    files: tuple[File, ...]
    passed_over: Counter[str] = field(default_factory=Counter)


def find_files(folder: Path, glob: str, label: str, allowed: Sequence[Path] = ()) -> Found:
    """The readable files of a folder.  `label` is what errors call the folder.

    Raises ConfigError, with the first file's name and how many more there are, when there are
    none, when one is too large, no regular file, or a link that leads out of the folder and of
    those `allowed`, and when two have one name but for case and suffix.
    """
    matches = compile_glob(glob)
    if not folder.is_dir():
        what = "is a file, and documents are read from a folder" if folder.exists() else "does not exist"
        raise ConfigError(f"the folder {quoted(label, 200)} {what}: check the path")
    roots = (folder.resolve(), *(root.resolve() for root in allowed))
    faults = FileFaults(label)
    files: list[File] = []
    passed_over: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for name, path in _walk(folder, roots, faults):
        suffix = PurePosixPath(name).suffix.lower()
        if not matches(name):
            others[suffix] += 1
        elif suffix not in SUFFIXES:
            passed_over[suffix] += 1
        else:
            files += _checked(name, path, roots, faults)
    _require_distinct(files, faults)
    faults.raise_any()
    if not files:
        raise ConfigError(_nothing(label, glob, passed_over, others))
    return Found(tuple(sorted(files, key=lambda file: file.name)), passed_over)


def _walk(folder: Path, roots: Sequence[Path], faults: FileFaults) -> list[tuple[str, Path]]:
    """Every entry that is not a folder, by its name below the folder.

    A link to a folder is not entered: what it leads to in the folder is found where it really is,
    and what lies outside would be missed in silence, so that is a fault.
    """
    entries = []

    def refused(error: OSError) -> None:
        where = os.path.relpath(error.filename or folder, folder)
        faults.add(where, f"cannot be read ({error.strerror or error})", "ask for read permission on it")

    for place, folders, names in os.walk(folder, onerror=refused):
        for child in folders:
            path = Path(place, child)
            if path.is_symlink() and not child.startswith(".") and not _inside(path, roots[:1]):
                faults.add(
                    path.relative_to(folder).as_posix(),
                    "is a link to a folder outside",
                    "copy that folder here",
                )
        entries += [(Path(place, name).relative_to(folder).as_posix(), Path(place, name)) for name in names]
    return sorted(entries)


def _checked(name: str, path: Path, roots: Sequence[Path], faults: FileFaults) -> list[File]:
    try:
        name.encode()
        status = path.stat()
        if not _inside(path, roots):
            raise Unreadable("is a link to a file outside the folder", "copy the file here")
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is no regular file", "copy what it gives into one")
        if status.st_size > MAX_BYTES:
            raise Unreadable(
                f"has {status.st_size / 1024**2:.0f} MiB, and a document may have {MAX_BYTES // 1024**2}",
                "split it",
            )
    except UnicodeEncodeError:
        faults.add(name, "has a name that is not UTF-8", "rename it")
    except Unreadable as fault:
        faults.add(name, fault.what, fault.remedy)
    except OSError as error:
        what = "is a link that leads nowhere" if path.is_symlink() else "cannot be read"
        faults.add(name, f"{what} ({error.strerror or error})", "mend it or remove it")
    else:
        return [File(name, path, status.st_size)]
    return []


def _inside(path: Path, roots: Sequence[Path]) -> bool:
    try:
        real = path.resolve()
    except (OSError, RuntimeError):
        return False
    return any(real.is_relative_to(root) for root in roots)


def _require_distinct(files: Sequence[File], faults: FileFaults) -> None:
    """`Fees.md`, `fees.md` and `fees.html` are one name: a citation would not tell them apart, and
    on some machines they are one file."""
    taken: dict[str, str] = {}
    for file in files:
        key = normalize("NFC", str(PurePosixPath(file.name).with_suffix(""))).casefold()
        first = taken.setdefault(key, file.name)
        if first != file.name:
            faults.add(file.name, f"has the name of {quoted(first, 200)}", "rename one or remove it")


def _nothing(label: str, glob: str, passed_over: Counter[str], others: Counter[str]) -> str:
    if not passed_over and not others:
        return f"the folder {quoted(label, 200)} holds no files: put documents there, or check the path"
    if passed_over:
        return (
            f"no file that {quoted(glob, 200)} matches in {quoted(label, 200)} can be read "
            f"({_counted(passed_over)}): documents are {', '.join(SUFFIXES)}"
        )
    return (
        f"{quoted(glob, 200)} matches nothing in {quoted(label, 200)}, which holds "
        f"{_counted(others)}: change the glob, or check the path"
    )


def _counted(suffixes: Counter[str]) -> str:
    parts = [f"{count} {visible(suffix) or 'without a suffix'}" for suffix, count in suffixes.most_common(5)]
    more = sum(suffixes.values()) - sum(count for _, count in suffixes.most_common(5))
    return ", ".join(parts) + (f" and {more} more" if more else "")
