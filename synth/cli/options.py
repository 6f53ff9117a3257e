"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from synth.cli import terminal

if TYPE_CHECKING:
    from synth.base.errors import RecipeError
    from synth.compiler.plan.model import Plan
    from synth.runtime.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

recipe_argument = click.argument("recipe", type=click.Path(path_type=Path), metavar="FILE")

set_option = click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Give a parameter another value."
)

log_option = click.option(
    "--log",
    type=click.Path(path_type=Path),
    default=Path("synth.duckdb"),
    show_default=True,
    help="The project's log.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


accept_loss_option = click.option(
    "--accept-loss", is_flag=True, help="Go on with a log that is short of events which its witness saw."
)

allow_option = click.option(
    "--allow",
    "allowed",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A folder outside the project that sources may be read from.",
)


allow_code_option = click.option(
    "--allow-code", is_flag=True, help="Let code that models wrote run, confined (`python_runs`)."
)


def model_options(command: F) -> F:
    """`--model`, `--pocket` and `--simulate`."""
    for option in (
        click.option(
            "--simulate", is_flag=True, help="Simulate: every model answers from its seed, at no cost."
        ),
        click.option("--pocket", is_flag=True, help="Every model is the 135M model that comes along."),
        click.option(
            "--model",
            "models",
            multiple=True,
            metavar="NAME=BACKEND:ID[@REVISION]",
            help="Where one of the recipe's models runs.",
        ),
    ):
        command = option(command)
    return command


class Seconds(click.FloatRange):
    """A time of up to a day; nothing that is no number."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(0, 86_400)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return found


def wait_options(command: F) -> F:
    """`--patience` and `--grace`."""
    for option in (
        click.option(
            "--grace",
            type=Seconds(),
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="How long calls in flight are awaited once the run is to stop.",
        ),
        click.option(
            "--patience",
            type=Seconds(),
            metavar="SECONDS",
            help="How long a service that does not answer is waited for.  [default: 600, or its model's; "
            "60 where nobody ever was at its address]",
        ),
    ):
        command = option(command)
    return command


def parse_overrides(texts: tuple[str, ...]) -> dict[str, str]:
    """`name=value` pairs; the last of a name counts.  Raises click.UsageError."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"--set {text}: write NAME=VALUE, such as --set conversations=20")
        found[name.strip()] = value
    return found


def compile_recipe(
    recipe: Path,
    overrides: tuple[str, ...],
    *,
    lenient: bool = False,
    files: bool = False,
    log: Path | None = None,
) -> Plan:
    """The plan of a recipe; warnings and notes go to stderr, faults are raised.  `files` warns of
    those that are missing: what a log holds needs none, and a run says so itself.  Where Python files
    alone are missing, a `log` has the plan that it registered last."""
    from synth.base.errors import RecipeError
    from synth.cli.output import print_diagnostics
    from synth.compiler.compile import compile_file
    from synth.compiler.lint import MISSING_FILE

    try:
        compiled = compile_file(recipe, parse_overrides(overrides), lenient=lenient)
    except RecipeError as fault:
        found = None if log is None else _registered(recipe, parse_overrides(overrides), fault, log)
        if found is None:
            raise
        return found
    print_diagnostics([each for each in compiled.warnings if files or each.code != MISSING_FILE])
    for note in compiled.notes:
        terminal.tell(f"note: {note}")
    return compiled.plan


def _registered(recipe: Path, given: Mapping[str, str], fault: RecipeError, path: Path) -> Plan | None:
    """The plan of a recipe that a log registered last, where nothing of the recipe is at fault but that its
    Python files are gone: what functions gave is in the log."""
    from synth.dsl.parse import parse
    from synth.dsl.read import read
    from synth.dsl.syntax import Statement
    from synth.store.dataset.verify import last_plan
    from synth.store.log.log import Log

    faults = [each for each in fault.diagnostics if each.code.startswith("E")]
    if not all(
        each.code == "E106" and each.primary and each.primary.text.endswith('.py"') for each in faults
    ):
        return None
    syntax, _ = parse(read(recipe)[0])
    declared = [
        each for each in syntax.statements if isinstance(each, Statement) and each.kind.text == "recipe"
    ]
    if not declared or declared[0].name is None:
        return None
    with Log(path) as log:
        found = last_plan(log, declared[0].name.text, given)
    if found is not None:
        missing = ", ".join(each.primary.text.strip('"') for each in faults if each.primary)
        terminal.tell(f"note: {missing} cannot be read: the plan is the one that {path} registered last")
    return None if found is None else found.below(recipe.resolve().parent)


def load_settings(
    recipe: Path,
    plan: Plan,
    models: tuple[str, ...],
    pocket: bool,
    simulate: bool,
    student: str | None = None,
) -> Settings:
    """Where the recipe's models run, and the `student`: options first, then the nearest synth.toml."""
    from synth.runtime.settings import load

    return load(
        recipe.resolve().parent,
        models=models,
        pocket=pocket,
        simulate=simulate,
        names=[model.name for model in plan.models],
        student=student,
    )
