"""Synthetic training data from recipes: compile, run, materialize.

    import synth

    plan = synth.compile("recipes/quickstart.recipe", conversations="24")
    synth.run(plan, log="synth.duckdb", pocket=True)
    for dataset in synth.materialize(plan, log="synth.duckdb", out="."):
        print(dataset.folder, dataset.rows)

Everything is imported when it is used, so that the command line starts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compiler.plan import Plan
    from runtime.run import RunReport
    from store.dataset import Dataset

__all__ = ["compile", "materialize", "run"]


def compile(recipe: str | Path, /, **params: Any) -> Plan:
    """The plan of a recipe file; `params` override its parameters, as `--set` does.

    Raises dsl.errors.RecipeError with every diagnostic.
    """
    from compiler.compile import compile_file

    return compile_file(Path(recipe), {name: str(value) for name, value in params.items()}).plan


def run(
    plan: Plan,
    *,
    log: str | Path = "synth.duckdb",
    models: Sequence[str] = (),
    simulate: bool = False,
    pocket: bool = False,
    limit: int | None = None,
    max_calls: int | None = None,
    max_minutes: float | None = None,
    max_cost: float | None = None,
) -> RunReport:
    """Generates until every quota of a plan is met; `models` are as for `--model`.

    Raises a dsl.errors.SynthError when it cannot go on; what was committed is safe.
    """
    from runtime.config import load
    from runtime.run import RunOptions
    from runtime.run import run as run_plan

    settings = load(
        Path.cwd(), models=models, pocket=pocket, simulate=simulate, names=[m.name for m in plan.models]
    )
    options = RunOptions(limit, max_calls, max_minutes, max_cost)
    return run_plan(plan, settings, Path(log), options)


def materialize(
    plan: Plan,
    *,
    log: str | Path = "synth.duckdb",
    out: str | Path = ".",
    as_of: int | None = None,
    partial: bool = False,
) -> list[Dataset]:
    """Writes the datasets of a plan below `out`: the same bytes for the same log position."""
    from store.dataset import materialize as write
    from store.log import Log

    with Log(Path(log)) as opened:
        return write(plan, opened, Path(out), as_of=as_of, partial=partial)
