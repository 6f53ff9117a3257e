"""What is wrong with a text, in the words a user sees.  One fault, one diagnostic."""

from __future__ import annotations

from textwrap import dedent

import pytest

from synth.dsl import Source, parse
from synth.dsl.syntax import Damaged, Integer, Statement
from tests.dsl.helpers import RECIPES, edited, faults, marked, only, rendered, without_line


def dedented(text: str) -> str:
    return dedent(text).strip("\n")


def test_a_text_block_left_open() -> None:
    assert rendered(without_line("persona.recipe", 56)) == dedented(
        '''
        error[E001]: this text is never closed
          --> persona.recipe:51:14
           |
        51 |     prompt = """
           |              ^^^ opened here
           |
           = hint: close it with `"""` on a line of its own
        '''
    )


def test_a_value_is_missing() -> None:
    assert rendered(edited("persona.recipe", "temperature = 1.0", "temperature =")) == dedented(
        """
        error[E002]: expected a value, found the end of the line
          --> persona.recipe:18:16
           |
        18 |   temperature =
           |                ^
           |
           = hint: a number such as `temperature = 0.7`
        """
    )


def test_an_unknown_unit() -> None:
    assert rendered(edited("persona.recipe", "split = 95%", "split = 95pct")) == dedented(
        """
        error[E004]: `95pct` has an unknown unit
          --> persona.recipe:92:11
           |
        92 |   split = 95pct
           |           ^^^^^
           |
           = hint: shares are written `95%`
           = fix: replace with `95%`
        """
    )


def test_a_brace_left_open_is_found_by_indentation() -> None:
    assert rendered(without_line("persona.recipe", 64)) == dedented(
        """
        error[E003]: `{` is never closed
          --> persona.recipe:50:32
           |
        50 |   turn persona: user by author {
           |                                ^ opened here
           |
           = hint: close it with `}` after line 63
        """
    )


def test_a_brace_that_opens_nothing() -> None:
    assert rendered(edited("persona.recipe", "user by author {", "user by author")) == dedented(
        """
        error[E003]: `}` closes nothing
          --> persona.recipe:64:3
           |
        64 |   }
           |   ^
           |
           = hint: open it with `{` at the end of line 50
        """
    )


def test_a_brace_left_open_beside_another_fault() -> None:
    text = "a = [1)\n\nb {\n  c {\n    d = 1\n  e = 2\n}\n\nf = 3\n"
    syntax, diagnostics = parse(Source("t", text))
    assert [(item.code, marked(item), item.primary and item.primary.start) for item in diagnostics] == [
        ("E003", ")", 6),
        ("E003", "{", text.index("{", text.index("c"))),
    ]
    assert [str(node.kind) for node in syntax.statements if isinstance(node, Statement)] == ["a", "b", "f"]


def test_a_text_without_opening_quotes() -> None:
    diagnostics = edited("persona.recipe", 'prompt = """', "prompt =")
    assert "E001" in rendered(diagnostics)
    assert 'open it with `"""` at the end of line 51' in rendered(diagnostics)
    line_missing = rendered(without_line("persona.recipe", 51))
    assert line_missing.startswith("error[E001]: this text is never opened\n  --> persona.recipe:55:7")


