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
    refusal,
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


def test_messages_in_the_cells_of_a_table_are_read(tmp_path: Path) -> None:
    def cell(*contents: str, roles: tuple[str, ...] = ("user", "assistant")) -> str:
        return json.dumps(turns(*contents, roles=roles))

    header = ("prompt", "completion", "system")
    texts = ("[1, 2] is what?", '[{"role": "user", "content": "a chat"}]', "")
    many = (cell("Hi", "Hello", "Who are you?"), cell("Codex.", roles=("assistant",)), "Be brief.")
    write_csv(tmp_path / "chat.csv", header, [many, texts])
    assert read_back(tmp_path, 'csv("chat.csv")') == [
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "model", "content": "Hello", "weight": 0},
            *ASKED,
        ],
        # An answer that is not the model's message is what the model says.
        turns(texts[0], texts[1]),
    ]
    named = ("question", "reply", "messages")
    write_csv(tmp_path / "chat.csv", named, [(cell("Who are you?"), "Codex.", "x")])
    assert read_back(tmp_path, 'csv("chat.csv", prompt = "question", response = "reply")') == [ASKED]
    # A file of objects has lists for messages, and a text there is a text.
    write_lines(tmp_path / "chat.jsonl", [{"prompt": cell("a"), "completion": "b"}])
    assert read_back(tmp_path, 'jsonl("chat.jsonl")') == [turns(cell("a"), "b")]


def test_messages_in_a_cell_that_are_no_json_are_refused(tmp_path: Path) -> None:
    written = ("[{'role': 'user', 'content': 'a'}]", "b")
    write_csv(tmp_path / "chat.csv", ("prompt", "completion"), [written])
    assert refusal(tmp_path, 'csv("chat.csv")') == (
        "chat.csv: 1 of 1 row has messages in `prompt` that are not JSON, line 2: "
        "write them as JSON, such as by `json.dumps`"
    )


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_answers_that_are_labelled_as_bad_are_not_taken_for_good(form: str, tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "completion": "b", "label": True},
        {"prompt": "a", "completion": "c", "label": False},
    ]
    path = tmp_path / f"kto.{form}"
    if form == "jsonl":
        write_lines(path, rows)
    elif form == "csv":
        write_csv(path, list(rows[0]), [[str(each) for each in row.values()] for row in rows])
    else:
        write_parquet(path, rows, "prompt VARCHAR, completion VARCHAR, label BOOLEAN")
    said = refusal(tmp_path, f'{form}("kto.{form}")')
    assert "1 of 2" in said
    place = {"jsonl": "line 2", "csv": "line 3", "parquet": "row 2"}[form]
    assert said.endswith(
        f"has an answer that is labelled as a bad one, {place} (its `label` is false): "
        "leave such rows out with `bad_rows = skip`"
    ), said
    skipping = f'{form}("kto.{form}") {{ bad_rows = skip }}'
    assert read_back(tmp_path, skipping) == [turns("a", "b")]


def test_a_label_that_is_a_class_is_only_not_read(tmp_path: Path) -> None:
    write_lines(tmp_path / "c.jsonl", [{"prompt": "a", "completion": "b", "label": 0}])
    found = ingest(plan_for(tmp_path, 'jsonl("c.jsonl")'), tmp_path / "log.duckdb")
    assert found["natural"].unread == {"rows": {"label": 1}}


@pytest.mark.parametrize("column", ["weight", "thinking", "system", "messages", "label"])
@pytest.mark.parametrize("value", [float("nan"), None])
def test_a_column_of_nothing_is_none(column: str, value: float | None, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    row = {"prompt": "Who are you?", "completion": "Codex.", column: value}
    write_parquet(tmp_path / "c.parquet", [row, row], f"prompt VARCHAR, completion VARCHAR, {column} DOUBLE")
    assert read_back(tmp_path, 'parquet("c.parquet")') == [ASKED, ASKED]
    table = arrow.table({name: arrow.array([each, each]) for name, each in row.items()})
    saved = tmp_path / "saved"
    saved.mkdir()
    with (
        arrow.OSFile(str(saved / "data.arrow"), "wb") as file,
        arrow.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table)
    assert read_back(tmp_path, 'dataset("saved")') == [ASKED, ASKED]


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
