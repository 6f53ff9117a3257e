"""What a turn with tools is foreseen to cost: each tool called once, and at most as often as it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kit.support import synth
from tests.tools.recipes import WIKI, plan_of, written

_TOOLS = "[lookup(order = order), wiki]"


def _compiled(folder: Path, more: str = "", after: str = "") -> dict[str, Any]:
    plan_of(folder, written(_TOOLS, WIKI, more, after=after))
    result = synth("compile", "r.recipe", "--json", cwd=folder)
    assert result.status == 0, result.err
    found: dict[str, Any] = result.json()
    return found


@pytest.mark.parametrize(
    ("more", "calls", "most"),
    [
        # Four samples: each tool once and then what is said, nine at most.
        ("", {"reply": 12, "reply.wiki": 4}, {"reply": 36, "reply.wiki": 32}),
        (", max_tool_calls = 1", {"reply": 8, "reply.wiki": 0}, {"reply": 8, "reply.wiki": 4}),
        (
            ", max_tool_calls = 2, candidates = 2, retry = 1, check { length(1..90) }",
            {"reply": 24, "reply.wiki": 8},
            {"reply": 48, "reply.wiki": 32},
        ),
    ],
)
def test_calls_are_counted(tmp_path: Path, more: str, calls: dict[str, int], most: dict[str, int]) -> None:
    found = {each["step"]: each for each in _compiled(tmp_path, more)["steps"]}
    assert {name: each["calls"] for name, each in found.items()} == calls
    assert {name: each["most_calls"] for name, each in found.items()} == most


def test_a_later_turn_is_shown_what_was_called_and_the_user_is_not(tmp_path: Path) -> None:
    after = """  turn more: user by world { sees = transcript, prompt = "You are the customer." }
  turn last: model by world { sees = transcript }
"""
    found = {each["step"]: each for each in _compiled(tmp_path, after=after)["steps"]}
    assert found["last"]["prompt_tokens"] > found["more"]["prompt_tokens"] * 1.2


def test_a_line_says_what_may_be_called(tmp_path: Path) -> None:
    plan_of(tmp_path, written(_TOOLS, WIKI))
    said = synth("compile", "r.recipe", cwd=tmp_path).out
    assert (
        "  reply: may call lookup and wiki (played by world), 8 calls at most, and is taken to call each once"
        in said.splitlines()
    )