@pytest.mark.parametrize(
    ("text", "code", "at", "message"),
    [
        # E001: texts
        ('x = "abc', "E001", '"', "this text is never closed"),
        ('x { y = "abc }\nz', "E001", '"', "this text is never closed"),
        ('f("a, [b)\nz', "E001", '"', "this text is never closed"),
        ('x: t = "abc {\n  y = 1\n}', "E001", '"', "this text is never closed"),
        ('x = "abc\\', "E001", '"', "this text is never closed"),
        ('x = """\n  a\n  b"""\ny', "E001", '"""', "this text is never closed"),
        ('x = """abc"""', "E001", '"""', 'the text of a block begins on the line after `"""`'),
        ('x = r"""a\n  """\ny = 1', "E001", 'r"""', 'the text of a block begins on the line after `"""`'),
        ('x { y = """a""" }', "E001", '"""', 'the text of a block begins on the line after `"""`'),
        # E002: something else was expected
        ("x: = 3", "E002", "=", "expected a type, found `=`"),
        ("x: 3", "E002", "3", "expected a type, found `3`"),
        ("x by {\n}", "E002", "{", "expected a model, found `{`"),
        ("x from", "E002", "", "expected a source, found the end of the file"),
        ("x to\ny", "E002", "", "expected a path, found the end of the line"),
        ("x times = 3", "E002", "=", "expected a count, found `=`"),
        ("x over {\n}", "E002", "{", "expected a name, found `{`"),
        ("x over a b { }", "E002", "b", "expected `in`, found `b`"),
        ("x over a { }", "E002", "{", "expected `in`, found `{`"),
        ("x: t when a in { }", "E002", "{", "expected a list or a range, found `{`"),
        ("x: t when hard and easy { }", "E002", "and", "expected the end of the line, found `and`"),
        ("x: t when hard == 1", "E002", "=", "expected the end of the line, found `=`"),
        ("x: t when hard by m", "E002", "by", "expected the end of the line, found `by`"),
        ('turn a: user = "q" when', "E002", "when", "expected the end of the line, found `when`"),
        ("a.b = 3", "E002", "=", "expected `(`, found `=`"),
        ("x over a in { }", "E002", "{", "expected a set, found `{`"),
        ("x = a.", "E002", "", "expected a name, found the end of the file"),
        ("x = [1, , 2]", "E002", ",", "expected a value, found `,`"),
        ("x = [1 2]", "E002", "2", "expected `,` or `]`, found `2`"),
        ("x = f(1 2)", "E002", "2", "expected `,` or `)`, found `2`"),
        ('x = [\n  "a"\n  "b",\n]', "E002", "", "expected `,` or `]`, found the end of the line"),
        ("x = f(a = )", "E002", ")", "expected a value, found `)`"),
        ("x: a<>", "E002", ">", "expected a type, found `>`"),
        ("x: a<b c>", "E002", "c", "expected `,` or `>`, found `c`"),
        ("x: text()", "E002", ")", "expected a range, found `)`"),
        ("x: text(700)", "E002", "700", "expected a range, found `700`"),
        ("x: text(1..7 8)", "E002", "8", "expected `)`, found `8`"),
        ("x y z = 1", "E002", "z", "expected `:`, found `z`"),
        ('x y "z"', "E002", '"z"', "expected `=`, found a text"),
        ("retry 3.5", "E002", "3.5", "expected `=`, found `3.5`"),
        ("direct x 3.5 { }", "E002", "3.5", "expected a count or a share, found `3.5`"),
        ("x = 1 2", "E002", "2", "expected the end of the line, found `2`"),
        ("x = 1 by a", "E002", "by", "expected the end of the line, found `by`"),
        ("x { y = 1 2 }", "E002", "2", "expected `,` or `}`, found `2`"),
        ("x { } y", "E002", "y", "expected the end of the line, found `y`"),
        ("= 3", "E002", "=", "expected a statement, found `=`"),
        ('"text"', "E002", '"text"', "expected a statement, found a text"),
        ("x = 'abc'", "E002", "'", "expected a value, found `'`"),
        ("x = 1;", "E002", ";", "expected the end of the line, found `;`"),
        ("x = $y", "E002", "$", "expected a value, found `$`"),
        ("x = a\u00a0", "E002", "\u00a0", "expected the end of the line, found the character U+00A0"),
        ("x = \u200b1", "E002", "\u200b", "expected a value, found the character U+200B"),
        (
            "x \u0627\u0633\u0645: text",
            "E002",
            "\u0627\u0633\u0645",
            "expected a name, `:`, `=` or `{`, found `اسم`",
        ),
        ("x = \u0663", "E002", "\u0663", "expected a value, found `٣`"),
        # E003: brackets
        ("x = f(1\ny", "E003", "(", "`(` is never closed"),
        ("x = [1\ny", "E003", "[", "`[` is never closed"),
        ("x = [1, f(2, 3]\ny", "E003", "(", "`(` is never closed"),
        ("x = f(1 {\n  y = 1\n}", "E003", "(", "`(` is never closed"),
        ("x: a<b from c", "E003", "<", "`<` is never closed"),
        ("x: a<b<c from d", "E003", "<", "`<` is never closed"),
        ("x = f(1))", "E003", ")", "`)` closes nothing"),
        ("x = 1]", "E003", "]", "`]` closes nothing"),
        ("x = [1)", "E003", ")", "`[` is closed by `)`"),
        ("x {\n  y = 1\n", "E003", "{", "`{` is never closed"),
        ("x }", "E003", "}", "`}` closes nothing"),
        ("x = [\n  1,\n)\ny = 1", "E003", ")", "`[` is closed by `)`"),
        ("x =\n  1,\n]\ny = 1", "E003", "]", "`]` closes nothing"),
        ("x y = 1 }", "E003", "}", "`}` closes nothing"),
        ("x {\n  y {\n    z = 1\n", "E003", "{", "`{` is never closed"),
        # E004: units
        ("x = 5x", "E004", "5x", "`5x` has an unknown unit"),
        ("x 5x { }", "E004", "5x", "`5x` has an unknown unit"),
        ("x = [1, 5x]", "E004", "5x", "`5x` has an unknown unit"),
        ('x = "{{ f(5x) }}"', "E004", "5x", "`5x` has an unknown unit"),
        # E006: direction
        ("x\u202e = 1", "E006", "\u202e", "a bidirectional control character (U+202E) stands outside text"),
        (
            "x = a\u2066\u2069",
            "E006",
            "\u2066\u2069",
            "a bidirectional control character (U+2066) stands outside text",
        ),
        # E007: documentation
        ("## a\n", "E007", "## a", "this comment documents nothing"),
        ("x {\n  ## a\n}", "E007", "## a", "this comment documents nothing"),
        ("x = 1 ## a\ny", "E007", "## a", "this comment documents nothing"),
        ("x = [\n  1, ## a\n]", "E007", "## a", "this comment documents nothing"),
        # E009: literals
        ("x = 1" + "0" * 18, "E009", "1" + "0" * 18, "`1000000000000000000` has too many digits"),
        ("x = " + "9" * 9000, "E009", "9" * 9000, "`9999999999999999999…` has too many digits"),
        (
            "x = 0." + "9" * 9000 + "%",
            "E009",
            "0." + "9" * 9000 + "%",
            "`0.99999999999999999…` has too many digits",
        ),
    ],
)
def test_one_fault(text: str, code: str, at: str, message: str) -> None:
    fault = only(text)
    assert (fault.code, marked(fault), fault.message) == (code, at, message)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("95pct", "95%"),
        ("2.5percent", "2.5%"),
        ("30sec", "30s"),
        ("5min", "5m"),
        ("2hours", "2h"),
        ("10k", "10_000"),
    ],
)
def test_units_that_are_clear_have_a_fix(written: str, meant: str) -> None:
    fault = only(f"x = {written}")
    assert fault.fix is not None
    assert (fault.fix.replacement, fault.fix.span.text) == (meant, written)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x: t when a == 1", "`when words in [2, 4]`"),
        ("x: t when a != 1", "`unless` is the opposite"),
        ("x: t when a > 1", "`when words in 3..`"),
        ("x: t when a && b { }", "side by side"),
        ("x: t when a or b { }", "a list: `when words in [2, 4]`"),
        ("x: t when not a", "`unless` is the opposite"),
        ("x: t when a not in [b]", "`unless` is the opposite"),
        ("x: t when 3", "`when hard`"),
        ("x: t if a { }", "begins with `when` or `unless`"),
        ("x: t when a by m", "`by` stands before the condition"),
    ],
)
def test_a_condition_as_it_is_written_elsewhere(text: str, hint: str) -> None:
    assert hint in only(text).hint


