"""Texts: indentation, escapes and references."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.dsl import Source
from synth.dsl.syntax import Interpolation, Reference, Statement, Text
from tests.dsl.helpers import check_spans, clean, faults, marked, only

Q = '"""'


def text(written: str) -> Text:
    syntax = clean(f"x = {written}\n")
    (node,) = syntax.statements
    assert isinstance(node, Statement)
    assert isinstance(node.value, Text)
    check_spans(syntax)
    return node.value


def test_one_line() -> None:
    assert text('"a b"').parts == ("a b",)
    assert text('""').parts == ()
    assert text('""').plain == ""
    assert text('"a"').quotes == '"'


def test_escapes_in_one_line() -> None:
    assert text(r'"a\n\t\"\\\u{e9}\u{1F600}"').plain == 'a\n\t"\\é😀'


def test_no_escapes_in_blocks() -> None:
    assert text(f"{Q}\n  a\\n\\d\\\n  {Q}").plain == "a\\n\\d\\"


def test_common_indentation_is_removed() -> None:
    assert text(f"{Q}\n    one\n      two\n\n    three\n    {Q}").plain == "one\n  two\n\nthree"


def test_the_closing_line_counts_for_the_indentation() -> None:
    assert text(f"{Q}\n    one\n  {Q}").plain == "  one"
    assert text(f"{Q}\n  one\n    {Q}").plain == "one"


def test_tabs_and_blanks_have_only_in_common_what_is_alike() -> None:
    assert text(f"{Q}\n\t one\n\t\ttwo\n\t{Q}").plain == " one\n\ttwo"


def test_an_empty_block() -> None:
    assert text(f"{Q}\n{Q}").parts == ()
    assert text(f"{Q}\n\n{Q}").parts == ()


def test_spaces_at_the_end_of_lines_are_kept() -> None:
    assert text(f"{Q}\n  one  \n   \n  two\n  {Q}").plain == "one  \n\ntwo"


def test_references() -> None:
    parts = text('"You are {{ craft.called }}, {{x|json}}."').parts
    assert [part for part in parts if isinstance(part, str)] == ["You are ", ", ", "."]
    first, second = (part for part in parts if isinstance(part, Interpolation))
    assert isinstance(first.value, Reference)
    assert str(first.value) == "craft.called"
    assert first.span.text == "{{ craft.called }}"
    assert first.value.span.text == "craft.called"
    assert [str(used.name) for used in second.filters] == ["json"]


def test_references_in_blocks_have_their_real_place() -> None:
    node = text(f'{Q}\n    one {{{{ a.b }}}}\n      two {{{{ c | join(", }}}}") }}}}\n    {Q}')
    first, second = (part for part in node.parts if isinstance(part, Interpolation))
    assert first.value.span.text == "a.b"
    (used,) = second.filters
    assert used.span.text == 'join(", }}")'
    (argument,) = used.arguments
    assert isinstance(argument.value, Text)
    assert argument.value.plain == ", }}"
    assert [part for part in node.parts if isinstance(part, str)] == ["one ", "\n  two "]


def test_single_braces_are_literal() -> None:
    assert text('"{a} }} {"').plain == "{a} }} {"
    assert text(f'{Q}\n{{"a": {{"b": 1}}}}\n{Q}').plain == '{"a": {"b": 1}}'


def test_a_third_brace_is_literal() -> None:
    before, reference, after = text('"{{{ a }}}"').parts
    assert (before, after) == ("{", "}")
    assert isinstance(reference, Interpolation)


def test_raw_blocks_have_no_references() -> None:
    node = text(f"r{Q}\n  {{{{ a }}}}\n  {Q}")
    assert node.plain == "{{ a }}"
    assert node.quotes == f"r{Q}"


def test_a_quoted_text_in_a_reference_is_literal() -> None:
    (part,) = text(f'{Q}\n{{{{ "{{{{ a }}}}" }}}}\n{Q}').parts
    assert isinstance(part, Interpolation)
    assert isinstance(part.value, Text)
    assert part.value.plain == "{{ a }}"


@pytest.mark.parametrize("word", ["by", "from", "in", "over"])
def test_words_are_names_in_references(word: str) -> None:
    (part,) = text(f'"{{{{ {word} }}}}"').parts
    assert isinstance(part, Interpolation)
    assert str(part.value) == word


@pytest.mark.parametrize(
    "inner", ["a b", "1x", "a.", ". a", "a |", "| a", "a + b", "f(", "[1", "a = 1", "{ a", "'a'", "a\u202e"]
)
def test_not_a_reference(inner: str) -> None:
    fault = only(f'x = "one {{{{ {inner} }}}} two"')
    assert fault.code in ("E004", "E005")
    assert marked(fault) == inner


@pytest.mark.parametrize("inner", ["", " ", "\t"])
def test_an_empty_reference(inner: str) -> None:
    fault = only(f'x = "{{{{{inner}}}}}"')
    assert fault.code == "E005"
    assert marked(fault) == f"{{{{{inner}}}}}"


def test_doubled_braces_of_other_languages() -> None:
    fault = only(f'x = {Q}\n  {{{{"a": 1}}}}\n  {Q}')
    assert fault.code == "E005"
    assert "single braces are literal" in fault.hint


@pytest.mark.parametrize("rest", ["", "}", " } } ", "\n{{ b }}"])
def test_a_reference_that_is_never_closed(rest: str) -> None:
    fault = only(f"x = {Q}\n  one {{{{ a{rest}\n  {Q}")
    assert (fault.code, fault.message) == ("E005", "`{{` is never closed")
    assert marked(fault) == "{{"
    assert 'r"""' in fault.hint


def test_a_damaged_reference_leaves_the_others() -> None:
    (fault,) = faults('x = "{{ a }} {{ b c }} {{ d }}"')
    assert marked(fault) == "b c"


@pytest.mark.parametrize(
    ("escape", "fix"), [(r"\d", r"\\d"), (r"\é", r"\\é"), (r"\u", r"\\u"), (r"\u{", r"\\u")]
)
def test_an_unknown_escape(escape: str, fix: str) -> None:
    fault = only(f'x = "C:{escape}"')
    assert fault.code == "E009"
    assert fault.fix is not None
    assert fault.fix.replacement == fix


@pytest.mark.parametrize("code", ["d800", "dfff", "110000"])
def test_a_character_that_is_none(code: str) -> None:
    fault = only(f'x = "\\u{{{code}}}"')
    assert fault.code == "E009"
    assert marked(fault) == f"\\u{{{code}}}"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r")))
@settings(deadline=None)
def test_any_text_can_be_written_in_one_line(content: str) -> None:
    written = "".join(f"\\u{{{ord(char):x}}}" if char in '{\n"\\' else char for char in content)
    assert text(f'"{written}"').plain == content


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters='\r\n"')), max_size=6))
@settings(deadline=None)
def test_any_lines_can_be_written_in_a_raw_block(lines: list[str]) -> None:
    block = "".join(f"  |{line}\n" for line in lines)
    assert text(f"r{Q}\n{block}  {Q}").plain == "\n".join(f"|{line}" for line in lines)


def test_a_source_is_not_part_of_equality() -> None:
    assert text('"a {{ b }}"') == text('   "a {{   b }}"')
    assert Source("a", "x") != Source("a", "x")
