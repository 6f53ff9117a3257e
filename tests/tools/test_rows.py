"""Rows of conversations in which tools are called, in each form, from what a log has of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import CallPlan, ToolPlan
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.trainers import EXACTLY
from synth.store.dataset.output.written import Dataset
from synth.store.dataset.verify import read_manifest, verify_against_log, verify_files
from synth.store.log.log import Log
from tests.kit.support import rows
from tests.store.log.logs import Story, all_slots, chat

RECIPE = """edition 1
recipe shop { seed = 5 }
model base: model<chat> from simulated()
source natural: messages from jsonl("chat.jsonl")
conversation served times 4 {
  turn rules: system = "Look it up."
  turn ask: user = "Where is A-1?"
  turn reply: model by base {
    sees = transcript
    check { length(1..60) }
    retry = 2
  }
  turn thanks: user = "Thanks."
  turn closing: model by base { sees = transcript }
  train_on = TRAINED
}
conversation plain times 2 {
  turn ask: user = "Hello."
  turn answer: model by base { prompt = "{{ ask }}" }
}
preference found from served {
  chosen = served.reply
  rejected = attempts(served.reply)
}
mix all {
  tools from served
  bare from plain
  natural from natural
}
export train: FORM to "out/train" { OPTIONS }
"""
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"To {name}.",
            "parameters": {"type": "object", "properties": {key: {"type": kind}}, "required": [key]},
        },
    }
    for name, key, kind in (("look", "number", "string"), ("pay", "amount", "number"))
]
LOOK, PAY = TOOLS


def plan_of(form: str, trained: str = "[reply, closing]", options: str = "") -> Plan:
    """The recipe's plan, in which the model's turns of `served` may call two tools."""
    text = RECIPE.replace("FORM", form).replace("TRAINED", trained).replace("OPTIONS", options)
    plan = compile_text(text).plan
    tools = tuple(
        ToolPlan(
            name=each["function"]["name"],
            description=each["function"]["description"],
            parameters=each["function"]["parameters"],
            call=CallPlan(name=f"shop.{each['function']['name']}", source="0"),
        )
        for each in (LOOK, PAY)
    )
    served = plan.cohort("served")
    steps = tuple(
        step.model_copy(update={"tools": tools, "max_tool_calls": 4}) if step.role == "model" else step
        for step in served.steps
    )
    others = tuple(each for each in plan.cohorts if each.name != "served")
    return plan.model_copy(update={"cohorts": (served.model_copy(update={"steps": steps}), *others)})


# Numbers that the calls have besides.
AMOUNTS: list[float] = []


def called(number: int) -> list[dict[str, Any]]:
    """Two calls in one message, of which one fails, and one in the next."""
    more = {"others": AMOUNTS} if AMOUNTS else {}
    first = {"message": 0, "name": "look", "arguments": {"number": f"A-{number}"}}
    return [
        {**first, "result": {"state": "late"}, "content": "I look.", "thought": "Which?"},
        {"message": 0, "name": "pay", "arguments": {"amount": 1.5} | more, "fault": "there is no money"},
        {"message": 1, "name": "look", "arguments": {"number": "A-9"}, "result": "gone"},
    ]


def values(number: int) -> dict[str, Any]:
    return {
        "rules": "Look it up.",
        "ask": "Where is A-1?",
        "reply": f"It is late, {number}.",
        "thanks": "Thanks.",
        "closing": "Bye.",
        **({"reply.calls": called(number)} if number % 2 == 0 else {}),
    }


# What a model was shown in a refused attempt that had called a tool before it said too much.
SHOWN: list[dict[str, Any]] = [
    {"role": "system", "content": "Look it up."},
    {"role": "user", "content": "Where is A-1?"},
    {"role": "model", "content": "", "calls": [{"name": "look", "arguments": {"number": "A-7"}}]},
    {"role": "tool", "content": "gone", "name": "look"},
]
TRACE = [
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"number": "A-7"}}}],
    },
    {"role": "tool", "content": "gone", "name": "look"},
]


def told(plan: Plan) -> Story:
    story = Story(plan)
    for slot in all_slots(plan, "served"):
        refused: dict[int, list[Any]] = {
            1: [("It is gone, it is gone.", "length", {"messages": SHOWN})],
            2: [("", "max_tool_calls", {"messages": SHOWN, "calls": SHOWN[2]["calls"]})],
            3: [("<tool_call>{", "tool_calls", {"malformed": "its text is no JSON"})],
        }
        story.complete(
            plan.cohort("served"),
            slot,
            values(slot.position),
            refused={"reply": refused[slot.position]} if slot.position in refused else None,
        )
    for slot in all_slots(plan, "plain"):
        story.complete(plan.cohort("plain"), slot, {"ask": "Hello.", "answer": f"Hi, {slot.position}."})
    story.ingest("natural", [chat("How much?", "One.")])
    return story


def made(folder: Path, form: str, trained: str = "[reply, closing]", options: str = "") -> Dataset:
    folder.mkdir(exist_ok=True)
    plan = plan_of(form, trained, options)
    with Log(told(plan).write(folder / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, folder)
        manifest = read_manifest(dataset.folder)
        verify_files(dataset.folder, manifest)
        verify_against_log(dataset.folder, manifest, log)
    return dataset


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def test_messages_have_calls_and_what_they_gave(tmp_path: Path) -> None:
    dataset = made(tmp_path, "messages from served", "[reply]")
    first, second = rows(dataset.folder / "train.jsonl")[:2]
    assert first["messages"] == [
        {"role": "system", "content": "Look it up.", "weight": 0},
        {"role": "user", "content": "Where is A-1?", "weight": 0},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [call("look", number="A-0"), call("pay", amount=1.5)],
            "weight": 1,
        },
        {"role": "tool", "content": '{"state":"late"}', "name": "look", "weight": 0},
        {"role": "tool", "content": '{"error":"there is no money"}', "name": "pay", "weight": 0},
        {"role": "assistant", "content": "", "tool_calls": [call("look", number="A-9")], "weight": 1},
        {"role": "tool", "content": "gone", "name": "look", "weight": 0},
        {"role": "assistant", "content": "It is late, 0.", "weight": 1},
        {"role": "user", "content": "Thanks.", "weight": 0},
        {"role": "assistant", "content": "Bye.", "weight": 0},
    ]
    assert first["tools"] == second["tools"] == [LOOK, PAY]
    assert [message["role"] for message in second["messages"]].count("tool") == 0
    assert list(first) == ["id", "messages", "tools"]
    assert dataset.manifest["called"] == {"look": 4, "pay": 2}
    card = (dataset.folder / "README.md").read_text("utf-8")
    assert '  - name: "messages"\n    list: json\n  - name: "tools"\n    list: json\n' in card
    assert "Rows call tools" in card
    assert dataset.advice is not None
    assert "export `prompt_completion`" in dataset.advice
    assert "| pay | 2 |" in card


def test_thoughts_stand_before_their_calls(tmp_path: Path) -> None:
    dataset = made(tmp_path, "messages from served", options="thought = keep")
    first = rows(dataset.folder / "train.jsonl")[0]
    assert [message.get("thought") for message in first["messages"][2:6]] == ["Which?", None, None, None]


@pytest.mark.parametrize("options", ["", "format = parquet"])
def test_a_mix_has_no_field_that_nobody_gave(options: str, tmp_path: Path) -> None:
    dataset = made(tmp_path, "messages from all", options=options)
    found = list(dataset)
    assert {row["source"]: row["tools"] for row in found} == {
        "served": [LOOK, PAY],
        "plain": None,
        "natural": None,
    }
    told = [message for row in found for message in row["messages"]]
    assert all(value is not None for message in told for value in message.values())
    assert {"role": "assistant", "content": "One.", "weight": 1} in told
    assert any(len(message.get("tool_calls", ())) == 2 for message in told)


def test_prompt_completion_has_a_row_for_each_trained_message(tmp_path: Path) -> None:
    dataset = made(tmp_path, "prompt_completion from served", "[reply]")
    found = rows(dataset.folder / "train.jsonl")
    assert [len(row["prompt"]) for row in found] == [2, 5, 7, 2, 2, 5, 7, 2]
    second = found[1]
    assert second["prompt"][-1]["content"] == '{"error":"there is no money"}'
    assert second["completion"] == [
        {"role": "assistant", "content": "", "tool_calls": [call("look", number="A-9")], "weight": 1}
    ]
    assert all(row["tools"] == [LOOK, PAY] for row in found)
    assert len({row["id"] for row in found}) == len(found)


def test_a_preference_compares_whole_traces(tmp_path: Path) -> None:
    dataset = made(tmp_path, "preference from found")
    first, second = rows(dataset.folder / "train.jsonl")
    assert first["prompt"] == [
        {"role": "system", "content": "Look it up."},
        {"role": "user", "content": "Where is A-1?"},
    ]
    assert first["chosen"] == [{"role": "assistant", "content": "It is late, 1."}]
    assert first["rejected"] == [*TRACE, {"role": "assistant", "content": "It is gone, it is gone."}]
    assert [message["role"] for message in second["chosen"]] == [
        *("assistant", "tool", "tool"),
        *("assistant", "tool", "assistant"),
    ]
    assert second["rejected"] == [*TRACE, TRACE[0]]
    assert dataset.manifest["calls"] == {"decimals": 1, "results": 2}
    results, decimals = dataset.warnings
    assert results.startswith("TRL's DPOTrainer trains on what tools give too")
    assert "which 1 row has" in decimals
    assert (dataset.manifest["source"]["unread"], dataset.manifest["source"]["left_out"]) == (1, 0)
    card = (dataset.folder / "README.md").read_text("utf-8")
    assert "Left out: 1 attempt with calls that cannot be read." in card
    assert "TRL's DPOTrainer trains on what tools give too" in card
    assert EXACTLY in card
    assert first["tools"] == [LOOK, PAY]


def test_unpaired_and_rejected_have_whole_traces(tmp_path: Path) -> None:
    dataset = made(tmp_path, "unpaired from served", "[reply]")
    found = rows(dataset.folder / "train.jsonl")
    assert [row["label"] for row in found] == [True, True, False, True, False, True]
    assert found[2]["completion"] == [*TRACE, {"role": "assistant", "content": "It is gone, it is gone."}]
    assert len(found[3]["completion"]) == 6
    assert dataset.manifest["calls"]["results"] == 4
    assert any("KTOTrainer trains on what tools give too" in each for each in dataset.warnings)
    dataset = made(tmp_path / "refused", "rejected from served")
    refused = rows(dataset.folder / "train.jsonl")
    assert [row["completion"] for row in refused] == [row["completion"] for row in found if not row["label"]]
    assert all(len(row["prompt"]) == 2 for row in refused)
    assert all("<tool_call>" not in json.dumps(row) for row in (*found, *refused))
    assert dataset.manifest["source"]["unread"] == 1


def test_the_form_of_turns_has_calls_as_texts(tmp_path: Path) -> None:
    dataset = made(tmp_path, "sharegpt from served", "[reply]")
    first = rows(dataset.folder / "train.jsonl")[0]
    said = first["conversations"]
    assert [each["from"] for each in said] == [
        *("system", "human", "function_call", "observation"),
        *("function_call", "observation", "gpt", "human", "gpt"),
    ]
    assert said[2]["beside"] == "I look."
    assert json.loads(said[2]["value"]) == [
        {"name": "look", "arguments": {"number": "A-0"}},
        {"name": "pay", "arguments": {"amount": 1.5}},
    ]
    assert json.loads(said[3]["value"]) == ['{"state":"late"}', '{"error":"there is no money"}']
    assert json.loads(said[4]["value"]) == {"name": "look", "arguments": {"number": "A-9"}}
    assert json.loads(first["tools"]) == [LOOK, PAY]
    assert dataset.warnings == []
