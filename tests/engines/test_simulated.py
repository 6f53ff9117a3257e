"""Simulations: answers fit what is asked of them, in words and in JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import CheckPlan, RefPlan
from synth.compiler.stdlib.checks import group_of, run_check
from synth.runtime.engines.base import Call, EngineSpec
from synth.runtime.engines.simulated.engine import SimulatedEngine

CALLS = 40
TRANSCRIPT: dict[str, Any] = {
    "type": "array",
    "minItems": 2,
    "maxItems": 6,
    "items": {
        "type": "object",
        "properties": {
            "role": {"type": "string", "enum": ["user", "model"]},
            "thought": {"type": "string"},
            "content": {"type": "string", "minLength": 1, "maxLength": 3000},
        },
        "required": ["role", "content"],
        "additionalProperties": False,
    },
}
COMMAND: dict[str, Any] = {
    "type": "object",
    "properties": {"action": {"type": "string", "maxLength": 60}, "target": {"type": "string"}},
    "required": ["action", "target"],
    "additionalProperties": False,
}


def check(name: str, label: str = "", **arguments: Any) -> CheckPlan:
    return CheckPlan(name=name, arguments=arguments, label=label)


PLAIN = (
    check("length", "plain.length", characters=[1, 1200]),
    check("no_words", "plain.no_words", words=["As an AI", "certainly!", "سؤال رائع"]),
    check("no_emoji", "plain.no_emoji"),
    check("max_repetition", "plain.max_repetition", ngram=4, share=15),
)
DIALOGUE = (
    check("alternates", first="user", second="model"),
    check("ends_with", suffix="model"),
    check("every", role="model", has="thought"),
)


def answers(
    checks: Sequence[CheckPlan] = (),
    must_fail: Sequence[CheckPlan] = (),
    schema: Mapping[str, Any] | None = None,
    calls: int = CALLS,
) -> list[Any]:
    """What a new engine answers to some calls of one step: texts, or values of JSON."""
    engine = SimulatedEngine(EngineSpec("base", "simulated", "x"))
    asked, spoiled = tuple(checks), tuple(must_fail)

    async def ask(number: int) -> Any:
        call = Call(f"key {number}", (), None, schema, Sampling(), number, 0, asked, spoiled)
        text = (await engine.generate(call)).text
        return text.strip() if schema is None else json.loads(text)

    async def ask_all() -> list[Any]:
        return [await ask(number) for number in range(calls)]

    return asyncio.run(ask_all())


def refused(value: Any, checks: Sequence[CheckPlan]) -> list[str]:
    reasons = (run_check(each.name, each.arguments, value) for each in checks)
    return [reason for reason in reasons if reason is not None]


@pytest.mark.parametrize(
    "checks",
    [
        PLAIN,
        (
            check("length", characters=[40, 400]),
            check("sentences", count=[1, 1]),
            check("starts_with", prefix="You are"),
        ),
        (check("length", characters=[8, 20]), check("ends_with", suffix="?")),
        (check("length", characters=[None, 5]),),
        (check("length", characters=[2000, None]), check("max_repetition", ngram=4, share=5)),
        (check("sentences", count=[3, 5]), check("script", words=["Arabic"])),
        (check("language", words=["ar"]), check("no_words", words=["باب", "قمر"])),
        (check("language", words=["ar", "en"]),),
        (check("language", words=["id"]),),
        (check("language", words=["fr"]), check("length", characters=[30, 60])),
        (check("script", words=["Cyrillic"]), check("no_bidi_controls")),
        (check("no_words", words=["amber", "anchor", "river", "stone"]),),
        (check("opens_with_any", words=["Yes", "نعم"]),),
        (check("json_valid"), check("length", characters=[20, 90])),
    ],
)
def test_a_text_passes_its_checks(checks: tuple[CheckPlan, ...]) -> None:
    for text in answers(checks):
        assert refused(text, checks) == []


@pytest.mark.parametrize(
    "checks",
    [
        DIALOGUE,
        (*DIALOGUE, check("turns", count=[4, 4]), check("language", words=["ar"])),
        (check("alternates", first="model", second="user"), check("ends_with", suffix="user")),
        (check("ends_with", suffix="!"), check("no_emoji")),
        (check("every", role="user", has="thought"), check("script", words=["Latin"])),
    ],
)
def test_a_conversation_passes_its_checks_and_fits_its_schema(checks: tuple[CheckPlan, ...]) -> None:
    for messages in answers(checks, schema=TRANSCRIPT):
        assert refused(messages, checks) == []
        assert 2 <= len(messages) <= 6
        assert all(
            {"role", "content"} <= message.keys() <= {"role", "content", "thought"} for message in messages
        )


def test_json_passes_checks_of_its_text() -> None:
    checks = (check("no_words", words=["amber", "stone"]), check("length", characters=[1, 90]))
    for value in answers(checks, schema=COMMAND):
        assert refused(json.dumps(value, ensure_ascii=False, separators=(",", ":")), checks) == []


FAILING = [
    *((each,) for each in PLAIN),
    PLAIN,
    (*PLAIN, check("no_words", "other.no_words", words=["assistant", "مساعد"])),
    (check("script", words=["Latin"]),),
    (check("script", words=["Arabic"]), check("no_bidi_controls")),
    (check("language", words=["en"]),),
    (check("sentences", count=[1, 3]),),
    (check("sentences", count=[2, None]),),
    (check("length", characters=[20, None]),),
    (check("ends_with", suffix="."),),
    (check("opens_with_any", words=["Yes"]),),
    (check("json_valid"),),
]


@pytest.mark.parametrize("checks", FAILING)
def test_a_text_that_has_to_fail_fails_each_named_check(checks: tuple[CheckPlan, ...]) -> None:
    groups = {group_of(each): [one for one in checks if group_of(one) == group_of(each)] for each in checks}
    for text in answers(must_fail=checks):
        assert all(refused(text, group) for group in groups.values()), text


def test_a_text_can_fail_some_checks_and_pass_others() -> None:
    passed = (check("length", characters=[1, 300]), check("sentences", count=[1, 4]))
    for text in answers(passed, PLAIN):
        assert refused(text, passed) == []
        assert refused(text, PLAIN) != []


@pytest.mark.parametrize("failing", [*DIALOGUE, check("turns", count=[2, 3]), PLAIN[1], PLAIN[2]])
def test_a_conversation_can_have_to_fail_and_still_fits_its_schema(failing: CheckPlan) -> None:
    for messages in answers(must_fail=(failing,), schema=TRANSCRIPT):
        assert refused(messages, (failing,)) != []
        assert 2 <= len(messages) <= 6


def test_checks_that_each_sample_has_for_itself_are_left_out() -> None:
    own = check("supported_by", evidence=RefPlan(path=("evidence",)), share=60)
    assert len(answers((own, check("length", characters=[1, 50])), (own,))) == CALLS


def test_answers_are_the_call_s_own_and_hardly_ever_alike() -> None:
    checks = (check("length", characters=[40, 200]), check("distinct", similarity=0.9))
    assert answers(checks) == answers(checks)
    assert len(set(answers(checks))) == CALLS


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(0, 300), st.integers(1, 4))
def test_lengths_and_sentences_are_kept_wherever_they_can_be(low: int, more: int, count: int) -> None:
    checks = (
        check("length", characters=[low, low + more + 40 * count]),
        check("sentences", count=[None, count]),
    )
    for text in answers(checks, calls=5):
        assert refused(text, checks) == []
