"""No text breaks a check, and none takes more than time in proportion to its length.

Proportion is not measured by a clock: what happens in Python is counted, and what happens in
compiled code is given a megabyte of what made naive patterns quadratic, which would never end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.stdlib.checks import CHECKS, run_check
from synth.compiler.stdlib.checks.evidence import _held
from synth.compiler.stdlib.checks.fold import fold
from tests.checks.arguments import ARGUMENTS

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)
nasty = st.text(
    "\x00\ud800\udfff\u202e\u200d\ufe0f\u20e3`{}[]\"\\!?.,'-\n\t 1٣aAاأَـ😀🇸字ก{{<end_of_turn>", max_size=60
)


def test_all_checks_are_tried_here() -> None:
    assert ARGUMENTS.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
@given(text=anything | nasty)
def test_no_text_breaks_a_check(name: str, text: str) -> None:
    for value in (
        text,
        [{"role": "user", "content": text}, {"role": text, "content": text, "thought": text}],
    ):
        reason = run_check(name, ARGUMENTS[name], value)
        assert reason is None or (reason and not reason.endswith(".") and "\n" not in reason)


@given(anything | nasty)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


SIZE = 1_000_000
LINES: dict[str, Callable[[int], str]] = {
    "one letter": lambda size: "a" * size,
    "one word": lambda size: "مساعد" * (size // 5),
    "words": lambda size: "as an as an " * (size // 12),
    "stops before a letter": lambda size: "." * size + "x",
    "stops of all kinds": lambda size: "?!。" * (size // 3) + "x",
    "closing brackets": lambda size: "." + ")" * size + "x",
    "punctuation": lambda size: "! " * (size // 2) + "ai",
    "a phrase and punctuation": lambda size: "as an" + "!" * size + "ai as an AI2",
    "particles": lambda size: "و" * size + " مساعد2",
    "marks": lambda size: "م" + "\u064e" * size,
    "invisible": lambda size: "\u200b\ufe0f\u200d" * (size // 3),
    "many kinds of invisible": lambda size: "".join(chr(0xE0100 + at % 240) for at in range(size)),
    "digits": lambda size: "1" * size,
    "numbers": lambda size: "1." * (size // 2),
    "flags": lambda size: "\U0001f1f8" * size,
    "joined": lambda size: "☺\u200d" * (size // 2),
    "ideographs": lambda size: "字" * size,
    "Thai": lambda size: "กา" * (size // 2),
    "brackets": lambda size: "[" * size,
    "half characters": lambda size: "\ud800" * size,
    "line ends": lambda size: "\n" * size + "(1",
    "spaces": lambda size: " " * size + "x" + " " * size,
}


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_megabyte_is_judged(line: Callable[[int], str]) -> None:
    text = line(SIZE)
    for name, arguments in ARGUMENTS.items():
        run_check(name, arguments, text)
        run_check(name, arguments, [{"role": "user", "content": text}])


def events(work: Callable[[], object]) -> int:
    """How many lines of Python and calls of functions some work takes."""
    count = 0

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return local

    before = sys.gettrace()
    sys.settrace(local)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("kind", ["words", "numbers", "punctuation", "ideographs", "particles"])
def test_twice_the_text_is_at_most_twice_the_work(name: str, kind: str) -> None:
    def judged(size: int) -> int:
        text = LINES[kind](size)
        fold.cache_clear()
        _held.cache_clear()
        return events(lambda: run_check(name, ARGUMENTS[name], text))

    judged(100)
    once, twice = judged(2_000), judged(4_000)
    assert twice <= 2 * once + 50
