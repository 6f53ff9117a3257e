"""Formatting: it says the same, it settles at once, and it leaves alone what it should."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.dsl import Source, parse, read_text
from synth.dsl.format import WIDTH, format_source
from synth.dsl.syntax import Statement, Syntax, Text
from tests.dsl.helpers import RECIPES, clean

Q = '"""'
TEXT_OR_COMMENT = re.compile(
    r'(?:\br)?"""[^\n]*\n(?:[^\n]*\n)*?[ \t\f]*"""|"(?:[^"\\\n]|\\.)*"|(?P<comment>#[^\n]*)'
)


def formatted(text: str) -> str:
    """The formatted text, after checking all that must hold of it."""
    syntax = clean(text)
    once = format_source(Source("test.recipe", text))
    assert once is not None
    assert clean(once) == syntax
    assert comments(once) == comments(text)
    assert format_source(Source("test.recipe", once)) == once
    assert once == "" or (once[0] not in " \n" and once.endswith("\n") and not once.endswith("\n\n"))
    return once


def comments(text: str) -> list[str]:
    return [match["comment"].strip() for match in TEXT_OR_COMMENT.finditer(text) if match["comment"]]


def texts(syntax: Syntax) -> list[str | None]:
    values = (node.value for node in syntax.statements if isinstance(node, Statement))
    return [value.plain for value in values if isinstance(value, Text)]


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_are_formatted_already(name: str) -> None:
    assert formatted(RECIPES[name]) == RECIPES[name]


STYLE = {
    "spaces": ("a   b:c<d,e>( 1..2 )?40%by x=f( y=1,-2 )", "a b: c<d, e>(1..2)? 40% by x = f(y = 1, -2)"),
    "words are written as they were": (
        'a  =  [1_000,2.50,-0.0,1.5h,40.0%,..8,"\\u{e9}",true]',
        'a = [1_000, 2.50, -0.0, 1.5h, 40.0%, ..8, "\\u{e9}", true]',
    ),
    "references": ("a = b . c\ne over  x  in y.z", "a = b.c\ne over x in y.z"),
    "conditions": (
        "a b:c=d  when  e . f   unless g in[ -1,2 ]{h}",
        "a b: c = d when e.f unless g in [-1, 2] { h }",
    ),
    "rules of libraries": ("a{b . c( -0.5..1,d=..2.5 )}", "a { b.c(-0.5..1, d = ..2.5) }"),
    "indentation": ("a {\n\tb {\n      c\n }\n    }", "a {\n  b {\n    c\n  }\n}"),
    "a block on one line stays": ("a{b=1,c{d}}", "a { b = 1, c { d } }"),
    "a broken block stays broken": ("a { b = 1\n}", "a {\n  b = 1\n}"),
    "commas are for one line": ("a { b = 1,\n  c = 2, }", "a {\n  b = 1\n  c = 2\n}"),
    "nothing in braces": ("a {\n\n}\nb {}", "a { }\nb { }"),
    "blank lines": ("\n\na\n\n\n\nb {\n\n\n  c\n\n\n  d\n\n}\n\n\n", "a\n\nb {\n  c\n\n  d\n}"),
    "a list that fits is joined": ("a = [\n  1,\n  2\n]", "a = [1, 2]"),
    "a comma at its end keeps it broken": ("a = [1,\n2,\n\n\n3,]", "a = [\n  1,\n  2,\n\n  3,\n]"),
    "but not on one line": ("a = f(1, [2,],)", "a = f(1, [2])"),
    "what holds a broken list is broken": ("a = f([\n1,\n])", "a = f(\n  [\n    1,\n  ],\n)"),
    "a range is never broken": ("length(\n  1..2,\n)", "length(1..2)"),
    "comments at line ends": (
        "a{# one\nb=1,   # two\nc=2# three\n}#four",
        "a {  # one\n  b = 1  # two\n  c = 2  # three\n}  #four",
    ),
    "comments in lists": (
        "a = f( # one\n1, # two\n 2,# three\n\n# four\n)",
        "a = f(  # one\n  1,  # two\n  2,  # three\n\n  # four\n)",
    ),
    "only comments": ("a = [# one\n]\nb {\n# two\n}", "a = [  # one\n]\nb {\n  # two\n}"),
    "comments on their lines": (
        "  # one\n\n\n # two\na {\n # three\nb\n# four\n}\n   # five",
        "# one\n\n# two\na {\n  # three\n  b\n  # four\n}\n# five",
    ),
    "docs": (
        "a {\n##one  \n   ## two\n\n\n# three\n b, ## four\n c }",
        "a {\n  ##one\n  ## two\n\n  # three\n  b\n  ## four\n  c\n}",
    ),
    "a text is moved as a whole": (
        f"a {{\nb = {Q}\n        one\n          two\n\n        three  \n     {Q}\n}}",
        f"a {{\n  b = {Q}\n       one\n         two\n\n       three  \n    {Q}\n}}",
    ),
    "whatever its indentation is made of": (f"a = {Q}\n\t\f x\n\t\fy\n\t\f{Q}", f"a = {Q}\n   x\n  y\n  {Q}"),
    "its last quotes stand below it": (f"a = {Q}\none\n    {Q}", f"a = {Q}\n  one\n  {Q}"),
    "a text in a list": (f"a = f({Q}\none\n{Q},1)", f"a = f(\n  {Q}\n    one\n    {Q},\n  1,\n)"),
    "a text before a block": (f"a = {Q}\n x\n {Q} {{ b }}", f"a = {Q}\n  x\n  {Q} {{ b }}"),
    "raw texts": (f"a = r{Q}\n{{{{ }}}}\\\n{Q}", f"a = r{Q}\n  {{{{ }}}}\\\n  {Q}"),
    "templates": ('a = "{{x|json}}  {{  y }}"', 'a = "{{x|json}}  {{  y }}"'),
    "other line ends": ("a {\r\n  b\r\n}\r\n", "a {\n  b\n}"),
}


