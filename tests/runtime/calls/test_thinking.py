"""Thinking apart from what is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.runtime.engines.thinking import joined, parts_of, reasoning_of, split


@pytest.mark.parametrize(
    ("text", "said", "thought"),
    [
        ("<think>\nhm\n</think>\n\nFour.", "Four.", "hm"),
        ("  <think>hm</think>Four.", "Four.", "hm"),
        ("<THINK>hm</Think> Four.", "Four.", "hm"),
        ("<thinking>hm</thinking>\nFour.", "Four.", "hm"),
        ("<thought>hm</thought>\nFour.", "Four.", "hm"),
        ("<reasoning>hm</reasoning>Four.", "Four.", "hm"),
        ("<seed:think>hm</seed:think>Four.", "Four.", "hm"),
        ("[THINK]hm[/THINK]Four.", "Four.", "hm"),
        ("◁think▷hm◁/think▷Four.", "Four.", "hm"),
        ("<|begin_of_thought|>hm<|end_of_thought|>Four.", "Four.", "hm"),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Four.",
            "Four.",
            "hm",
        ),
        ("<|channel|>final<|message|>Four.<|return|>", "Four.", None),
        # Nobody thought.
        ("Four.<|end|>", "Four.<|end|>", None),
        ("[Think] of it: four.", "[Think] of it: four.", None),
        ("It is r'<think>(.*?)</think>' and works.", "It is r'<think>(.*?)</think>' and works.", None),
        ('<think>hm</think>{"a": "<think>x</think>"}', '{"a": "<think>x</think>"}', "hm"),
        ("<|START_THINKING|>hm<|END_THINKING|>Four.", "Four.", "hm"),
        (
            "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Four.<|END_RESPONSE|>",
            "Four.",
            "hm",
        ),
        ("<|START_RESPONSE|>Four.<|END_RESPONSE|>", "Four.", None),
        ("<unused94>thought\nhm<unused95>Four.", "Four.", "hm"),
        ("<|inner_prefix|>hm<|inner_suffix|>Four.", "Four.", "hm"),
        ("<|channel>thought\nhm<channel|>Four.", "Four.", "hm"),
        ("hm<|inner_suffix|>\n\nFour.", "Four.", "hm"),
        ("<|START_THINKING|>hm, let me", "", "hm, let me"),
        ("<think>\n\n</think>\n\nFour.", "Four.", None),
        ("<think>a</think>\n<think>b</think>\nFour.", "Four.", "a\n\nb"),
        # The opening tag was the template's.
        ("hm\nstill\n</think>\n\nFour.", "Four.", "hm\nstill"),
        ("It is 4.</think>Four.", "Four.", "It is 4."),
        ("It is 4. </think> Four.", "Four.", "It is 4."),
        ("hm </think>\n\nFour.", "Four.", "hm"),
        ("hm\n</think>", "", "hm"),
        # Cut in the middle.
        ("<think>hm, let me", "", "hm, let me"),
        ("<think>", "", None),
        # Where nobody sees what goes before it, or something is said first.
        ("\ufeff<think>hm</think>Four.", "Four.", "hm"),
        ("\u200b<think>hm</think>Four.", "Four.", "hm"),
        ("Okay!\n<think>\nhm\n</think>\n\nFour.", "Okay!\n\n\nFour.", "hm"),
        ("First. <think>hm</think> Four.", "First.  Four.", "hm"),
        ("Four.\n<think>hm, let me", "Four.", "hm, let me"),
        # Thinking that speaks of its own tags.
        ("<think>Of `</think>` tags.</think>It ends it.", "It ends it.", "Of `</think>` tags."),
        ("<think>\nan <think>inner</think> one\n</think>\nFour.", "Four.", "an <think>inner\n\none"),
        ("<think>\n```\n</think>\n```\nso\n</think>\nFour.", "Four.", "```\n</think>\n```\nso"),
        ('<think>hm</think>{"a": "</think>"}', '{"a": "</think>"}', "hm"),
    ],
)
def test_thinking_is_split_off(text: str, said: str, thought: str | None) -> None:
    assert split(text) == (said, thought)
    assert split(said) == (said, None)


@pytest.mark.parametrize(
    "text",
    [
        "Four.",
        "Models write `<think>` first and `</think>` when they are done.",
        "They write <think> first, and close it with </think> in the end.",
        'The tag "</think>" ends it.',
        "It ends with </think>",
        "Sure: <think>hm</think> is how it looks.",
        "An example:\n<think>\nhm\n</think>\nThat was it.",
        "An example:\n\n```\nhm\n</think>\n```\nThat was it.",
        "An example:\n\n    </think>\n\nThat was it.",
        '{"answer": "done.</think>Four."}',
        '["<think>hm</think>"]',
        "a < b and [1] and ◁",
        "<thinker>of things</thinker>",
        "Apertus writes <|inner_prefix|> first, and closes it with <|inner_suffix|> in the end.",
        "`<unused94>thought` and `<unused95>` are tokens of Gemma.",
    ],
)
def test_what_is_said_of_thinking_stays(text: str) -> None:
    assert split(text) == (text, None)


def test_answers_of_old_logs_are_split_by_what_was_known_then() -> None:
    text = "<|inner_prefix|>hm<|inner_suffix|><think>so</think>Four."
    assert split(text) == ("Four.", "hm\n\nso")
    assert split(text, first=True) == (text, None)
    assert split("<think>hm</think>Four.", first=True) == ("Four.", "hm")


_PIECES = st.sampled_from(
    [
        *("<think>", "</think>", "[THINK]", "[/THINK]", "<|START_RESPONSE|>", "<unused94>", "<unused95>"),
        *("\n", " ", "x", "`", '"', "```\n", "{", "}", "."),
    ]
)


@given(st.lists(_PIECES, max_size=14).map("".join))
def test_splitting_twice_is_splitting_once(text: str) -> None:
    said, _ = split(text)
    assert split(said) == (said, None)


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": " hm "},
        {"reasoning": "hm", "reasoning_content": None},
        {"thinking": "hm"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning": {"summary": [{"type": "summary_text", "text": "hm"}]}},
        {"reasoning": "", "thought": "hm"},
    ],
)
def test_reasoning_beside_a_message(message: dict[str, object]) -> None:
    assert reasoning_of(message) == "hm"
    assert reasoning_of({"content": "Four.", "reasoning": None}) is None


def test_parts_are_said_or_thought() -> None:
    said, thought, others = parts_of(
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "reasoning", "text": "so"},
            {"type": "redacted_thinking", "data": "Zm9v"},
            {"text": "also", "thought": True},
            {"type": "text", "text": "Fo"},
            {"text": "ur."},
            {"type": "image_url", "image_url": {}},
        ]
    )
    assert (said, thought, others) == ("Four.", "hm\n\nso\n\nalso", ["image_url"])


def test_one_thought_is_kept_once() -> None:
    assert joined("hm", None, " hm ", "so") == "hm\n\nso"
    assert joined(None, "") is None
