"""Did you mean."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.suggest import distance, suggest

KINDS = ["turn", "step", "draw", "let", "check", "source", "set", "schema", "mix", "export", "conversation"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("trun", "turn"),
        ("tur", "turn"),
        ("turnn", "turn"),
        ("conversaton", "conversation"),
        ("convrsaton", "conversation"),
        ("shcema", "schema"),
        ("sets", "set"),
        ("xyz", None),
        ("turn", None),
        ("x", None),
        ("", None),
        ("a" * 500, None),
    ],
)
def test_kinds(word: str, meant: str | None) -> None:
    assert suggest(word, KINDS) == meant


def test_the_order_of_the_names_does_not_matter() -> None:
    assert suggest("nams", ["name", "namt"]) == suggest("nams", ["namt", "name"]) == "name"
    assert suggest("ask", ["task", "asks"]) == suggest("ask", ["asks", "task"]) == "asks"


WORDS = st.text("abc", min_size=1, max_size=8)


@given(WORDS, WORDS, WORDS)
@settings(deadline=None)
def test_distance_counts_edits(a: str, b: str, c: str) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))
    assert distance(a + c, b + c) <= distance(a, b)


@given(WORDS, st.lists(WORDS))
@settings(deadline=None)
def test_suggestions_are_legal_and_near(word: str, legal: list[str]) -> None:
    guess = suggest(word, legal)
    if guess is not None:
        assert guess in legal
        assert 0 < distance(word, guess) <= max(1, len(word) // 3)
        assert guess == suggest(word, reversed(legal))
