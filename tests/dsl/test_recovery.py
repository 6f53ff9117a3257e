"""Recovery as a property: whatever is done to a recipe, it is parsed, and little is said."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.dsl import Source, Syntax, parse, to_github, to_json, to_text
from synth.dsl.syntax import Statement
from tests.dsl.helpers import RECIPES, check_spans

TOKEN = re.compile(r'"""|[{}()\[\]<>"=:,|]')
FRAGMENTS = [
    *"{}()[]<>\"=:,.|#;%'\\ \n\t0a_?-/",
    *('"""', 'r"""', "{{", "}}", "##", "..", "by", "from", "over", "5x", "\u201c", "\u0639", "\u202e"),
    *("\0", "\ud800", "\r", "\ufffd", "\u00a0", "\u200b"),
]
TOKENS = [
    *(
        "turn",
        "x",
        "by",
        "from",
        "times",
        "over",
        "in",
        "true",
        "a.b",
        "3",
        "40%",
        "2..6",
        "1.",
        "5x",
        "-3",
        "30s",
        "when",
        "unless",
        "-0.5..1.5",
    ),
    *('"t"', '"{{ a }}"', '"""', '"""\n  a\n  """', '"\\q"', "\n", "\n", "  ", "## d", "# c", "\r\n", "é"),
    *FRAGMENTS,
]


def check(text: str) -> int:
    """Parses, looks at everything that came out, and counts the diagnostics."""
    source = Source("damaged.recipe", text)
    syntax, diagnostics = parse(source)
    check_spans(syntax)
    for item in diagnostics:
        assert item.primary is not None
        for span in (item.primary, *(label.span for label in item.secondary)):
            assert 0 <= span.start <= span.end <= len(text)
        assert re.fullmatch(r"E00[1-79]", item.code)
        assert item.message[-1] not in ".!"
    assert len(to_json(diagnostics)) == len(diagnostics)
    assert len(to_github(diagnostics).splitlines()) == len(diagnostics)
    to_text(diagnostics, color=True, width=80)
    again, same = parse(source)
    assert (again, again.poisoned, same) == (syntax, syntax.poisoned, diagnostics)
    return len(diagnostics)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A recipe after one edit."""
    text = RECIPES[draw(st.sampled_from(sorted(RECIPES)))]
    at = draw(st.integers(0, len(text)))
    end = draw(st.integers(at, min(len(text), at + 60)))
    put: str = draw(st.sampled_from(["", *FRAGMENTS]))
    return text[:at] + put + text[end:]


@given(damaged())
@settings(max_examples=150, deadline=None)
def test_one_edit(text: str) -> None:
    # A cut of sixty characters can be several faults, but not more than it touches lines.
    assert check(text) <= 5


@given(st.lists(st.sampled_from(TOKENS), max_size=40), st.sampled_from(["", " "]))
@settings(max_examples=300, deadline=None)
def test_any_tokens(tokens: list[str], between: str) -> None:
    check(between.join(tokens))


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text(text: str) -> None:
    check(text)


@pytest.mark.parametrize("name", ["quickstart.recipe", "house_style.recipe", "persona.recipe"])
def test_a_line_a_bracket_or_a_quote_removed_gives_one_diagnostic(name: str) -> None:
    text = RECIPES[name]
    lines = text.split("\n")
    damaged = ["\n".join(lines[:n] + lines[n + 1 :]) for n in range(len(lines))]
    damaged += [text[: match.start()] + text[match.end() :] for match in TOKEN.finditer(text)]
    counts = Counter(len(parse(Source(name, broken))[1]) for broken in damaged)
    assert counts[1] > counts.total() / 3
    assert sum(counts[n] for n in counts if n > 1) <= counts.total() / 50
    assert max(counts) <= 2


@pytest.mark.parametrize("name", RECIPES)
def test_a_damaged_statement_costs_no_other(name: str) -> None:
    """A fault inside one top-level statement leaves all others as they were."""
    text = RECIPES[name]
    whole, _ = parse(Source(name, text))
    for index, node in enumerate(whole.statements):
        for old, new in (("{", "= = {"), ("}", ""), (" = ", " = ? "), ('"', ""), (")", "")):
            at = node.span.text.find(old)
            if at < 0:
                continue
            start = node.span.start + at
            syntax, diagnostics = parse(Source(name, text[:start] + new + text[start + len(old) :]))
            # In a text a bracket is a character like any other.
            assert diagnostics or old in "})"
            assert others(syntax, node) == [
                statement for n, statement in enumerate(whole.statements) if n != index
            ]


def others(syntax: Syntax, damaged: object) -> list[object]:
    assert isinstance(damaged, Statement)
    return [
        node
        for node in syntax.statements
        if not (isinstance(node, Statement) and (node.kind, node.name) == (damaged.kind, damaged.name))
    ]
