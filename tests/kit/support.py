"""Doors to the product as a user has them: the command line in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from tests.kit.fork_server import Started, can_fork, fork_server

# Set by `make soak`: more of what takes long.
SOAK = "SOAK" in os.environ

# Where the commands of the test that runs fork from (tests/conftest.py).
server = fork_server

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
PERSONA = RECIPES / "persona.recipe"
QUICKSTART = RECIPES / "quickstart.recipe"
REVISION = ("--set", "base_revision=0000000")
# A warning, and how far a run is: what stands beside a failure's sentence.
_BESIDE = re.compile(r"warning: |\s*\d+s  ")


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def command(*arguments: str | Path) -> list[str]:
    """The argument list of a `synth` process."""
    return [sys.executable, "-m", "synth", *map(str, arguments)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without keys and endpoints, with the tests' own instead."""
    hidden = ("API_KEY", "BASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.endswith(hidden)}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **(extra or {})}


def synth(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300
) -> Result:
    """Runs a command to its end, in a process of its own."""
    return python("-m", "synth", *arguments, cwd=cwd, env=env, timeout=timeout)


def python(
    *arguments: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None, timeout: float = 300
) -> Result:
    """Runs `python -m ...` or `python -c ...` to its end, in a process of its own, which has imported the
    product already where its environment allows that."""
    given, around = [*map(str, arguments)], environment(env)
    if can_fork(around):
        status, out, err = server().run(given, cwd, around, timeout)
        return Result(status, out.decode(), err.decode())
    done = subprocess.run(
        [sys.executable, *given],
        cwd=cwd,
        env=around,
        capture_output=True,
        text=True,
        timeout=timeout,
        encoding="utf-8",
    )
    return Result(done.returncode, done.stdout, done.stderr)


def started(*arguments: str | Path, cwd: Path, env: Mapping[str, str]) -> Started:
    """Starts a command that a test kills."""
    around = environment(env)
    assert can_fork(around)
    return server().start(["-m", "synth", *map(str, arguments)], cwd, around)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """What logs are attached to: a database takes 25 ms of processor time to begin."""
    return duckdb.connect(config={"threads": 1})


def query(log: Path, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Rows from a log that no process holds."""
    path = str(log).replace("'", "''")
    with _database().cursor() as connection:
        connection.execute(f"ATTACH '{path}' AS queried (READ_ONLY)")
        try:
            connection.execute("USE queried")
            return connection.execute(sql, list(parameters)).fetchall()
        finally:
            connection.execute("USE memory")
            connection.execute("DETACH queried")


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def one_sentence(result: Result, status: int) -> str:
    """The one line a failure prints, after checking that it is one, with this status."""
    assert result.status == status, result.err
    lines = [line for line in result.err.splitlines() if not _BESIDE.match(line)]
    assert len(lines) == 1, result.err
    assert lines[0].startswith("synth: ")
    assert "Traceback" not in result.err
    return lines[0].removeprefix("synth: ")
