"""What a log is told of what runs what was written."""

from __future__ import annotations

import platform
from collections.abc import Collection


def means(names: Collection[str]) -> dict[str, str]:
    """What runs what was written, by name, with its version."""
    found = {}
    if "sql_runs" in names:
        import sqlite3

        found["sqlite"] = sqlite3.sqlite_version
    if "python_runs" in names:
        from synth.runtime.functions.running import confinement

        found["confinement"] = f"{confinement.means()}, {platform.machine()}"
    return found
