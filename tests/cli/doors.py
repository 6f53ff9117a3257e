"""Commands inside this process, for tests that give many: their output, and what would act in it."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from synth.cli import process
from tests.kit.support import Result

# What acts on a terminal, hides, or is no text at all.
ACTS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064"
    "\u2066-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def call(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Result:
    """Runs a command in this process to its end."""
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    os.chdir(cwd)
    try:
        with (
            patch.object(sys, "argv", ["synth", *map(str, arguments)]),
            patch.object(sys, "stdout", out),
            patch.object(sys, "stderr", err),
            patch.dict(os.environ, env or {}),
        ):
            status = process.run(lambda *_: None)
    finally:
        os.chdir(before)
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Result(status, out.getvalue(), err.getvalue())