@pytest.mark.parametrize("written", ["5x", "1.5k", "1e5", "0x1f", "5tokens", "-3k"])
def test_units_that_are_not_clear_have_none(written: str) -> None:
    assert only(f"x = {written}").fix is None


@pytest.mark.parametrize(
    "text",
    [
        "x = 1;",
        'x = """abc"""',
        "x = [1)",
        "x = 95pct",
        "x = \u0663",
        "x = a\u00a0",
        "x\u202e = 1",
        'x = "\\d"',
        "x = \uff11",
    ],
)
def test_a_fix_removes_the_fault(text: str) -> None:
    fault = only(text)
    assert fault.fix is not None
    span = fault.fix.span
    assert faults(text[: span.start] + fault.fix.replacement + text[span.end :]) == []


def test_bidirectional_controls_may_stand_in_texts_and_comments() -> None:
    assert faults('x = "a\u202eb" # \u202e\ny = """\n  \u2066\n  """\n## \u200f\nz') == []


def test_a_fault_on_the_next_line_is_folded() -> None:
    assert len(faults("a =\nb =\nc =\n\nd =")) == 2


def test_independent_faults_are_all_reported() -> None:
    diagnostics = faults('a =\n\nb = 5x\n\nc = [1\n\nd: text(3)\n\ne = "{{ }}"\n\n## f\n')
    assert [fault.code for fault in diagnostics] == ["E002", "E004", "E003", "E002", "E005", "E007"]
    places = [fault.primary.start for fault in diagnostics if fault.primary]
    assert places == sorted(places)


