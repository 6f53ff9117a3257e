"""Datasets as folders: saved ones, downloaded ones, and those that `synth materialize` writes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from synth.base.errors import ConfigError
from synth.runtime.sources.faults import names
from synth.runtime.sources.readers.lines import begins_with

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl",
    ".jsonl.bz2": "jsonl",
    ".jsonl.xz": "jsonl",
    ".jsonl.zst": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
# How splits are called in the names of files and folders.
_SPLITS = {
    "train": "train",
    "training": "train",
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
}
_WORDS = re.compile(r"[A-Za-z]+")
_MOST_FILES = 100_000


def dataset_files(folder: Path, file: str) -> list[tuple[Path, str]]:
    """The files of a dataset with their formats, in the order of its rows.

    Of several splits the one to train on is read.  `file` is what errors call the folder.
    Raises ConfigError where it is not plain what to read.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = [str(split) for split in _json(folder / "dataset_dict.json", file).get("splits", ())]
        split = _chosen(splits, file, folders=True)
        folder, file = folder / split, f"{file}/{split}"
    if (folder / "state.json").is_file():
        return _saved(folder, file)
    found = list(_walk(folder, file))
    by_split: dict[str, list[tuple[Path, str]]] = {}
    for path, format_ in found:
        by_split.setdefault(_split_of(path.relative_to(folder)), []).append((path, format_))
    if not by_split:
        there = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
        raise ConfigError(
            f"{file} holds no file of a dataset ({', '.join(FORMATS)}): "
            + (f"there is {names(there)}" if there else "it is empty")
        )
    named = [split for split in by_split if split]
    chosen = by_split[_chosen(named, file, folders=False) if named else ""]
    _require_one([format_ for _, format_ in chosen], file, "files of several formats")
    parents = sorted({path.parent.relative_to(folder).as_posix() for path, _ in chosen})
    _require_one(parents, file, "files in several folders")
    return chosen


def _saved(folder: Path, file: str) -> list[tuple[Path, str]]:
    """The files that `save_to_disk` wrote."""
    state = _json(folder / "state.json", file)
    if state.get("_indices_data_files"):
        raise ConfigError(f"{file} was saved with a selection of its rows beside them: save it again")
    data = [str(each.get("filename")) for each in state.get("_data_files", ()) if isinstance(each, dict)]
    if not data:
        raise ConfigError(f"{file}/state.json names no files: save the dataset again")
    for name in data:
        if not (folder / name).is_file():
            raise ConfigError(f"{file} lacks its file {names([name])}: save the dataset again")
    return [(folder / name, "arrow") for name in data]


def _json(path: Path, file: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}/{path.name} cannot be read ({error}): save the dataset again") from None
    return value if isinstance(value, dict) else {}


def _walk(folder: Path, file: str) -> Iterator[tuple[Path, str]]:
    seen = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            seen += 1
            if seen > _MOST_FILES:
                raise ConfigError(f"{file} holds more than {_MOST_FILES} files: name a folder in it")
            format_ = next((FORMATS[end] for end in FORMATS if name.lower().endswith(end)), None)
            if format_ is None or name.startswith("."):
                continue
            path = Path(parent, name)
            # Datasets have other files of JSON beside them: one that holds rows is a list of them.
            if not name.lower().endswith(".json") or begins_with(path, file, b"["):
                yield path, format_


def _split_of(path: Path) -> str:
    """The split that a file's name or its folders' names say, or nothing."""
    words = (word.lower() for word in _WORDS.findall(path.as_posix()))
    return next((_SPLITS[word] for word in words if word in _SPLITS), "")


def _chosen(splits: Sequence[str], file: str, *, folders: bool) -> str:
    if "train" in splits:
        return "train"
    if len(splits) == 1:
        return splits[0]
    if not splits:
        raise ConfigError(f"{file}/dataset_dict.json names no split: save the dataset again")
    advice = f'name one, such as dataset("{file}/{splits[0]}")' if folders else "keep one of them there"
    raise ConfigError(f"{file} has no split `train` and several others, {names(sorted(splits))}: {advice}")


def _require_one(found: Iterable[str], file: str, what: str) -> None:
    several = sorted(set(found))
    if len(several) > 1:
        raise ConfigError(f"{file} holds {what}, {names(several)}: name a folder that holds one of them")
