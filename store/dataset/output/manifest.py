"""The manifest of a dataset, read as what it is: a file that anybody may have written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from synth.base.errors import ConfigError

MANIFEST = "manifest.json"
# 1 said `fell` for `dropped` and `refused` for `rejected`.
FORMAT = 2
_RENAMED = {"fell": "dropped", "refused": "rejected"}

# A dataset of a million cells has a manifest of some 100 MB.
_MOST_BYTES = 1 << 30
_HASH = re.compile("[0-9a-f]{64}")


def load(folder: Path) -> Any:
    """What the manifest in a folder says, whatever that is.  Raises ConfigError."""
    path = folder / MANIFEST
    try:
        if not os.path.lexists(path):
            raise ConfigError(f"{folder} holds no {MANIFEST}: name a folder that `synth materialize` wrote")
        if not is_within(path, folder) or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} is no manifest of a dataset: it is no plain file of the folder")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is no manifest of a dataset: it is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def current(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest in the terms of the current format."""
    if manifest.get("format") != 1:
        return manifest
    renamed = {_RENAMED.get(name, name): value for name, value in manifest.items()}
    source = renamed.get("source")
    if isinstance(source, dict):
        renamed["source"] = _place(source)
    return renamed


def _place(place: dict[str, Any]) -> dict[str, Any]:
    """What rows were made of, and what each part of a mix was."""
    found = {_RENAMED.get(name, name): value for name, value in place.items()}
    for name, parts in found.items():
        if isinstance(parts, list):
            found[name] = [_place(part) if isinstance(part, dict) else part for part in parts]
    return found


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path leads to a place below a folder, wherever its links lead."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        # Links that lead in a circle.
        return False


def fault_of(manifest: Any) -> str | None:
    """What is wrong with the parts of a manifest that something is looked up by, or None."""
    if not isinstance(manifest, dict):
        return "it is no object"
    if manifest.get("format") not in (1, FORMAT):
        return "its `format` is none that this version knows"
    for name in ("recipe", "export"):
        if not _is_text(manifest.get(name)):
            return f"its `{name}` is no text"
    if not _is_hash(manifest.get("plan_hash")):
        return "its `plan_hash` is no sha256"
    versions = manifest.get("versions")
    if not isinstance(versions, dict) or not all(map(_is_text, versions.values())):
        return "its `versions` names none"
    return _fault_of_position(manifest.get("log")) or _fault_of_files(manifest.get("files"))


def _fault_of_position(log: Any) -> str | None:
    if not isinstance(log, dict):
        return "its `log` is no object"
    events = log.get("events")
    if type(events) is not int or events < 1:
        return "its `log.events` is no number from 1 on"
    if type(log.get("batch")) is not int or not _is_hash(log.get("head")):
        return "its `log` names no batch and its hash"
    chosen = log.get("chosen", {})
    if not isinstance(chosen, dict) or not all(
        isinstance(each, dict) and all(_is_text(value) for value in each.values()) for each in chosen.values()
    ):
        return "its `log.chosen` names no models"
    return None


def _fault_of_files(files: Any) -> str | None:
    if not isinstance(files, dict):
        return "its `files` is no object"
    for name, entry in files.items():
        if not _is_name(name):
            return "its `files` names something that is no file of the folder"
        if not isinstance(entry, dict) or not _is_hash(entry.get("sha256")):
            return f"its `files` has no sha256 of `{name}`"
        if type(entry.get("rows", 0)) is not int:
            return f"its `files` has no number of rows of `{name}`"
    return None


def _is_name(name: str) -> bool:
    """Whether a text can name a file in a folder, and nothing outside of it."""
    return (
        _is_text(name)
        and name not in ("", ".", "..", MANIFEST)
        and name.isprintable()
        and not {"/", "\\", os.sep} & set(name)
        and len(os.fsencode(name)) < 256
    )


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be written anywhere: a lone surrogate cannot."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def is_manifest(value: Any) -> bool:
    """Whether JSON is the manifest of a dataset of ours, whatever its version."""
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str) for name in ("recipe", "export", "plan_hash"))
        and _is_hash(value["plan_hash"])
        and isinstance(value.get("log"), dict)
        and isinstance(value.get("files"), dict)
        and all(isinstance(entry, dict) and "sha256" in entry for entry in value["files"].values())
    )
