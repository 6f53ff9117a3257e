"""Runs what was written: queries in workers that only read, Python code in processes that reach nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.functions import FunctionPlan
from synth.compiler.stdlib.checks.parsed import code_of
from synth.compiler.stdlib.running import is_running
from synth.runtime.functions.asked import Fault
from synth.runtime.functions.pool import Limits, Workers
from synth.runtime.functions.running.sandbox import run_code

_QUERIES = "_running.query"


def facts(function: FunctionPlan) -> dict[str, str | None]:
    """What a result hangs on besides arguments and files, by names that no path has."""
    if not is_running(function):
        return {}
    if function.name == "sql_runs":
        import sqlite3

        return {"version of sqlite": sqlite3.sqlite_version}
    import platform

    return {"version of python": platform.python_version()}


class Running:
    """What a run begins for it: nothing before the first call."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._workers: Workers | None = None
        self._free = asyncio.Semaphore(limits.most)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str] | Fault:
        """The JSON of the reason why what was written does not run, or of null where it does.  A Fault where
        that is not known, or may be otherwise another time."""
        language, written = ("sql", "query") if name == "sql_runs" else ("python", "code")
        try:
            code = await asyncio.to_thread(code_of, str(arguments[written]), language)
        except ValueError as error:
            return (canonical_json(str(error)),)
        given = {**arguments, written: code}
        if name == "sql_runs":
            return await self._query(given)
        async with self._free:
            return await run_code(given)

    async def compare(self, arguments: Mapping[str, Any]) -> tuple[str] | Fault:
        """The JSON of what `sql_same` says of two queries, or why it says nothing."""
        return await self._query(arguments, "sql_same")

    async def _query(self, arguments: Mapping[str, Any], function: str = "sql_runs") -> tuple[str] | Fault:
        if self._workers is None:
            self._workers = Workers(self._root, (), self._limits)
        return await self._workers.call(_QUERIES, function, list(arguments.items()), ())

    async def close(self) -> None:
        if self._workers is not None:
            await self._workers.close()
