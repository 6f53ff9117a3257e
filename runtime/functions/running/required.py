"""What running what was written takes before a run begins."""

from __future__ import annotations

from collections.abc import Iterator

from synth.base.errors import ConfigError
from synth.compiler.bind.imports import project_root
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.stdlib.running import run_by
from synth.runtime.functions.running.sandbox import unfit


def require_all(plan: Plan, allow_code: bool) -> None:
    """Raises ConfigError, in one sentence, where code is not allowed or cannot be confined, or where a file
    that a recipe names is not there."""
    root = project_root(plan.folder)
    for check in run_by(plan):
        if check.name == "python_runs" and not allow_code:
            raise ConfigError(
                "`python_runs` runs code that models wrote: allow it with `--allow-code` (in Python "
                "`allow_code=True`); `synth explain code` says how it is confined"
            )
        if check.name == "python_runs" and (why := unfit()) is not None:
            raise ConfigError(f"`python_runs` cannot run here: {why}")
        for path in _named(check):
            where = (plan.folder / path).resolve()
            if not where.is_relative_to(root):
                raise ConfigError(f"`{check.name}`: `{path}` lies outside the project")
            if not where.is_file():
                raise ConfigError(f"`{check.name}`: there is no file `{path}` below the recipe's folder")


def _named(check: CheckPlan) -> Iterator[str]:
    """The files that a recipe itself names."""
    for name in ("schema_file", "tests_file", "database"):
        value = check.arguments.get(name)
        if isinstance(value, str):
            yield value
