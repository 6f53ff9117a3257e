"""The shapes that conversations come in, and the one form that all of them have in the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.helpers import (
    Messages,
    ingest,
    plan_for,
    read_back,
    turns,
    write_csv,
    write_lines,
    write_parquet,
)

ASKED = turns("Who are you?", "Codex.")
WITH_SYSTEM = [{"role": "system", "content": "Be brief."}, *ASKED]

SHAPES: dict[str, tuple[dict[str, Any], Messages]] = {
    "messages": (
        {"messages": turns("Who are you?", "Codex.", roles=("user", "assistant"))},
        ASKED,
    ),
    "sharegpt": (
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "Who are you?"},
                {"from": "gpt", "value": "Codex."},
            ]
        },
        WITH_SYSTEM,
    ),
    "sharegpt with a system column": (
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "human", "value": "Who are you?"},
                {"from": "gpt", "value": "Codex."},
            ],
        },
        WITH_SYSTEM,
    ),
    "alpaca": (
        {"instruction": "Translate.", "input": "Kucing", "output": "Cat"},
        turns("Translate.\n\nKucing", "Cat"),
    ),
    "alpaca without input": (
        {"instruction": "Who are you?", "input": "", "output": "Codex.", "system": "Be brief."},
        WITH_SYSTEM,
    ),
    "alpaca with input alone": ({"instruction": "", "input": "Who are you?", "output": "Codex."}, ASKED),
    "prompt and completion": ({"prompt": "Who are you?", "completion": "Codex."}, ASKED),
    "prompt and completion as messages": (
        {
            "prompt": turns("Hi", "Hello", "Who are you?", roles=("user", "assistant")),
            "completion": [{"role": "assistant", "content": "Codex."}],
        },
        [
            {"role": "user", "content": "Hi"},
            {"role": "model", "content": "Hello", "weight": 0},
            {"role": "user", "content": "Who are you?"},
            {"role": "model", "content": "Codex."},
        ],
    ),
    "prompt and response": ({"prompt": "Who are you?", "response": "Codex.", "id": 7}, ASKED),
    "question and answer": ({"question": "Who are you?", "answer": "Codex.", "system": None}, ASKED),
    "several shapes, of which the first counts": (
        {"prompt": "x", "completion": "y", "messages": ASKED, "question": "z"},
        ASKED,
    ),
    "a null where another shape has its text": (
        {"messages": None, "prompt": "Who are you?", "response": "Codex."},
        ASKED,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_comes_to_the_normal_form(name: str, tmp_path: Path) -> None:
    row, expected = SHAPES[name]
    write_lines(tmp_path / "chat.jsonl", [row, row])
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [expected, expected]


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"messages": ASKED}, "messages"),
        ({"conversations": ASKED}, "sharegpt"),
        ({"instruction": "a", "output": "b"}, "alpaca"),
        ({"prompt": "a", "completion": "b"}, "prompt_completion"),
        ({"prompt": "a", "response": "b"}, "prompt_response"),
        ({"question": "a", "answer": "b"}, "question_answer"),
    ],
)
def test_the_shape_is_told(row: dict[str, Any], shape: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [row])
    found = ingest(plan_for(tmp_path, 'jsonl("chat.jsonl")'), tmp_path / "log.duckdb")
    assert found["natural"].shape == shape


@pytest.mark.parametrize(
    ("written", "role"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("Human", "user"),
        ("model", "model"),
        ("assistant", "model"),
        ("gpt", "model"),
        (" chatGPT ", "model"),
        ("bot", "model"),
        ("chatbot", "model"),
        ("AI", "model"),
    ],
)
def test_roles_by_their_many_names(written: str, role: str, tmp_path: Path) -> None:
    messages = [{"role": written, "content": "x"}, {"from": "gpt", "value": "y"}]
    write_lines(tmp_path / "chat.jsonl", [{"messages": messages}])
    expected = [{"role": role, "content": "x"}, {"role": "model", "content": "y"}]
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [expected]


def test_what_a_message_says_of_itself_is_kept(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": " "},
        {"role": "user", "content": "a", "weight": 0, "thought": None, "name": "Sami"},
        {"role": "model", "content": "b", "weight": 1.0, "thought": "Be kind."},
        {"role": "model", "content": "c", "weight": None, "thought": "", "tool_calls": []},
    ]
    write_lines(tmp_path / "chat.jsonl", [{"messages": messages}])
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [
        [
            {"role": "user", "content": "a", "weight": 0},
            {"role": "model", "content": "b", "weight": 1, "thought": "Be kind."},
            {"role": "model", "content": "c"},
        ]
    ]


def test_content_in_parts_is_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Who "}, {"type": "text", "text": "are you?"}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "Codex."}]}
    write_lines(tmp_path / "chat.jsonl", [row])
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [ASKED]


def test_columns_that_the_reader_names(tmp_path: Path) -> None:
    rows = [{"q": "Who are you?", "a": "Codex.", "messages": "not these", "system": "nor this"}]
    write_lines(tmp_path / "chat.jsonl", rows)
    assert read_back(tmp_path, 'jsonl("chat.jsonl", prompt = "q", response = "a")') == [ASKED]
    write_csv(tmp_path / "chat.csv", ["n", "a", "q"], [["1", "Codex.", "Who are you?"]])
    assert read_back(tmp_path, 'csv("chat.csv", prompt = "q", response = "a")') == [ASKED]
    write_lines(tmp_path / "turns.jsonl", [{"turns": ASKED, "prompt": "x", "response": "y"}])
    assert read_back(tmp_path, 'jsonl("turns.jsonl", messages = "turns")') == [ASKED]
    types = "q VARCHAR, a VARCHAR, prompt VARCHAR"
    write_parquet(tmp_path / "chat.parquet", [{"q": "Who are you?", "a": "Codex.", "prompt": "x"}], types)
    assert read_back(tmp_path, 'parquet("chat.parquet", prompt = "q", response = "a")') == [ASKED]


def test_a_list_as_the_text_of_a_cell(tmp_path: Path) -> None:
    write_csv(tmp_path / "chat.csv", ["messages"], [[json.dumps(ASKED)]])
    assert read_back(tmp_path, 'csv("chat.csv")') == [ASKED]


def test_a_text_that_looks_like_a_list_is_text_in_a_prompt(tmp_path: Path) -> None:
    write_csv(tmp_path / "chat.csv", ["prompt", "response"], [["[1, 2]", '{"a": 1}']])
    assert read_back(tmp_path, 'csv("chat.csv")') == [turns("[1, 2]", '{"a": 1}')]


def test_a_list_of_objects_as_an_object_of_lists(tmp_path: Path) -> None:
    row = {"conversations": {"from": ["human", "gpt"], "value": ["Who are you?", "Codex."]}}
    write_lines(tmp_path / "chat.jsonl", [row])
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [ASKED]


def test_what_is_exported_can_be_read_again(tmp_path: Path) -> None:
    """The columns and weights that `synth materialize` writes."""
    prompt = [{"role": "user", "content": "Who are you?", "weight": 0}]
    completion = [{"role": "assistant", "content": "Codex.", "weight": 1}]
    write_lines(tmp_path / "train.jsonl", [{"id": "00ff", "prompt": prompt, "completion": completion}])
    assert read_back(tmp_path, 'jsonl("train.jsonl")') == [
        [
            {"role": "user", "content": "Who are you?", "weight": 0},
            {"role": "model", "content": "Codex.", "weight": 1},
        ]
    ]
