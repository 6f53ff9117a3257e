"""Texts made to break a parser: deep, long, endless.  All are read to the end, in time that
grows with their length."""

from __future__ import annotations

import sys

import pytest

from synth.dsl import Source, parse, read_text, to_text
from tests.dsl.helpers import check_spans, only

MANY = 20_000

TEXTS = {
    "braces": "{" * MANY,
    "parentheses": "x = " + "(" * MANY,
    "brackets": "x = " + "[" * MANY + "]" * MANY,
    "closing": "}" * MANY + ")" * MANY,
    "crossed": "([)]" * MANY,
    "types": "x: " + "a<" * MANY,
    "nested blocks": "a {\n" * MANY + "}\n" * MANY,
    "nested references": 'x = "{{ ' + "f(" * MANY + ' }}"',
    "staircase": "".join(" " * depth + "a {\n" for depth in range(300)),
    "staircase down": "".join(" " * (300 - depth) + "}\n" for depth in range(300)),
    "quotes": '"' * MANY,
    "quotes on lines": '"\n' * MANY,
    "blocks on one line": 'x """ ' * MANY,
    "blocks": '"""\n' * MANY,
    "blocks never closed": '"""\nx """ y\n' * MANY,
    "blocks never opened": ("  a\n" * 5 + '  """\nx """ y\n') * (MANY // 8),
    "references": 'x = "' + "{{ a }}" * MANY + '"',
    "references never closed": 'x = "' + "{{" * MANY + '"',
    "references with quotes": 'x = """\n' + '{{ "}} ' * MANY + '\n"""',
    "digits": "x = " + "9" * 200_000,
    "name": "a" * 200_000,
    "escapes": 'x = "' + "\\q" * MANY + '"',
    "backslashes": 'x = "' + "\\" * MANY,
    "commas": "," * MANY,
    "dots": "x = " + "a." * MANY,
    "equals": "x" + " =" * MANY,
    "spaces": " " * 500_000 + "x",
    "line ends": "\n" * 200_000,
    "carriage returns": "\r" * MANY,
    "comments": "##\n" * MANY,
    "directions": "\u202ex" * MANY,
    "unknown characters": ";\n\n" * MANY,
    "words": "a b c d\n\n" * MANY,
    "nothing but line separators": "\u2028" * MANY,
    "combining marks": 'x = "a' + "\u0301" * MANY + '" ;',
}


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_texts(name: str) -> None:
    text = TEXTS[name]
    syntax, diagnostics = parse(Source("hostile.recipe", text))
    check_spans(syntax)
    excerpt = to_text(diagnostics[:20], color=False, width=80)
    assert all(len(line) < 300 for line in excerpt.splitlines())


@pytest.mark.parametrize("name", ["braces", "parentheses", "brackets", "nested blocks", "types", "crossed"])
def test_depth_is_one_fault(name: str) -> None:
    fault = only(TEXTS[name])
    assert fault.code == "E003"


def test_nesting_that_is_allowed_can_be_walked() -> None:
    """What the parser lets pass leaves room on the stack for those who walk the tree."""
    deep = "a {\n" * 63 + "x = " + "1" + "\n" + "}\n" * 63
    syntax, diagnostics = parse(Source("deep.recipe", deep))
    assert not diagnostics
    assert sys.getrecursionlimit() <= 1000
    assert repr(syntax)
    assert syntax == parse(Source("deep.recipe", deep))[0]


def test_the_statements_around_what_is_too_deep_are_kept() -> None:
    text = "a = 1\nb = " + "[" * 500 + "]" * 500 + "\nc = 2\n"
    syntax, diagnostics = parse(Source("deep.recipe", text))
    assert len(diagnostics) == 1
    assert [node.span.text.strip() for node in syntax.statements][::2] == ["a = 1", "c = 2"]


def test_a_line_of_megabytes_is_quoted_around_its_fault() -> None:
    text = "x = [" + "1, " * 20_000 + "?, " + "2, " * 20_000 + "]"
    diagnostics = parse(Source("long.recipe", text))[1]
    lines = to_text(diagnostics, color=False, width=80).splitlines()
    assert max(map(len, lines[:5])) <= 80
    assert "?" in lines[3]
    assert lines[3].index("?") == lines[4].index("^")


def test_what_cannot_be_a_character_never_reaches_the_tree() -> None:
    source, unreadable = read_text('x = "a\0b\ud800c"\n\0y\ud801 = 1', "t")
    syntax, diagnostics = parse(source)
    assert [item.message for item in unreadable] == [
        "this is a NUL character, which no text holds",
        "U+D800 is half of a character",
    ]
    assert not diagnostics
    repr(syntax).encode("utf-8")
