"""Installs the wheel, and each light extra, into fresh environments of every supported Python that is here,
and uses there what was installed.  What it did is printed; the first failure ends it.
    python scripts/installs.py [3.12 ...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "installs"
PYTHONS = ("3.11", "3.12", "3.13")

_RECIPE = """edition 1
recipe tried {{ seed = 1 }}
model one: model<chat, json> from {model}
conversation talk times 2 {{
  turn ask: user = "Say anything."
  turn answer: model by one {{ sees = transcript{checks} }}
}}
export all: messages from talk to "out"
"""
_SIMULATED = ["run", "r.recipe", "--simulate"]
_PACK = """
import zstandard
row = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\\n'
open("rows.jsonl.zst", "wb").write(zstandard.compress(row))
"""
_TABLE = """
import synth
(written,) = synth.materialize(synth.compile("r.recipe"), log="synth.duckdb", out=".")
assert written.to_{}() is not None
"""


def _recipe(model: str = "simulated()", checks: str = "") -> str:
    return _RECIPE.format(model=model, checks=checks)


# By extra: a recipe, and the commands that use it: of `synth`, or Python code.
USES: dict[str, tuple[str, list[list[str] | str]]] = {
    "": (_recipe(), [_SIMULATED, ["materialize", "r.recipe"], ["verify", "out"]]),
    "openai": (
        _recipe('openai("gpt-4o")'),
        [
            "import openai, aiohttp, genai_prices",
            _SIMULATED,
            ["compile", "r.recipe"],
        ],
    ),
    "gemini": (
        _recipe('gemini("gemini-2.5-flash")'),
        ["import google.genai, aiohttp, genai_prices", _SIMULATED, ["compile", "r.recipe"]],
    ),
    "retrieval": (
        _recipe(),
        [
            ["init", "--from", "rag", "new"],
            ["run", "new/rag.recipe", "--set", "teacher_revision=main", "--simulate", "--limit", "1"],
        ],
    ),
    "documents": (
        _recipe(),
        [
            "import selectolax, pypdf",
            ["init", "--from", "pages", "new"],
            ["run", "new/pages.recipe", "--simulate"],
        ],
    ),
    "pandas": (_recipe(), [_SIMULATED, _TABLE.format("pandas")]),
    "arrow": (_recipe(), [_SIMULATED, _TABLE.format("arrow")]),
    "zstd": (_recipe(), [_PACK, ["infer", "rows.jsonl.zst"]]),
    "language": (_recipe(checks=', check { language("en") }'), [_SIMULATED]),
    "sql": (_recipe(checks=', check { parses_as("sql") }'), [_SIMULATED]),
}


def main(wanted: list[str]) -> None:
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(BUILD / "dist"), "-t", "wheel"],
        cwd=ROOT,
        check=True,
    )
    (wheel,) = (BUILD / "dist").glob("*.whl")
    # It makes an environment in seconds, where pip takes minutes.
    subprocess.run([sys.executable, "-m", "venv", BUILD / "uv"], check=True)
    subprocess.run([BUILD / "uv/bin/python", "-m", "pip", "install", "--quiet", "uv"], check=True)
    for version, python in _pythons(wanted):
        for extra, (recipe, uses) in USES.items():
            began = time.perf_counter()
            _try(python, wheel, version, extra, recipe, uses)
            name = f"with [{extra}]" if extra else "without extras"
            print(f"Python {version}, {name}: works ({time.perf_counter() - began:.0f} s)", flush=True)


def _pythons(wanted: list[str]) -> Iterator[tuple[str, str]]:
    for version in wanted or PYTHONS:
        kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        python = shutil.which(f"python{version}") if not kept else str(kept[-1])
        if python is None:
            print(f"Python {version}: not on this machine")
        else:
            yield version, python


def _try(
    python: str, wheel: Path, version: str, extra: str, recipe: str, uses: list[list[str] | str]
) -> None:
    place = BUILD / f"{version}-{extra or 'alone'}"
    mine = place / "mine"
    mine.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, cwd=mine, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            command_line = " ".join(map(str, command))
            raise SystemExit(f"Python {version} [{extra}]: {command_line}\n{done.stdout}{done.stderr}")

    ours, uv = place / "env/bin/python", BUILD / "uv/bin/uv"
    run(uv, "venv", "--quiet", "--python", python, place / "env")
    run(uv, "pip", "install", "--quiet", "--python", ours, f"{wheel}[{extra}]" if extra else wheel)
    (mine / "r.recipe").write_text(recipe, "utf-8")
    for use in uses:
        if isinstance(use, str):
            run(ours, "-c", use)
        else:
            run(place / "env/bin/synth", *use)
    shutil.rmtree(place)


if __name__ == "__main__":
    main(sys.argv[1:])
