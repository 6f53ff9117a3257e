"""Cards in which others' words stand: they show as words, and a row takes a few kilobytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from synth.store.dataset.output.markdown import inert, prose
from synth.store.log.served import is_another
from tests.cli.doors import call
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
PIECES = (
    *("<script>", "<img src=x>", "</td>", "<!--", "<https://a.b>", "<javascript:x>", "&lt;"),
    *("![t](http://a.b/p.png)", "![t][r]", "[r]: javascript:x", "[r]", "[x](javascript:alert(1))", "]("),
    *("[", "]", "("),
    *("[x](https://a.b/c)", "```", "~~~", "`", "``", "\\", "---", "===", "***", "|", "\n", "\n\n"),
    *("\n- ", "\n> ", "\n    "),
    *("word", " ", "#", "*", "_", "1. ", "\t", "data:text/html,x", "\u202e", "\x1b[0m"),
)  # fmt: skip


_FENCED = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.DOTALL | re.MULTILINE)


def acts(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        href = str(token.attrs.get("href", "https://"))
        if token.type in ("html_block", "html_inline", "image") or not href.startswith(
            ("http://", "https://")
        ):
            yield token
        yield from acts(token.children or [])


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_comment_loads_or_runs_anything(text: str) -> None:
    shown = prose(text)
    # What follows stands on its own: no fence, list or table of the comment reaches into it.
    tokens = MARKDOWN.parse(f"# title\n\n{shown}\n\n## Where\n\nText.\n")
    assert list(acts(tokens)) == [], shown
    assert "table_open" not in [token.type for token in tokens]
    assert [t.content for t in tokens if t.type == "inline"][-1] == "Text."
    assert not re.search(r"^(---|===)[ \t]*$", _FENCED.sub("", shown), re.MULTILINE)


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map(lambda parts: " ".join("".join(parts).split())))
def test_no_cell_leaves_its_table(text: str) -> None:
    tokens = MARKDOWN.parse(f"| a | b |\n| --- | --- |\n| {inert(text, cell=True)} | last |\n\nText.\n")
    assert list(acts(tokens)) == []
    inline = [token.content for token in tokens if token.type == "inline"]
    assert inline[:2] == ["a", "b"]
    assert inline[-2:] == ["last", "Text."]
    assert len(inline) == 5


def test_what_people_write_stays_as_it_is() -> None:
    text = (
        "Two *models*, `base`:\n\n- one\n- [two](https://example.org/x)\n\n```\na | <b>\n```\nand 3 < 4 | no."
    )
    assert prose(text) == text.replace("4 |", "4 \\|")


RECIPE = """edition 1

## A set of <img src=http://evil.example/p.png> things.
## ```
## ---
recipe long { seed = 1 }

model big: model<chat> from openai("big-1") {}

conversation talk times 3 {
  turn question: user = "Say it."
  turn answer: model by big { sees = transcript }
  train_on = [answer]
}

export train: messages from talk to "out" {}
"""


class Elsewhere(OpenAIServer):
    """A service that answers with another model than the one asked for."""

    served = "small-0"

    def completion(self, asked: Any, text: str, *, cut: bool) -> dict[str, Any]:
        return super().completion(asked, text, cut=cut) | {"model": self.served}


def test_a_card_is_short_and_says_who_answered(tmp_path: Path) -> None:
    (tmp_path / "r.recipe").write_text(RECIPE)
    row = "An answer with ``` and <b> and \u202e. " * 4000
    with Elsewhere(answer=lambda _: row) as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        run = call("run", "r.recipe", "--log", "l.duckdb", cwd=tmp_path, env=env)
        assert run.status == 0, run.err
        again = call("run", "r.recipe", "--log", "l.duckdb", "--json", cwd=tmp_path, env=env).json()
    said = "`big` asked for big-1, and small-0 answered 3 calls"
    assert f"warning: {said}\n" in run.err
    assert said not in again["warnings"], "only of its own calls"
    assert said in call("status", "--log", "l.duckdb", cwd=tmp_path).out
    made = call("materialize", "r.recipe", "--log", "l.duckdb", cwd=tmp_path)
    assert said in made.err
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert len(card.encode()) < 8000
    assert re.search(r"\n\.\.\. cut here: the row has [\d,]+ characters\n````", card)
    assert "openai:big-1; answered by small-0 (3)" in card
    assert "A set of \\<img src=http://evil.example/p.png> things.\n```\n---\n```\n" in card
    assert "\u202e" not in card
    (author,) = json.loads((tmp_path / "out/manifest.json").read_text())["written_by"]["answer"]
    assert author["served_by"] == {"small-0": 3}
    # A run that was killed has said nothing, and its answers tell.
    assert query(tmp_path / "l.duckdb", "SELECT count(*) FROM events WHERE kind = 'run.stopped'") == [(2,)]


@pytest.mark.parametrize(
    ("asked", "served", "another"),
    [
        ("gpt-4o", "gpt-4o", False),
        ("gpt-4o", "gpt-4o-2024-08-06", False),
        ("gpt-4", "gpt-4-0613", False),
        ("gemini-2.5-flash", "models/gemini-2.5-flash-001", False),
        ("gemini-2.5-flash", "gemini-2.5-flash-preview-05-20", False),
        ("claude-x-latest", "claude-x-20250101", False),
        ("org/Model-7B", "model-7b", False),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini", True),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", True),
        ("gpt-4o", "gpt-3.5-turbo", True),
        ("big", "", True),
    ],
)
def test_a_dated_name_is_the_same_model(asked: str, served: str, another: bool) -> None:
    assert is_another(asked, served) is another
