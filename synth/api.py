"""The functions of `import synth`."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from synth.models import Model

if TYPE_CHECKING:
    from synth.compiler.plan.model import Plan
    from synth.runtime.evaluation.evaluate import Report
    from synth.runtime.run.replay import Replayed
    from synth.runtime.run.report import RunReport
    from synth.runtime.settings import Settings
    from synth.store.dataset.output.written import Dataset
    from synth.store.log.log import Log

# Where every model runs that `models` does not place.
Backend = Literal["pocket", "simulated"]


class RecipeWarning(UserWarning):
    """Something in a recipe that is allowed, and hardly meant."""


class LogWarning(UserWarning):
    """Something that is to be known of a log: it is short of events, or nobody can say whether it is."""


def compile(recipe: str | Path, /, **params: Any) -> Plan:
    """The plan of a recipe file; `params` override its parameters, as `--set` does.

    Warns of what is hardly meant, and of what the overrides changed beside their parameters.
    Raises RecipeError with every diagnostic, ConfigError when the file cannot be read.
    """
    from synth.base.diagnostics.render import to_text
    from synth.compiler.compile import compile_file

    compiled = compile_file(Path(recipe), {name: _as_text(value) for name, value in params.items()})
    for diagnostic in compiled.warnings:
        shown = to_text([diagnostic], color=False, width=shutil.get_terminal_size((100, 24)).columns)
        warnings.warn(shown, RecipeWarning, stacklevel=2)
    for note in compiled.notes:
        warnings.warn(note, RecipeWarning, stacklevel=2)
    return compiled.plan


def run(
    plan: Plan,
    *,
    log: str | Path = "synth.duckdb",
    models: Mapping[str, Model] | None = None,
    backend: Backend | None = None,
    simulate: bool = False,
    pocket: bool = False,
    limit: int | None = None,
    max_calls: int | None = None,
    max_minutes: float | None = None,
    max_cost: float | None = None,
    retry_lost: bool = False,
    patience: float | None = None,
    grace: float = 60.0,
    accept_loss: bool = False,
    allowed: Sequence[str | Path] = (),
    allow_code: bool = False,
    progress: bool | None = None,
) -> RunReport:
    """Generates until every quota of a plan is met.  Nothing that is in the log is asked again.

    `models` says of models by name where they run, such as `{"base": Vllm("google/gemma-3-1b-it")}`,
    and `backend` where all others do: `"simulated"` for a simulation (`simulate=True` says the same),
    `"pocket"` for the model that comes along (`pocket=True`).  What neither places runs where the
    `synth.toml` nearest to the recipe says, else the recipe.  `limit` keeps to that many samples of
    each conversation; `max_cost` is in the unit of the prices; `retry_lost` tries again what
    earlier runs lost for good.  `patience` is how long a service that does not answer is waited for
    (600 by default, or as its model's options say), `grace` how long calls in flight are awaited
    once the run is to stop, both in seconds.  `accept_loss` goes on with a log that is short of events
    which its witness saw.  `allowed` are folders outside the project that sources
    may be read from, and `allow_code` lets code that models wrote run, confined.  `progress` is shown
    in a notebook and on a terminal, with True in any case and with False never.

    The first Ctrl-C stops cleanly and the second at once; both raise KeyboardInterrupt.  Raises a
    SynthError when it cannot go on; what was committed is safe.
    """
    from synth.runtime.run.report import RunOptions
    from synth.runtime.run.run import run as run_plan
    from synth.watching import watching

    settings = _settings(plan, models, _backend(backend, simulate, pocket))
    options = RunOptions(
        limit,
        max_calls,
        max_minutes,
        max_cost,
        retry_lost=retry_lost,
        patience=patience,
        grace=grace,
        accept_loss=accept_loss,
        allowed=tuple(map(Path, allowed)),
        allow_code=allow_code,
    )
    with watching(progress) as watch:
        report = run_plan(plan, settings, Path(log), options, watch)
    _raise_if_interrupted([report])
    return report


def materialize(
    plan: Plan,
    *,
    log: str | Path = "synth.duckdb",
    out: str | Path = ".",
    as_of: int | None = None,
    partial: bool = False,
    models: Mapping[str, Model] | None = None,
    backend: Backend | None = None,
) -> list[Dataset]:
    """Writes the datasets of a plan below `out`: the same bytes for the same log position.

    The samples are those of the last run; of the last one with such `models`, or all on such a
    `backend`, where these are given.
    `as_of` is the last event that counts, all by default; `partial` takes what is there when
    samples are missing.  Raises QuotaShort where too few are, ConfigError where a folder is in the
    way, LogError where the log cannot be read.
    """
    from synth.store.dataset.materialize import materialize as write

    written_by = _settings(plan, models, _backend(backend)).written_by(plan.models)
    with _reading(log) as opened:
        return write(plan, opened, Path(out), as_of=as_of, partial=partial, written_by=written_by)


def evaluate(
    plan: Plan,
    *,
    log: str | Path = "synth.duckdb",
    models: Mapping[str, Model] | None = None,
    backend: Backend | None = None,
    student: Model | None = None,
    simulate: bool = False,
    pocket: bool = False,
    limit: int | None = None,
    max_cost: float | None = None,
    partial: bool = False,
    patience: float | None = None,
    grace: float = 60.0,
    accept_loss: bool = False,
    retry_lost: bool = False,
    allowed: Sequence[str | Path] = (),
    progress: bool | None = None,
) -> Report:
    """Takes the measures of a plan's evaluations, of a `student` as well if one is given.  No
    answer that is in the log is asked for again.

    `limit` is on the rows that a model is asked about; the other arguments are as for `run`, and
    `partial` as for `materialize`.  Raises a SynthError when it cannot go on; what was answered is
    safe.
    """
    from synth.runtime.evaluation.evaluate import evaluate as take_measures
    from synth.runtime.run.report import RunOptions
    from synth.watching import watching

    settings = _settings(plan, models, _backend(backend, simulate, pocket), student)
    options = RunOptions(
        limit=limit,
        max_cost=max_cost,
        patience=patience,
        grace=grace,
        accept_loss=accept_loss,
        retry_lost=retry_lost,
        allowed=tuple(map(Path, allowed)),
    )
    with watching(progress) as watch:
        report = take_measures(
            plan,
            settings,
            Path(log),
            student=student is not None,
            partial=partial,
            options=options,
            watch=watch,
        )
    _raise_if_interrupted(report.runs)
    return report


def replay(
    plan: Plan,
    *,
    log: str | Path = "synth.duckdb",
    models: Mapping[str, Model] | None = None,
    backend: Backend | None = None,
) -> Replayed:
    """Runs a plan again with the log as the only engine, and compares.  Nothing is written; `models`
    and `backend` choose a run as for `materialize`.

    Raises QuotaShort where the log has no run of a conversation.
    """
    from synth.runtime.run.replay import replay as run_again

    written_by = _settings(plan, models, _backend(backend)).written_by(plan.models)
    with _reading(log) as opened:
        return run_again(plan, opened, written_by)


@contextmanager
def _reading(path: str | Path) -> Iterator[Log]:
    """An open log; what is to be known of it is a warning."""
    from synth.store.log.log import Log

    with Log(Path(path)) as log:
        for notice in log.notices:
            # Of the function's caller, past the context manager.
            warnings.warn(notice, LogWarning, stacklevel=4)
        yield log


def _as_text(value: Any) -> str:
    """A parameter's value as `--set` would be given it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _backend(backend: Backend | None, simulate: bool = False, pocket: bool = False) -> Backend | None:
    from synth.base.errors import ConfigError

    if backend not in (None, "pocket", "simulated"):
        raise ConfigError(
            '`backend` is "pocket" or "simulated"; name the others by model, '
            'such as `models={"base": synth.OpenAI("gpt-4o")}`'
        )
    said = {"simulated": simulate or backend == "simulated", "pocket": pocket or backend == "pocket"}
    if all(said.values()):
        raise ConfigError("the arguments say twice where every model runs: give one `backend`")
    return "simulated" if said["simulated"] else "pocket" if said["pocket"] else None


def _settings(
    plan: Plan,
    models: Mapping[str, Model] | None,
    backend: Backend | None,
    student: Model | None = None,
) -> Settings:
    """Where the models run: as given, else as the `synth.toml` nearest to the recipe says."""
    from synth.base.errors import ConfigError
    from synth.compiler.plan.model import Plan
    from synth.runtime.settings import STUDENT, load

    if not isinstance(plan, Plan):
        raise ConfigError(f"{plan!r} is no plan: `synth.compile` makes one of a recipe")
    placed = models or {}
    if not isinstance(placed, Mapping) or not all(isinstance(each, Model) for each in placed.values()):
        raise ConfigError(
            "`models` says where models run by their names in the recipe, "
            'such as `models={"base": synth.Vllm("google/gemma-3-1b-it")}`'
        )
    if not isinstance(student, Model | None):
        raise ConfigError('`student` is a model, such as `student=synth.Transformers("out/model")`')
    return load(
        plan.folder.resolve(),
        places={name: model.spec(name) for name, model in placed.items()},
        pocket=backend == "pocket",
        simulate=backend == "simulated",
        names=[model.name for model in plan.models],
        student=None if student is None else student.spec(STUDENT),
    )


def _raise_if_interrupted(reports: Sequence[RunReport]) -> None:
    """So that a script, or the cells below, do not go on with half of what they count on."""
    if any(report.outcome == "interrupted" for report in reports):
        raise KeyboardInterrupt(
            "stopped; what was answered is in the log, and the same call goes on from there"
        )
