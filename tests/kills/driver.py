"""Runs commands of `synth` in children, each armed to be killed: `python -m tests.kills.driver SHIM`.

A line of JSON on standard input is a command; a line of JSON on standard output is how it ended.  What a
command imports is imported once, here.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

OPS = ("write", "fsync", "rename", "unlink")
WHENS = ("before", "half", "after")

_COMMANDS = Path(__file__).parents[2] / "synth" / "cli"
_IMPORTED = (
    *(f"synth.cli.{each.stem}" for each in _COMMANDS.glob("*.py") if each.stem[0] != "_"),
    *("aiohttp", "compiler.compile", "genai_prices", "rich.console", "runtime.engines.openai"),
    *("runtime.evaluation.evaluate", "store.dataset", "store.forget.beside"),
)


def main() -> None:
    shim = ctypes.CDLL(sys.argv[1])
    for name in _IMPORTED:
        import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        counts = Path(asked["counts"])
        child = os.fork()
        if child == 0:
            _run(asked, shim, counts)
        _, ended = os.waitpid(child, 0)
        status = os.waitstatus_to_exitcode(ended)
        print(json.dumps({"status": status}), flush=True)


def _run(asked: dict[str, Any], shim: Any, counts: Path) -> None:
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["cwd"])
    os.environ.update(asked["env"])
    sys.argv = ["synth", *asked["arguments"]]
    status = 0
    op, number, when = asked["kill"] or (None, 0, "before")
    shim.kills_arm(
        os.fsencode(asked["below"]),
        -1 if op is None else OPS.index(op),
        ctypes.c_long(number),
        WHENS.index(when),
    )
    try:
        import_module("synth.cli").main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        found = {name: shim.kills_seen(number) for number, name in enumerate(OPS)}
        shim.kills_arm(b"", -1, ctypes.c_long(0), 0)
        counts.write_text(json.dumps(found))
        os._exit(status)


if __name__ == "__main__":
    main()