@pytest.mark.parametrize("name", STYLE)
def test_style(name: str) -> None:
    before, after = STYLE[name]
    assert formatted(before) == after + "\n"


def test_nothing_is_formatted_to_nothing() -> None:
    assert formatted("") == ""
    assert formatted(" \n\t\n\n") == ""
    assert formatted("# c") == "# c\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = [", ", b]"),
        ("a = f(", ", b)"),
        ("a from f(", ") = b"),
        ("a from f(", ") { b = 2 }"),
        ("a from f(", ") {\n  b = 2\n}"),
        ("a from f(", f") = {Q}\n  b\n  {Q}"),
        ("a = [\n  f(", "),\n]"),
    ],
)
def test_a_line_is_broken_only_when_it_is_too_long(before: str, after: str) -> None:
    """What belongs to a line is all up to where it can be broken next."""
    *_, start = before.split("\n")
    end, *_ = after.split("\n")
    for width in (WIDTH, WIDTH + 1):
        text = before + "n" * (width - len(start) - len(end)) + after + "\n"
        assert (formatted(text) == text) == (width == WIDTH)


def test_the_outermost_bracket_that_does_not_fit_is_broken() -> None:
    name = "n" * (WIDTH - 20)
    assert formatted(f"a = f(g({name}), [1, 2], x = h(1))") == (
        f"a = f(\n  g({name}),\n  [1, 2],\n  x = h(1),\n)\n"
    )


def test_of_several_lists_the_last_is_broken_first() -> None:
    long = "n" * 50
    assert formatted(f"a from f({long}) to g({long})") == f"a from f({long}) to g(\n  {long},\n)\n"


def test_a_block_is_broken_before_what_stands_before_it() -> None:
    long = "n" * (WIDTH - 30)
    assert formatted(f"a from f({long}) {{ b = 1, c = {'n' * 20} }}") == (
        f"a from f({long}) {{\n  b = 1\n  c = {'n' * 20}\n}}\n"
    )
    long = "n" * WIDTH
    assert formatted(f"a from f({long}) {{ b = 1 }}") == f"a from f(\n  {long},\n) {{ b = 1 }}\n"


