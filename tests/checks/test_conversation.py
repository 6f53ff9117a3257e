"""Checks of conversations, and checks of texts at each of their messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.stdlib.checks import CHECKS, run_check
from synth.compiler.stdlib.running import RUNNING

ROLES = {"u": "user", "m": "model", "a": "assistant", "s": "system", "x": "tool"}


def talk(roles: str, content: str = "Fine.", **fields: Any) -> list[dict[str, Any]]:
    return [{"role": ROLES[role], "content": content, **fields} for role in roles]


ALTERNATES = {"first": "user", "second": "model"}


@pytest.mark.parametrize(
    ("name", "arguments", "roles", "reason"),
    [
        ("turns", {"count": [2, 4]}, "um", None),
        ("turns", {"count": [2, 2]}, "sum", None),
        ("turns", {"count": [2, 4]}, "u", "has 1 turn; at least 2 are asked for"),
        ("turns", {"count": [None, 1]}, "um", "has 2 turns; at most 1 are allowed"),
        ("turns", {"count": [1, None]}, "", "has 0 turns; at least 1 are asked for"),
        ("alternates", ALTERNATES, "um", None),
        ("alternates", ALTERNATES, "umu", None),
        ("alternates", ALTERNATES, "uaum", None),
        ("alternates", ALTERNATES, "ssum", None),
        ("alternates", ALTERNATES, "", "has no message"),
        ("alternates", ALTERNATES, "s", "has no message"),
        ("alternates", ALTERNATES, "mu", "message 1 (model) stands where one of the user is due"),
        ("alternates", ALTERNATES, "suu", "message 3 (user) stands where one of the model is due"),
        ("alternates", ALTERNATES, "usm", "message 2 (system) stands where one of the model is due"),
        ("alternates", ALTERNATES, "umx", "message 3 (tool) stands where one of the user is due"),
        ("alternates", {"first": "model", "second": "user"}, "mu", None),
        ("ends_with", {"suffix": "model"}, "um", None),
        ("ends_with", {"suffix": "model"}, "ua", None),
        ("ends_with", {"suffix": "model"}, "umu", "ends with a message of the user, not of the model"),
        ("ends_with", {"suffix": "user"}, "", "has no message"),
        ("ends_with", {"suffix": "."}, "um", None),
        ("ends_with", {"suffix": "?"}, "um", "message 2 (model) ends with `Fine.`, not with `?`"),
        ("every", {"role": "model", "has": "content"}, "um", None),
        ("every", {"role": "model", "has": "content"}, "ua", None),
        ("every", {"role": "model", "has": "thought"}, "um", "message 2 (model) has no `thought`"),
        ("every", {"role": "model", "has": "thought"}, "uu", "has no message of the model"),
    ],
)
def test_a_conversation_is_checked_as_a_whole(
    name: str, arguments: Mapping[str, Any], roles: str, reason: str | None
) -> None:
    assert run_check(name, arguments, talk(roles)) == reason


@pytest.mark.parametrize("empty", [None, "", "  \n", [], {}])
def test_a_field_with_nothing_in_it_is_not_there(empty: object) -> None:
    arguments = {"role": "model", "has": "thought"}
    assert run_check("every", arguments, talk("um", thought="so")) is None
    assert run_check("every", arguments, talk("um", thought=empty)) is not None
    assert run_check("every", arguments, talk("um", thought=0)) is None, "a number is something"


@pytest.mark.parametrize(
    ("name", "arguments", "bad", "reason"),
    [
        ("no_words", {"words": ["AI"]}, "As an AI", "holds `AI`"),
        ("no_emoji", {}, "😀", "holds the emoji `😀`"),
        ("no_bidi_controls", {}, "\u202e", "holds U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("script", {"words": ["Latin"]}, "سلام", "holds the letter `س` (U+0633), which is not `Latin`"),
        ("language", {"words": ["en"]}, "أنا نسختك الرقمية", "is in the language `ar`, not in `en`"),
        (
            "max_repetition",
            {"ngram": 4, "share": 15},
            "no " * 20,
            "repeats 94% of its runs of 4 words; at most 15% are allowed",
        ),
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_every_message_is_looked_at_and_the_bad_one_named(
    name: str, arguments: Mapping[str, Any], bad: str, reason: str, at: int
) -> None:
    messages = talk("sua", "All is well with the bees and the garden.")
    assert run_check(name, arguments, messages) is None
    messages[at]["content"] = bad
    role = ("system", "user", "model")[at]
    assert run_check(name, arguments, messages) == f"message {at + 1} ({role}) {reason}"


def test_private_thoughts_are_not_looked_at() -> None:
    assert run_check("no_emoji", {}, talk("um", thought="😀")) is None


def test_evidence_is_asked_of_the_model_alone() -> None:
    evidence = {"evidence": [{"text": "The garden opens at dawn."}], "share": 60}
    messages = talk("um", "The garden opens at dawn.")
    messages[0]["content"] = "Could somebody 47 years old visit tomorrow?"
    assert run_check("supported_by", evidence, messages) is None
    messages[1]["content"] = "Visitors queue beside fountains."
    assert run_check("supported_by", evidence, messages) == (
        "message 2 (model) has 0% of its words from its evidence; at least 60% are asked for"
    )


def test_json_that_is_no_conversation_is_checked_as_its_text() -> None:
    assert run_check("no_words", {"words": ["unknown"]}, {"target": "unknown"}) == "holds `unknown`"
    assert run_check("no_emoji", {}, ["😀"]) == "holds the emoji `😀`"
    assert run_check("turns", {"count": [1, 2]}, {"role": "user", "content": "x"}) == "is no conversation"
    assert run_check("turns", {"count": [1, 2]}, "user: x") == "is no conversation"


def test_content_that_is_no_text_is_read_as_its_json() -> None:
    messages = [{"role": "user", "content": None}, {"role": "model", "content": {"say": "😀"}}]
    assert run_check("no_emoji", {}, messages) == "message 2 (model) holds the emoji `😀`"


def test_checks_over_many_samples_pass_here() -> None:
    assert run_check("distinct", {"similarity": 0.9}, talk("um")) is None


@given(st.text("umas", max_size=8))
def test_alternation_is_what_it_says(roles: str) -> None:
    said = roles.lstrip("s").replace("a", "m")
    expected = said != "" and said == ("um" * len(said))[: len(said)]
    assert (run_check("alternates", ALTERNATES, talk(roles)) is None) == expected


def test_every_check_has_what_judges_it() -> None:
    for check in CHECKS.values():
        asked = any(each.name == "judge" and not each.optional for each in check.parameters)
        assert (check.function is None) == (check.many or asked or check.name in RUNNING)
