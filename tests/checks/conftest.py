"""What checks load or compile once is loaded before Hypothesis looks at the time."""

from __future__ import annotations

import pytest

from synth.compiler.stdlib.checks import run_check
from tests.checks.arguments import ARGUMENTS


@pytest.fixture(scope="package", autouse=True)
def _loaded() -> None:
    for name, arguments in ARGUMENTS.items():
        run_check(name, arguments, "مساعد")
