from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import click

from synth.cli import terminal


class Method(NamedTuple):
    """A recipe that a project can begin with.

    `does` is what it makes; `data` are files and folders beside it; `given` are parameters without a default,
    with a value each.  `pocket` says whether a very small model answers well enough for the recipe's checks.
    """

    does: str
    data: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    pocket: bool = False


METHODS = {
    "tickets": Method("something of every row of a table", ("data/tickets.jsonl",), pocket=True),
    "pages": Method("questions about passages, with quotations", ("data/handbook",)),
    "evolved": Method("questions made harder, round by round", ("data/seeds.csv",), pocket=True),
    "self_instruct": Method("new tasks, after tasks by people", ("data/tasks.jsonl",), pocket=True),
    "distill": Method("better answers into a dataset that exists", ("data/chats.jsonl",), pocket=True),
    "judged": Method("marks for four answers, the best of them, and pairs", ("data/tasks.jsonl",)),
    "ultrafeedback": Method("pairs and ranked answers by AI feedback", ("data/tasks.jsonl",)),
    "evol_instruct": Method("instructions that evolve, the failed eliminated", ("data/seeds.csv",)),
    "magpie": Method("instructions out of a model's own chat template"),
    "constitution": Method("answers revised after a critique, by principles", ("data/requests.jsonl",)),
    "grounded_qa": Method("answers on passages, quoted and marked", ("data/handbook",)),
    "persona_dialogue": Method("two models talk, reward rows", ("data/personas.jsonl",)),
    "tools": Method("an agent that looks things up before it speaks", ("data/orders.jsonl", "lib/shop.py")),
    "function_calling": Method("calls in five shapes, by exact shares", ("lib/travel.py",)),
    "agent_traces": Method("an agent works on files, checked at the end", ("data/jobs.jsonl", "lib/desk.py")),
    "text_to_sql": Method("questions and queries whose results agree", ("data/tables.jsonl", "lib/db.py")),
    "code_with_tests": Method("tasks, tests, and code that passes them (--allow-code)"),
    "persona": Method("a persona, and what a frozen model says as it", given=("base_revision=main",)),
    "pillars": Method(
        "four behaviours of one agent, pairs and a mix",
        ("lib/house_style.recipe", "data/natural_chat.jsonl", "data/cognitive_map.jsonl"),
    ),
    "rag": Method(
        "dialogues grounded in documents, and an exam",
        ("data/unsiq", "data/unsiq_questions.jsonl"),
        ("teacher_revision=main",),
    ),
    "rag_turns": Method("the same, turn by turn, by two models", ("data/unsiq",), ("teacher_revision=main",)),
}


class _Listing(click.Command):
    """A command whose help lists the recipes, a line each."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Recipes for --from (* also worth a run with --pocket)"):
            formatter.write_dl(_listed())


def _listed() -> list[tuple[str, str]]:
    return [(f"{name}{' *' if method.pocket else ''}", method.does) for name, method in METHODS.items()]


def _list(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        width = max(len(name) for name, _ in _listed())
        for name, does in _listed():
            terminal.say(f"{name:<{width}}  {does}")
        terminal.say("", "Each runs with --simulate as it is, and those with a * with --pocket as well.")
        context.exit()


@click.command(cls=_Listing, short_help="Make a starter project.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path(), metavar="[DIR]")
@click.option(
    "--from", "method", metavar="NAME", help="Begin with the recipe of a known method, and its data."
)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List them.")
def command(folder: Path, method: str | None) -> None:
    """Make a starter project: a recipe that runs on this machine, and settings to fill in.

    Files that are there already are left alone.
    """
    from synth.base.errors import ConfigError

    chosen = _method(method)
    made: list[Path] = []
    try:
        for name, entry in _entries(method, chosen):
            target = folder / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(entry.read_bytes())
                made.append(target)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None
    for path in made:
        terminal.say(f"made {path}")
    if not made:
        terminal.say(f"{folder.resolve()} has all of it already")
    given = "".join(f" --set {each}" for each in chosen.given)
    or_ = "   (or --pocket, for a real small model)" if chosen.pocket else ""
    next_ = [f"synth run {method or 'quickstart'}.recipe{given} --simulate{or_}"]
    if folder.resolve() != Path.cwd():
        # Logs and datasets are made where a command is given.
        next_.insert(0, f"cd {shlex.quote(str(folder))}")
    terminal.say("", f"Next: {next_[0]}", *(f"      {line}" for line in next_[1:]))


def _method(name: str | None) -> Method:
    if name is None:
        return Method("", pocket=True)
    if name in METHODS:
        return METHODS[name]
    from synth.base.suggest import suggest

    guess = suggest(name, METHODS)
    raise click.BadParameter(
        f"there is no recipe `{name}`; "
        + (f"did you mean `{guess}`?" if guess else "`synth init --list` lists them"),
        param_hint="--from",
    )


def _entries(name: str | None, method: Method) -> Iterator[tuple[str, Traversable]]:
    """What is written, by its path in the project."""
    package = files("synth")
    for entry in sorted((package / "starter").iterdir(), key=lambda each: each.name):
        if name is None or not entry.name.endswith(".recipe"):
            yield entry.name.replace("gitignore", ".gitignore"), entry
    if name is not None:
        for path in (f"{name}.recipe", *method.data):
            yield from _files(path, (package / "recipes").joinpath(*path.split("/")))


def _files(path: str, entry: Traversable) -> Iterator[tuple[str, Traversable]]:
    if entry.is_dir():
        for each in sorted(entry.iterdir(), key=lambda found: found.name):
            yield from _files(f"{path}/{each.name}", each)
    else:
        yield path, entry
