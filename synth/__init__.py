"""Synthetic training data from recipes: compile, run, materialize, evaluate.

    import synth

    plan = synth.compile("recipes/quickstart.recipe", conversations=24)
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
    from runtime.config import Settings
    from runtime.evaluation.evaluate import Report
    from runtime.run import RunReport
    from store.dataset import Dataset

__all__ = ["compile", "evaluate", "materialize", "run"]


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
    allowed: Sequence[str | Path] = (),
) -> RunReport:
    """Generates until every quota of a plan is met; `models` are as for `--model`, and `allowed`
    folders outside the project that sources may be read from, as for `--allow`.

    Raises a dsl.errors.SynthError when it cannot go on; what was committed is safe.
    """
    from runtime.run import RunOptions
    from runtime.run import run as run_plan

    settings = _settings(plan, models, pocket, simulate)
    options = RunOptions(limit, max_calls, max_minutes, max_cost, allowed=tuple(map(Path, allowed)))
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


def evaluate(
    plan: Plan,
    *,
    log: str | Path = "synth.duckdb",
    models: Sequence[str] = (),
    student: str | None = None,
    simulate: bool = False,
    pocket: bool = False,
    limit: int | None = None,
    partial: bool = False,
    allowed: Sequence[str | Path] = (),
) -> Report:
    """Takes the measures of a plan's evaluations, of a `student` (`BACKEND:ID[@REVISION]`) as well
    if one is given.  Nothing that is in the log is asked again.

    Raises a dsl.errors.SynthError when it cannot go on; what was answered is safe.
    """
    from runtime.evaluation.evaluate import evaluate as take_measures
    from runtime.run import RunOptions

    settings = _settings(plan, models, pocket, simulate, student)
    options = RunOptions(limit=limit, allowed=tuple(map(Path, allowed)))
    return take_measures(
        plan, settings, Path(log), student=student is not None, partial=partial, options=options
    )


def _settings(
    plan: Plan, models: Sequence[str], pocket: bool, simulate: bool, student: str | None = None
) -> Settings:
    """Where the models run: as given, else as the `synth.toml` nearest to the recipe says."""
    from runtime.config import load

    names = [model.name for model in plan.models]
    return load(
        plan.folder.resolve(), models=models, pocket=pocket, simulate=simulate, names=names, student=student
    )
