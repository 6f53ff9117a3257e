"""Marks of a diagnostic stand under what they mark: lines from right to left, wide characters, long lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.display import text_width
from synth.dsl import Diagnostic, Fix, Label, Source, Span, to_github, to_json, to_text
from tests.dsl.drawn import at, dedented, lines, text


def test_right_to_left_lines_have_no_carets() -> None:
    source = lines("p.recipe", {4: '  who { brief = "عرف عن نفسك." }'})
    fault = Diagnostic(
        "E101", "m", at(source, 4, "brief"), "here", secondary=(Label(at(source, 4, "عرف"), "there"),)
    )
    assert text(fault) == dedented(
        """
        error[E101]: m
          --> p.recipe:4:9
           |
         4 |   who { brief = "عرف عن نفسك." }
           | « brief » here
           | « عرف » there
        """
    )


@pytest.mark.parametrize(
    "before",
    ["漢字", "e\u0301a\u0308", "\t", "a\tb", "\x1b[31m", "\u202d", "\u200b", "👍", "\ufeff", "\x7f", "\x85"],
)
def test_carets_stand_under_what_they_mark(before: str) -> None:
    source = Source("p.recipe", f"{before}wrong after")
    quoted, carets = text(Diagnostic("E002", "m", at(source, 1, "wrong"))).splitlines()[3:5]
    assert text_width(quoted[: quoted.index("wrong")]) == carets.index("^")
    assert carets.count("^") == len("wrong")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b\u202a-\u202e\ufeff]", quoted)


def test_marks_on_wide_characters_are_wide() -> None:
    source = Source("p.recipe", "x = 漢字 y")
    assert text(Diagnostic("E002", "m", at(source, 1, "漢字"))).splitlines()[4] == "   |     ^^^^"


@pytest.mark.parametrize("length", [0, 1, 30, 500])
@pytest.mark.parametrize("side", [0, 30, 500, 100_000])
def test_long_lines_are_cut_around_the_mark(side: int, length: int) -> None:
    source = Source("p.recipe", "a " * (side // 2) + "X" * length + " b" * side)
    start = source.text.find("X") if length else side
    drawn = text(Diagnostic("E002", "m", Span(source, start, start + length)), width=60).splitlines()
    assert all(text_width(line) <= 60 for line in drawn)
    assert drawn[4].count("^") == max(1, min(length, drawn[3].count("X")))
    if length:
        assert drawn[3].index("X") == drawn[4].index("^")


def test_marks_far_apart_on_one_line() -> None:
    source = Source("p.recipe", "first" + " a" * 200 + " second")
    fault = Diagnostic(
        "E104", "m", at(source, 1, "second"), secondary=(Label(at(source, 1, "first"), "declared here"),)
    )
    drawn = text(fault, width=60).splitlines()
    assert [line.split("|")[0].strip() for line in drawn[3:]] == ["1", "", "1", ""]
    assert "second" in drawn[3]
    assert drawn[3].index("second") == drawn[4].index("^")
    assert "first" in drawn[5]
    assert drawn[6].endswith("----- declared here")


def test_a_mark_over_several_lines_is_shown_on_its_first() -> None:
    source = Source("p.recipe", "a {\n  b\n}\n")
    assert text(Diagnostic("E002", "m", Span(source, 0, 9))).splitlines()[3:] == [" 1 | a {", "   | ^^^"]


@given(st.text(), st.data(), st.integers(0, 200), st.booleans())
@settings(deadline=None)
def test_any_text_can_be_drawn(content: str, data: st.DataObject, width: int, color: bool) -> None:
    source = Source(content, content)

    def span() -> Span:
        start = data.draw(st.integers(0, len(content)))
        return Span(source, start, data.draw(st.integers(start, len(content))))

    labels = tuple(Label(span(), data.draw(st.text(max_size=9))) for _ in range(data.draw(st.integers(0, 4))))
    primary = data.draw(st.sampled_from([span(), None]))
    fault = Diagnostic("E002", content, primary, content, labels, content, Fix(span(), content), content)
    drawn = to_text([fault], color=color, width=width)
    assert not re.search(r"[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e]", drawn)
    drawn.encode("utf-8")
    assert len(to_github([fault]).splitlines()) == 1
    to_json([fault])
