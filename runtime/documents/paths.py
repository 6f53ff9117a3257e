"""Which files and folders a recipe may read and write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synth.base.display import quoted, visible
from synth.base.errors import ConfigError
from synth.compiler.bind.imports import PROJECT_FILE, project_root


def inside_project(folder: Path, written: str, allowed: Sequence[Path], where: str) -> Path:
    """The real path of what a recipe in `folder` names, whether or not it exists.

    Raises ConfigError, beginning with `where`, when it lies neither in the project nor below an
    `allowed` folder.
    """
    if "\0" in written:
        raise ConfigError(f"{where}: a path holds no NUL character")
    try:
        path = (folder / written).resolve()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise ConfigError(f"{where}: {quoted(written, 200)} cannot be read ({reason})") from None
    root = project_root(folder)
    if not any(path.is_relative_to(base) for base in (root, *(place.resolve() for place in allowed))):
        folder = path if path.is_dir() else path.parent
        raise ConfigError(
            f"{where}: {quoted(written, 200)} lies outside the project (`{visible(root.name)}/`, where the "
            f"recipe or its {PROJECT_FILE} is): move it there, or run with --allow {visible(str(folder))}"
        )
    return path
