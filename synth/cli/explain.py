from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import click

from synth.cli import terminal

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_LINK = re.compile(r"\[(\w+)\]\([^)]*\.md\)")
_WIDEST = 100


@click.command(short_help="Explain a diagnostic's code, or a part of the language.")
@click.argument("topic", required=False, metavar="[CODE | CHAPTER | WORD]")
def command(topic: str | None) -> None:
    """Explain a diagnostic's code, or a part of the language.

    A code, such as E302, is explained with examples that are wrong and right; a chapter, such as
    templates, teaches a part of the language; a word is a check, filter, function, measure or
    field, such as length.  Without any, all of them are listed.
    """
    from synth.cli import words

    chapters, codes = _pages()
    if topic is None:
        terminal.block(f"{_listed(chapters)}\n\n{_listed(codes)}\n\n{_words()}")
        return
    page = codes.get(topic.upper()) or chapters.get(topic.lower())
    word = "" if topic.upper() in codes else words.page(topic.lower())
    if page is None and not word:
        word = words.led(topic.lower())
    if page is None and not word:
        raise click.UsageError(_unknown(topic, chapters, codes))
    # A chapter can be called as a word is: both are told.
    text = "\n".join(filter(None, (page.read_text("utf-8") if page is not None else "", word)))
    # A link is a name that this command knows.
    text = _LINK.sub(r"\1", text)
    terminal.markdown(text, _WIDEST)


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


def _words() -> str:
    """The words that can be explained, a paragraph for each sort."""
    from textwrap import fill

    from synth.cli import words

    return "\n".join(
        fill(f"{sort}: {', '.join(found)}", _WIDEST, initial_indent="  ", subsequent_indent="    ")
        for sort, found in words.listed().items()
    )


def _title(name: str, page: Traversable) -> str:
    with page.open("r", encoding="utf-8") as file:
        return file.readline().removeprefix("# ").removeprefix(f"{name}: ").strip()


def _unknown(topic: str, chapters: dict[str, Traversable], codes: dict[str, Traversable]) -> str:
    from synth.base.suggest import suggest
    from synth.cli import words

    known = [*chapters, *(word for each in words.listed().values() for word in each)]
    guess = suggest(topic.upper(), codes) if topic[1:].isdigit() else suggest(topic.lower(), known)
    remedy = f"did you mean `{guess}`?" if guess else "`synth explain` lists what can be explained"
    return f"there is no page about `{topic}`; {remedy}"
