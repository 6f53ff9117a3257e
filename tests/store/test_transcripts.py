"""Conversations written in one step, their thoughts, and what an export makes of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.store.dataset.materialize import materialize
from synth.store.dataset.rows.layout import Conversation, Layout
from synth.store.log.log import Log
from tests.kit.models.fixtures import needs
from tests.kit.support import rows
from tests.store.log.logs import Story, all_slots

RECIPE = """edition 1
recipe telling { seed = 5 }

model base: model<chat, json> from simulated()

schema Message {
  role: enum<user, model>
  thought: text?
  content: text
}

conversation grounded times 2 {
  draw on from [2, 4]
  step dialogue: json<list<Message>(2..6)> by base { prompt = "Write {{ on }} messages." }

  transcript = dialogue
  train_on = every(model)
}

export train: FORM from grounded to "out/train" {
  thought = THOUGHT
  format = FORMAT
  columns = [grounded.on, grounded.dialogue]
}
"""

DIALOGUE = [
    {"role": "user", "content": "Hello?"},
    {"role": "model", "content": "Hello.", "thought": "A greeting."},
    {"role": "user", "content": "And?"},
    {"role": "model", "content": "That is all.", "thought": ""},
]


def plan_of(form: str = "messages", thought: str = "strip", format_: str = "jsonl") -> Plan:
    text = RECIPE.replace("FORMAT", format_).replace("FORM", form).replace("THOUGHT", thought)
    return compile_text(text).plan


def made(plan: Plan, folder: Path) -> Path:
    """The folder of a dataset of two samples with the same dialogue."""
    folder.mkdir(exist_ok=True)
    story = Story(plan)
    for slot in all_slots(plan, "grounded"):
        story.complete(plan.cohort("grounded"), slot, {"dialogue": DIALOGUE})
    log = folder / "log.duckdb"
    if not log.exists():
        story.write(log)
    with Log(log) as opened:
        (dataset,) = materialize(plan, opened, folder)
    assert dataset.manifest["trained_turns"] == ["every(model)"]
    return dataset.folder


def test_a_transcript_is_the_conversation(tmp_path: Path) -> None:
    first = rows(made(plan_of(), tmp_path) / "train.jsonl")[0]
    assert first["messages"] == [
        {"role": "user", "content": "Hello?", "weight": 0},
        {"role": "assistant", "content": "Hello.", "weight": 1},
        {"role": "user", "content": "And?", "weight": 0},
        {"role": "assistant", "content": "That is all.", "weight": 1},
    ]
    assert first["dialogue"][0] | {"thought": None} == {"role": "user", "content": "Hello?", "thought": None}


def test_a_thought_is_kept_where_there_is_one(tmp_path: Path) -> None:
    first = rows(made(plan_of(thought="keep"), tmp_path) / "train.jsonl")[0]
    assert [message.get("thought") for message in first["messages"]] == [None, "A greeting.", None, None]
    assert "thought" not in first["messages"][3]


def test_a_thought_is_wrapped_before_what_is_said(tmp_path: Path) -> None:
    first = rows(made(plan_of(thought="wrap"), tmp_path) / "train.jsonl")[0]
    assert [message["content"] for message in first["messages"]] == [
        "Hello?",
        "<think>A greeting.</think>\n\nHello.",
        "And?",
        "That is all.",
    ]


@pytest.mark.parametrize("thought", ["strip", "keep", "wrap"])
def test_the_other_forms_say_the_same(tmp_path: Path, thought: str) -> None:
    said = rows(made(plan_of("messages", thought), tmp_path) / "train.jsonl")[0]["messages"]
    pairs = rows(made(plan_of("prompt_completion", thought), tmp_path) / "train.jsonl")[:2]
    assert [row["completion"] for row in pairs] == [[said[1]], [said[3]]]
    assert pairs[1]["prompt"] == [{**message, "weight": 0} for message in said[:3]]
    turns = rows(made(plan_of("sharegpt", thought), tmp_path) / "train.jsonl")[0]["conversations"]
    names = {"user": "human", "assistant": "gpt"}
    assert turns == [
        {
            "from": names[m["role"]],
            "value": m["content"],
            **{k: m[k] for k in ("weight", "thought") if k in m},
        }
        for m in said
    ]


@pytest.mark.parametrize("form", ["messages", "prompt_completion", "sharegpt"])
@pytest.mark.parametrize("thought", ["strip", "keep"])
def test_parquet_says_what_jsonl_says(tmp_path: Path, form: str, thought: str) -> None:
    as_json = rows(made(plan_of(form, thought), tmp_path) / "train.jsonl")
    path = made(plan_of(form, thought, "parquet"), tmp_path) / "train.parquet"
    with duckdb.connect() as connection:
        result = connection.execute(f"SELECT * FROM '{path}'")
        names = [column[0] for column in result.description or []]
        found = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    for row in found:
        for name in ("messages", "prompt", "completion", "conversations"):
            if name in row:
                # A table has a place for every thought; what is no thought is null there.
                row[name] = [{k: v for k, v in message.items() if v is not None} for message in row[name]]
    assert found == as_json


TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "< / THINK >", "<thinking>", "a", "<", "/", "&lt;", "\n"])
).map("".join)


@settings(max_examples=200)
@given(thought=TEXTS.filter(bool), content=TEXTS)
def test_nothing_breaks_out_of_a_wrapped_thought(thought: str, content: str) -> None:
    plan = plan_of(thought="wrap")
    layout = Layout.of(plan, plan.exports[0])
    message = {"role": "model", "content": content, "weight": 1, "thought": thought}
    ((_, row),) = layout.conversation(Conversation("id", "id", [message]))
    text = row["messages"][0]["content"]
    marks = re.findall(r"<\s*/?\s*think\s*>", text, re.IGNORECASE)
    assert marks == ["<think>", "</think>"]
    inside, outside = text.removeprefix("<think>").split("</think>\n\n", 1)
    # What holds no mark stays as it was.
    if not re.search("think", thought + content, re.IGNORECASE):
        assert (inside, outside) == (thought, content)


def test_what_the_user_says_is_not_touched() -> None:
    plan = plan_of(thought="wrap")
    layout = Layout.of(plan, plan.exports[0])
    message = {"role": "user", "content": "What is </think>?", "weight": 0}
    ((_, row),) = layout.conversation(Conversation("id", "id", [message]))
    assert row["messages"][0]["content"] == "What is </think>?"


TURNS = """edition 1
recipe telling { seed = 5 }
model base: model<chat> from simulated()
conversation chats times 1 {
  turn hello: user = "Hello."
  turn reply: model by base { prompt = "{{ hello }}" }
  turn ask: user = "Who?"
  turn answer: model by base { prompt = "{{ ask }}" }
  train_on = every(model)
}
export train: messages from chats to "out/train"
"""


def test_every_turn_of_the_model_is_trained_on(tmp_path: Path) -> None:
    plan = compile_text(TURNS).plan
    story = Story(plan)
    values = {"hello": "Hello.", "reply": "Hi.", "ask": "Who?", "answer": "Me."}
    story.complete(plan.cohort("chats"), all_slots(plan, "chats")[0], values)
    with Log(story.write(tmp_path / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, tmp_path)
    (row,) = rows(dataset.folder / "train.jsonl")
    assert [message["weight"] for message in row["messages"]] == [0, 1, 0, 1]
    assert dataset.manifest["trained_turns"] == ["reply", "answer"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_datasets_loads_thoughts_that_only_some_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    folder = made(plan_of(thought="keep"), tmp_path)
    loaded: Any = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert sorted(row["on"] for row in loaded["train"]) == [2, 4]
    assert [message["thought"] for message in loaded["train"][0]["messages"]] == [
        None,
        "A greeting.",
        None,
        None,
    ]