def test_width_is_what_a_terminal_shows() -> None:
    wide_characters = "\u6f22" * (WIDTH // 2)
    assert formatted(f'a = ["{wide_characters}"]') == f'a = [\n  "{wide_characters}",\n]\n'
    combining = "e\u0301" * (WIDTH // 2)
    assert formatted(f'a = ["{combining}"]') == f'a = ["{combining}"]\n'


def test_texts_keep_carriage_returns() -> None:
    text = f"a = {Q}\n  one\r\r\n\r\n  two\r\n  {Q}\n"
    assert texts(clean(formatted(text))) == ["one\r\n\ntwo"]


def test_a_damaged_recipe_is_not_formatted() -> None:
    for text in ("a {", 'a = "', "a = 5x", "a b c", "\ufeffa = 1", "a = \u202e1", 'a = "{{ }}"'):
        assert parse(Source("t", text))[1]
        assert format_source(Source("t", text)) is None


def test_what_could_not_be_read_is_not_formatted() -> None:
    source, faults = read_text('a = "\0"', "t")
    assert faults
    assert not parse(source)[1]
    assert format_source(source) is None


def test_a_mark_at_the_beginning_is_dropped() -> None:
    source, faults = read_text("\ufeffa  = 1\r\n", "t")
    assert not faults
    assert format_source(source) == "a = 1\n"


def test_what_is_nested_as_deep_as_may_be_is_formatted() -> None:
    for text in ("a {\n" * 63 + "}\n" * 63, "a = " + "[" * 64 + "]" * 64, "a = " + "f(" * 64 + ")" * 64):
        formatted(text)
    formatted("a = " + "[\n" * 64 + "1,\n" + "],\n" * 63 + "]")


@pytest.mark.parametrize(
    "text",
    [
        "a = [" + "1, " * 5_000 + "]",
        "a = b" + " . c" * 5_000,
        "a" + " from f()" * 2_000,
        "a { b = " + "[[1, 2], [3]], c = " * 500 + "1 }",
        f"a = {Q}\n" + "  x\n" * 5_000 + Q,
        "# c\n\n" * 5_000,
    ],
)
def test_long_texts_are_formatted(text: str) -> None:
    formatted(text)


# Properties ---------------------------------------------------------------------------------


@st.composite
def disarranged(draw: st.DrawFn) -> tuple[str, str]:
    """A recipe, and the same with other white space."""
    recipe = RECIPES[draw(st.sampled_from(sorted(RECIPES)))]
    random = draw(st.randoms(use_true_random=False))
    lines: list[str] = []
    inside, shift = False, ""
    for line in recipe.split("\n"):
        at_end = line.rstrip().endswith(Q)
        if inside:
            lines.append(shift + line if line else line)
            inside = not at_end
            continue
        if not line:
            lines += [random.choice(["", "  ", "\t"])] * random.randint(1, 3)
            continue
        if at_end:
            inside, shift = True, random.choice(["", " ", "\t", "      "])
        else:
            line += random.choice(["", " ", "\t"])
        lines.append(random.choice(["", " ", "\t", "       "]) + line.lstrip())
    return recipe, random.choice(["\n", "\r\n"]).join(lines)


@given(disarranged())
@settings(max_examples=60, deadline=None)
def test_whatever_its_white_space_a_recipe_comes_back(texts: tuple[str, str]) -> None:
    recipe, other = texts
    assert formatted(other) == recipe


GAPS = st.sampled_from(["", " ", "  ", "\t", "\f "])
SPACES = st.sampled_from([" ", "   ", "\t", " \f"])
NAMES = st.sampled_from(["a", "bc", "Message", "long_name_" * 5, "r", "by_heading"])
NOTES = st.sampled_from(["", "", "# note", "#", '###"', "# { é\u202e", "#\ta  "])
LITERALS = st.sampled_from(
    ["1", "1_000", "-2.50", "40%", "1.5h", "2..6", "..8", "2..", "true", '""', '"a # {{ b.c | json }}"']
)
CONTENT = ["", "x", "x  y ", "{ # }", "{{ a.b | json }}", "\u00a0", "x\r", "a\u2028b", "\t\tx", "   x", '"']
LINES = st.builds(
    "{}{}".format, st.sampled_from(["", " ", "    ", "\t", " \t", "\f"]), st.sampled_from(CONTENT)
)
BLOCKS = st.builds(
    lambda quotes, end, lines, last: (
        f"{quotes}{end}\n" + "".join(f"{line}\n" for line in lines) + f"{last}{Q}"
    ),
    st.sampled_from([Q, f"r{Q}"]),
    GAPS,
    st.lists(LINES, max_size=4),
    st.sampled_from(["", "  ", "\t", "\f ", "        "]),
)


@st.composite
def line_ends(draw: st.DrawFn) -> str:
    below = draw(st.lists(st.sampled_from(["", " ", "# own", "   #own  "]), max_size=3))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    return draw(GAPS) + draw(NOTES) + end + "".join(line + end for line in below)


@st.composite
def separated(draw: st.DrawFn, items: st.SearchStrategy[str], opener: str, closer: str) -> str:
    """A list in brackets: line ends after the bracket and the commas, or none."""
    maybe = line_ends() if draw(st.booleans()) else st.just("")
    written = opener + draw(maybe)
    count = draw(st.integers(0, 4))
    for number in range(count):
        written += draw(GAPS) + draw(items) + draw(GAPS)
        if number < count - 1 or draw(st.booleans()):
            written += "," + draw(maybe)
        else:
            written += draw(maybe)
    return written + draw(GAPS) + closer


VALUES = st.recursive(
    LITERALS | BLOCKS | NAMES | st.builds("{}{}.{}{}".format, NAMES, GAPS, GAPS, NAMES),
    lambda inner: (
        separated(inner, "[", "]")
        | st.builds(
            "{}{}{}".format,
            NAMES,
            GAPS,
            separated(inner | st.builds("{}{}={}{}".format, NAMES, GAPS, GAPS, inner), "(", ")"),
        )
    ),
    max_leaves=8,
)
TYPES = st.recursive(
    NAMES,
    lambda inner: st.builds(
        "{}{}{}".format,
        st.builds("{}<{}{},{}>".format, NAMES, GAPS, inner, inner),
        st.sampled_from(["", "(1..2)", " ( ..9 ) "]),
        st.sampled_from(["", "?", " ?"]),
    ),
    max_leaves=3,
)


@st.composite
def statements(draw: st.DrawFn, depth: int = 2) -> str:
    docs = "".join(
        draw(st.sampled_from([f"## doc{end}", f"##{end}"])) for end in draw(st.lists(doc_ends(), max_size=2))
    )
    if draw(st.integers(0, 5)) == 0:
        called = draw(NAMES | st.builds("{}{}.{}{}".format, NAMES, GAPS, GAPS, NAMES))
        return docs + called + draw(GAPS) + draw(separated(VALUES, "(", ")"))
    parts = [docs + draw(NAMES)]
    if draw(st.booleans()):
        parts.append(draw(NAMES))
    if draw(st.booleans()):
        parts.append(":" + draw(GAPS) + draw(TYPES))
    if draw(st.booleans()):
        parts.append(draw(st.sampled_from(["40%", "1_020", "7"])))
    for word in draw(st.lists(st.sampled_from(["by", "from", "to", "times", "over x in"]), max_size=2)):
        parts.append(f"{word} {draw(VALUES)}")
    if draw(st.booleans()):
        parts.append("=" + draw(GAPS) + draw(VALUES))
    if len(parts) > 1:
        for word in draw(st.lists(st.sampled_from(["when", "unless"]), max_size=2)):
            parts.append(f"{word} {draw(NAMES)}" + draw(st.just("") | st.builds(" in {}".format, VALUES)))
    if depth and draw(st.booleans()):
        parts.append(draw(bodies(depth - 1)))
    return "".join(part + draw(SPACES) for part in parts)


@st.composite
def doc_ends(draw: st.DrawFn) -> str:
    return "\n" + "".join(draw(st.lists(st.sampled_from(["\n", "# under\n", "  \n"]), max_size=2)))


@st.composite
def bodies(draw: st.DrawFn, depth: int) -> str:
    one_line = draw(st.booleans())
    breaks = st.just(",") if one_line else line_ends() | st.just(",")
    written = "{" + ("" if one_line else draw(st.just("") | line_ends()))
    children = draw(st.lists(statements(depth), max_size=3))
    for number, statement in enumerate(children):
        written += draw(GAPS) + statement
        if number < len(children) - 1 or draw(st.booleans()):
            written += draw(breaks)
    return written + draw(GAPS) + "}"


@st.composite
def files(draw: st.DrawFn) -> str:
    before = draw(st.just("") | line_ends())
    return before + "".join(draw(statements()) + draw(line_ends()) for _ in range(draw(st.integers(0, 4))))


@given(files())
@settings(max_examples=150, deadline=None)
def test_any_text_says_the_same_and_settles_at_once(text: str) -> None:
    formatted(text)


@given(st.sampled_from(sorted(RECIPES)), st.data())
@settings(max_examples=60, deadline=None)
def test_a_recipe_that_was_tampered_with(name: str, data: st.DataObject) -> None:
    recipe = RECIPES[name]
    at = data.draw(st.integers(0, len(recipe)))
    gone = data.draw(st.sampled_from([0, 1, 2, 30]))
    put = data.draw(st.sampled_from([*'{}()[]<>"=:,.|#\\ \n\t', Q, "{{", "}}", "##", "\r", "# x\n", ",\n"]))
    text = recipe[:at] + put + recipe[at + gone :]
    if parse(Source("t", text))[1]:
        assert format_source(Source("t", text)) is None
    else:
        formatted(text)
