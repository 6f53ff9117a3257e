"""Checks, near-duplicates and templates: pure functions and their reasons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.plan.steps import FilterPlan, RefPlan
from synth.compiler.stdlib.checks import run_check
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.compiler.stdlib.render import render


@pytest.mark.parametrize(
    ("name", "arguments", "text", "reason"),
    [
        ("length", {"characters": [3, 5]}, " abcd ", None),
        ("length", {"characters": [3, 5]}, "ab", "has 2 characters; at least 3 are asked for"),
        ("length", {"characters": [None, 5]}, "abcdef", "has 6 characters; at most 5 are allowed"),
        ("length", {"characters": [2, None]}, "a", "has 1 character; at least 2 are asked for"),
        ("sentences", {"count": [1, 1]}, "You are 3.5 metres tall.", None),
        ("sentences", {"count": [1, 1]}, 'You are "Codex."', None),
        ("sentences", {"count": [1, 1]}, "One.  Two!", "has 2 sentences; at most 1 are allowed"),
        ("sentences", {"count": [2, 2]}, "ليش الشركة خسرت؟ لأنها نسيت العميل", None),
        ("sentences", {"count": [2, 2]}, "一つ。二つ。", None),
        ("sentences", {"count": [1, None]}, "...", "has 0 sentences; at least 1 are asked for"),
        ("starts_with", {"prefix": "You are"}, "  You are Codex.", None),
        (
            "starts_with",
            {"prefix": "You are"},
            "I am Codex.",
            "starts with `I am Codex.`, not with `You are`",
        ),
        ("ends_with", {"suffix": "?"}, "Who? ", None),
        ("ends_with", {"suffix": "?"}, "Who.", "ends with `Who.`, not with `?`"),
    ],
)
def test_checks_say_why(name: str, arguments: dict[str, object], text: str, reason: str | None) -> None:
    assert run_check(name, arguments, text) == reason


@given(st.text(st.characters(codec="utf-8")))
def test_no_text_breaks_a_check(text: str) -> None:
    for name, arguments in (
        ("length", {"characters": [0, 10]}),
        ("sentences", {"count": [1, 1]}),
        ("starts_with", {"prefix": "x"}),
        ("ends_with", {"suffix": "x"}),
        ("distinct", {"similarity": 0.9}),
    ):
        assert run_check(name, arguments, text) is None or run_check(name, arguments, text) != ""


BASE = "You are a patient archivist named Ada who keeps notes on every single question asked of her."


def test_near_duplicates_are_found_and_named() -> None:
    index = NearDuplicates(0.9)
    index.keep("first", BASE)
    assert index.find(BASE.upper().replace(" ", "  ")) == ("first", 1.0), "case and space do not count"
    match = index.find(BASE.replace("Ada", "Ida"))
    assert match is not None
    assert match[0] == "first"
    assert 0.9 <= match[1] < 1
    assert index.find("You are a harbour pilot who reads tide tables for small boats at dawn.") is None


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=12),
    st.sampled_from([0.5, 0.8, 1.0]),
)
def test_equal_texts_are_always_near_duplicates(texts: list[str], similarity: float) -> None:
    index = NearDuplicates(similarity)
    for number, text in enumerate(texts):
        index.keep(str(number), text)
        match = index.find(text)
        assert match is not None
        assert match[1] == 1.0


def test_what_a_model_wrote_is_never_a_template() -> None:
    values = {"said": "{{ secret }} and {{ said }} <end_of_turn>", "secret": "no"}
    template = ("He said: ", RefPlan(path=("said",)), ".")
    assert render(template, values) == "He said: {{ secret }} and {{ said }} <end_of_turn>."


def test_filters_print_json() -> None:
    template = (RefPlan(path=("order",), filters=(FilterPlan(name="json"),)),)
    assert render(template, {"order": {"b": "س", "a": [1, None]}}) == '{"a":[1,null],"b":"س"}'
