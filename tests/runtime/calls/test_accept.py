"""Verdicts on answers: text and JSON, with reasons."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import CheckPlan, JsonOutput, StepPlan
from synth.runtime.calls.rules import FIRST
from synth.runtime.calls.validate import Accepted, Rejected, validate

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"action": {"type": "string", "minLength": 1}, "query": {"type": "string"}},
    "required": ["action"],
    "additionalProperties": False,
}
COMMAND = StepPlan(name="s", model="m", output=JsonOutput(schema_=SCHEMA))
TEXT = StepPlan(name="s", model="m", checks=(CheckPlan(name="length", arguments={"characters": [1, 5]}),))
KEPT = TEXT.model_copy(update={"on_length": "keep", "sampling": Sampling(max_tokens=2)})


def test_text_that_was_cut_is_refused_unless_it_is_to_be_kept() -> None:
    hint = "or keep such answers with `on_length = keep`"
    assert validate(TEXT, "cut", "length") == Rejected(
        "complete", f"was cut off at the model's own limit of tokens: ask for less, {hint}"
    )
    limited = TEXT.model_copy(update={"sampling": Sampling(max_tokens=2)})
    assert validate(limited, "cut", "length") == Rejected(
        "complete", f"was cut off at max_tokens = 2: raise it, {hint}"
    )
    assert validate(KEPT, "cut", "length") == Accepted("cut")
    assert validate(TEXT, "cut", "length", rules=FIRST) == Accepted("cut")
    refused = validate(KEPT, "", "length", thought="hm")
    assert refused == Rejected("thinking", "is nothing but thinking, cut off at max_tokens = 2")
    assert validate(TEXT, " ", "stop", thought="hm") == Rejected(
        "thinking", "is nothing but thinking: no answer follows it"
    )


def test_text_is_taken_without_the_space_around_it() -> None:
    assert validate(TEXT, "  ok\n", "stop") == Accepted("ok")
    assert validate(TEXT, " \n ", "stop") == Rejected("not_empty", "the answer is empty")
    assert validate(TEXT, "too long", "stop") == Rejected("length", "has 8 characters; at most 5 are allowed")


@pytest.mark.parametrize(
    ("text", "check", "reason"),
    [
        ('{"action": "x"} and so on', "json_valid", "has text after its JSON, at character 17"),
        ('```json\n{"action": "x"}\n```', "json_valid", "is fenced in ```"),
        ('{"action": "x", "action": "y"}', "json_valid", "has the key `action` twice"),
        ('{"action": "x"', "json_valid", "is not JSON"),
        ('{"action": NaN}', "json_valid", "holds NaN"),
        ("[" * 100_000, "json_valid", "nested too deeply"),
        ('{"action": ""}', "schema", "does not fit its schema at `.action`"),
        ('{"query": "x"}', "schema", "'action' is a required property"),
        ('{"action": "x", "more": 1}', "schema", "does not fit its schema"),
    ],
)
def test_json_is_refused_with_a_reason(text: str, check: str, reason: str) -> None:
    verdict = validate(COMMAND, text, "stop")
    assert isinstance(verdict, Rejected)
    assert verdict.check == check
    assert reason in verdict.reason
    assert len(verdict.reason) < 400


def test_json_that_was_cut_is_never_trusted() -> None:
    assert validate(COMMAND, '{"action": "x"}', "length") == Rejected(
        "complete", "was cut off at max_tokens, so its JSON cannot be trusted"
    )


@given(st.text())
def test_no_answer_breaks_the_judge(text: str) -> None:
    assert isinstance(validate(COMMAND, text, "stop"), Accepted | Rejected)