def test_what_is_left_of_a_mended_statement() -> None:
    syntax, _ = parse(Source("t", "turn a: user by = 3 {\n  b =\n  c = 2\n}"))
    (node,) = syntax.statements
    assert isinstance(node, Statement)
    assert node.damaged
    assert isinstance(node.clauses[0].value, Damaged)
    assert isinstance(node.value, Integer)
    assert node.body is not None
    b, c = node.body
    assert isinstance(b, Statement)
    assert isinstance(c, Statement)
    assert (b.damaged, isinstance(b.value, Damaged)) == (True, True)
    assert (c.damaged, c.value) == (False, Integer(2, c.span))
    assert not syntax.poisoned


def test_a_dropped_statement_poisons_its_name_and_marks_its_block() -> None:
    syntax, diagnostics = parse(
        Source("t", "set s {\n  a = 1\n  turn b = = 2 {\n    c {\n    }\n  }\n  d = 4\n}\ne")
    )
    assert len(diagnostics) == 1
    assert syntax.poisoned == {"b"}
    first, last = syntax.statements
    assert isinstance(first, Statement)
    assert isinstance(last, Statement)
    assert first.damaged
    assert first.body is not None
    assert [str(node.kind) for node in first.body if isinstance(node, Statement)] == ["a", "d"]
    assert not last.damaged


def test_damage_in_a_body_leaves_the_head_alone() -> None:
    syntax, _ = parse(Source("t", "a {\n  b = 5x\n}"))
    (node,) = syntax.statements
    assert isinstance(node, Statement)
    assert not node.damaged
    assert node.body is not None
    assert isinstance(node.body[0], Statement)
    assert node.body[0].damaged


def test_a_missing_type_is_none() -> None:
    syntax, _ = parse(Source("t", "param a: = 3\nparam b: list<> = 3"))
    for node in syntax.statements:
        assert isinstance(node, Statement)
        assert node.type is None
        assert node.damaged


@pytest.mark.parametrize("name", RECIPES)
def test_a_file_cut_short_names_the_blocks_that_are_open(name: str) -> None:
    text = RECIPES[name]
    for end in range(0, len(text), 97):
        diagnostics = parse(Source(name, text[:end]))[1]
        assert len(diagnostics) <= 2


def test_prose_where_a_statement_should_be() -> None:
    fault = only(
        "edition 1\n\nYou are a helpful assistant, who (mostly) answers\nquestions and never pads.\n\nx = 1"
    )
    assert fault.code == "E002"
