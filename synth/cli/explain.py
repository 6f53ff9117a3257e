from __future__ import annotations

import re
import sys
from importlib.resources import files
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_LINK = re.compile(r"\[(\w+)\]\([^)]*\.md\)")
_WIDEST = 100


@click.command(short_help="Explain a diagnostic's code, or a part of the language.")
@click.argument("topic", required=False, metavar="[CODE | CHAPTER]")
def command(topic: str | None) -> None:
    """Explain a diagnostic's code, or a part of the language.

    A code, such as E302, is explained with examples that are wrong and right; a chapter, such as
    templates, teaches a part of the language.  Without either, all of them are listed.
    """
    from synth.cli.output import printable

    chapters, codes = _pages()
    if topic is None:
        click.echo(f"{_listed(chapters)}\n\n{_listed(codes)}")
        return
    page = codes.get(topic.upper()) or chapters.get(topic.lower())
    if page is None:
        raise click.UsageError(_unknown(topic, chapters, codes))
    # A link is a name that this command knows.
    text = _LINK.sub(r"\1", page.read_text("utf-8"))
    if not sys.stdout.isatty():
        click.echo(printable(text), nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(text, code_theme="ansi_dark"), width=min(console.width, _WIDEST))


def _pages() -> tuple[dict[str, Traversable], dict[str, Traversable]]:
    """The pages of chapters, in the order in which the overview names them, and of codes."""
    folder = files("synth") / "reference"
    overview = (folder / "overview.md").read_text("utf-8")
    chapters = {name: folder / f"{name}.md" for name in ("overview", *_LINK.findall(overview))}
    found = {page.name.removesuffix(".md"): page for page in (folder / "codes").iterdir()}
    return chapters, dict(sorted(found.items()))


def _listed(pages: dict[str, Traversable]) -> str:
    width = max(map(len, pages))
    return "\n".join(f"  {name:<{width}}  {_title(name, page)}" for name, page in pages.items())


def _title(name: str, page: Traversable) -> str:
    with page.open("r", encoding="utf-8") as file:
        return file.readline().removeprefix("# ").removeprefix(f"{name}: ").strip()


def _unknown(topic: str, chapters: dict[str, Traversable], codes: dict[str, Traversable]) -> str:
    from dsl.suggest import suggest
    from synth.cli.output import printable

    guess = suggest(topic.upper(), codes) if topic[1:].isdigit() else suggest(topic.lower(), chapters)
    remedy = f"did you mean `{guess}`?" if guess else "`synth explain` lists what can be explained"
    return f"there is no page about `{printable(topic)}`; {remedy}"
