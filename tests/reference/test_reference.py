"""The reference is what the language does: every example in it is compiled."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner

from synth.base.diagnostics.diagnostic import Diagnostic
from synth.base.diagnostics.render import to_text
from synth.base.errors import RecipeError
from synth.cli import cli, words
from synth.compiler.compile import compile_file
from synth.compiler.plan.model import Plan
from synth.runtime.engines.hosted.gemini import GeminiOptions
from synth.runtime.engines.hosted.openai import OpenAIOptions
from synth.runtime.engines.hosted.session import HostedOptions
from tests.kit.support import ROOT, command, environment, synth
from tests.reference.facts import fact, rows
from tests.reference.pages import MAIN, REFERENCE, Example, Expected, examples, pages

EXAMPLES = [example for page in pages() for example in examples(page)]
CODES = sorted(path.stem for path in (REFERENCE / "codes").glob("*.md"))
CHAPTERS = sorted(path.stem for path in REFERENCE.glob("*.md"))


def compiled(example: Example, folder: Path) -> tuple[Plan | None, tuple[Diagnostic, ...]]:
    """The plan of an example, or None, and all that is said about it, from within a folder."""
    try:
        with chdir(folder):
            result = compile_file(example.write(folder), example.overrides)
    except RecipeError as error:
        return None, error.diagnostics
    # Most examples show one thing: they export nothing, and what they read is not there.
    expected = {fault.code for fault in example.expected}
    left = {"W706", "W707"} - expected
    return result.plan, tuple(warning for warning in result.warnings if warning.code not in left)


def as_expected(diagnostic: Diagnostic, expected: Expected, example: Example, folder: Path) -> Expected:
    """A diagnostic, as far as it is to be compared."""
    message = diagnostic.message if expected.message is not None else None
    at = diagnostic.primary
    if expected.text is None or at is None:
        return Expected(diagnostic.code, message=message)
    assert at.source.path is not None
    file = at.source.path.resolve().relative_to(folder.resolve()).as_posix()
    line, column = at.source.position(at.start)
    if file == MAIN:
        line -= example.shift
    return Expected(diagnostic.code, file, at.text, (line, column) if expected.place else None, message)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_what_its_page_says(example: Example, tmp_path: Path) -> None:
    plan, diagnostics = compiled(example, tmp_path)
    text = to_text(diagnostics, color=False, width=100)
    assert len(diagnostics) == len(example.expected), text
    for diagnostic, expected in zip(diagnostics, example.expected, strict=True):
        assert as_expected(diagnostic, expected, example, tmp_path) == expected, text
    if example.facts or example.rows:
        assert plan is not None
        for path, value in example.facts:
            assert (path, fact(plan, path)) == (path, value)
        for export, row in example.rows:
            made = rows(plan, export)
            assert (made[0] if len(made) == 1 else made) == json.loads(row)


@pytest.mark.parametrize("code", CODES)
def test_a_page_of_a_code_shows_what_is_wrong_and_what_is_right(code: str) -> None:
    page = REFERENCE / "codes" / f"{code}.md"
    assert re.match(rf"# {code}: [a-z`].+[^.]\n\n", page.read_text("utf-8"))
    of_page = [example for example in EXAMPLES if example.page == page]
    assert {example.heading for example in of_page} == {"Wrong", "Right"}
    for example in of_page:
        if example.heading == "Wrong":
            assert example.expected, example.name
            assert {fault.code for fault in example.expected} == {code}, example.name
            assert all(fault.text is not None for fault in example.expected) or code == "E602", example.name
        else:
            assert all(fault.code.startswith("W") for fault in example.expected), example.name
            assert code not in {fault.code for fault in example.expected}, example.name


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    emitted = {
        code
        for folder in ("synth/base", "dsl", "compiler")
        for path in (ROOT / folder).rglob("*.py")
        for code in re.findall(r'"([EW]\d{3})"', path.read_text("utf-8"))
    }
    assert emitted == set(CODES)


def test_the_overview_leads_to_every_chapter() -> None:
    overview = (REFERENCE / "overview.md").read_text("utf-8")
    assert sorted(["overview", *re.findall(r"\]\((\w+)\.md\)", overview)]) == CHAPTERS


def test_links_are_names_that_can_be_explained() -> None:
    for page in pages():
        for text, link in re.findall(r"\[([^\]\n]+)\]\(([^)\n]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).resolve() in pages(), f"{page.name}: {link}"
            assert text == Path(link).stem, page.name


@pytest.mark.parametrize("name", [*CHAPTERS, *CODES])
def test_every_page_can_be_explained(name: str) -> None:
    result = CliRunner().invoke(cli, ["explain", name.lower()])
    assert (result.exit_code, result.stderr) == (0, "")
    folder = REFERENCE / "codes" if name in CODES else REFERENCE
    title = (folder / f"{name}.md").read_text("utf-8").splitlines()[0]
    assert result.stdout.splitlines()[0] == title
    assert ".md)" not in result.stdout


def test_every_page_is_listed_with_its_title() -> None:
    result = CliRunner().invoke(cli, ["explain"])
    chapters, codes, words = result.stdout.split("\n\n")
    listed = dict(line.split(maxsplit=1) for line in f"{chapters}\n{codes}".splitlines())
    assert sorted(listed) == sorted([*CHAPTERS, *CODES])
    assert listed["E302"] == "shares that do not add up"
    assert listed["templates"] == "Templates and filters"
    for word in ("length", "retry", "split", "retrieve", "tone", "fields"):
        assert word in words


EVERY_WORD = sorted({word for listed in words.listed().values() for word in listed})


@pytest.mark.parametrize("word", EVERY_WORD)
def test_every_word_can_be_explained(word: str) -> None:
    result = CliRunner().invoke(cli, ["explain", word])
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"# {word}\n" in result.stdout
    assert "More: `synth explain " in result.stdout


def test_every_check_filter_function_and_measure_has_an_example() -> None:
    listed = words.listed()
    for sort in ("checks", "filters", "functions", "measures"):
        headings = {e.heading for e in EXAMPLES if e.page == REFERENCE / "words" / f"{sort}.md"}
        assert set(listed[sort]) == headings
    fields = {e.heading for e in EXAMPLES if e.page == REFERENCE / "words" / "fields.md"}
    assert fields <= set(listed["fields"])


def test_a_word_says_what_it_is_what_it_takes_and_shows_it() -> None:
    out = CliRunner().invoke(cli, ["explain", "length"]).stdout
    assert "`length(40..400)` is a check of texts.  Arguments: `characters`: range." in out
    assert "check { length(40..400) }" in out
    retry = CliRunner().invoke(cli, ["explain", "retry"]).stdout
    assert "`retry = 3` stands in a turn, a step or a tool." in retry
    assert "E108" in retry
    split = CliRunner().invoke(cli, ["explain", "split"]).stdout
    assert "stands in a source; `split = 95%` stands in an export" in split


def test_a_terminal_gets_a_page_without_its_marks() -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(command("explain", "E302"), stdout=theirs, env=environment()) as process:
        os.close(theirs)
        shown = b"".join(_read(ours)).decode()
    assert process.returncode == 0
    assert "E302: shares that do not add up" in shown
    assert "```" not in shown
    assert "\x1b[" in shown


def _read(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal until its other end is closed, which Linux calls an error."""
    try:
        while chunk := os.read(terminal, 4096):
            yield chunk
    except OSError:
        pass
    finally:
        os.close(terminal)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("E320", "there is no page about `E320`; did you mean `E302`?"),
        ("lenght", "there is no page about `lenght`; did you mean `length`?"),
        ("templtes", "there is no page about `templtes`; did you mean `templates`?"),
        ("", "there is no page about ``; `synth explain` lists what can be explained"),
        ("\x1b[31m\u202e", "there is no page about `\\x1b[31m\\u202e`; `synth explain` lists"),
    ],
)
def test_an_unknown_topic_is_one_sentence(topic: str, message: str, tmp_path: Path) -> None:
    result = synth("explain", topic, cwd=tmp_path)
    assert (result.status, result.out) == (2, "")
    assert f"Error: {message}" in result.err


@pytest.mark.parametrize("options", [OpenAIOptions, GeminiOptions])
def test_every_option_of_a_service_has_its_place(options: type[HostedOptions]) -> None:
    page = (REFERENCE / "models.md").read_text("utf-8")
    assert [
        name for name in options.model_fields if f"`{name}`" not in page and f"`{name} = " not in page
    ] == []


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("ranked", "synth explain judging"),
        ("agreement", "vote.agreement"),
        ("ultrafeedback", "AI feedback"),
        ("KTO", "unpaired"),
        ("self_instruct", "synth explain methods"),
    ],
)
def test_what_has_no_page_leads_to_the_chapter_that_tells_of_it(topic: str, text: str) -> None:
    result = CliRunner().invoke(cli, ["explain", topic])
    assert result.exit_code == 0
    assert text in result.output
