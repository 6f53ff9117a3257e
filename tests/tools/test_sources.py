"""Sources in which tools are called: into rows and back, and as what conversations open with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

import synth as product
from synth.base.canonical import canonical_json
from synth.base.errors import ConfigError
from synth.compiler.plan.model import SourcePlan
from synth.compiler.plan.steps import CallPlan
from synth.compiler.stdlib.checks import run_check
from synth.runtime.sources.faults import Unusable
from synth.runtime.sources.messages import message_list
from synth.runtime.sources.notes import Notes
from synth.runtime.sources.shapes import Form, conversation
from tests.kit.support import query, synth
from tests.sources.helpers import write_lines
from tests.sources.test_tools import FORMS

HEAD = """edition 1
recipe shop { seed = 5 }
"""
MIXED = """mix all {
  only from chats
}
"""
TOOL = {
    "type": "function",
    "function": {
        "name": "w",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"c": {"type": "string"}}},
    },
}


def called(city: str, result: str) -> list[dict[str, Any]]:
    call = {"type": "function", "function": {"name": "w", "arguments": {"c": city, "role": "a secret role"}}}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": result, "name": "w"},
        {"role": "assistant", "content": f"{result} in {city}."},
    ]


TALK = [
    {"role": "user", "content": "weather?"},
    *called("Oslo", "5C"),
    {"role": "user", "content": "And Rome?"},
    *called("Rome", "9C"),
]
PLAIN = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello yourself."}]
BOTH: tuple[dict[str, Any], ...] = ({"messages": TALK, "tools": [TOOL]}, {"messages": PLAIN})


def run(folder: Path, recipe: str, *chats: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The rows of a recipe's exports, once it ran on some rows and was replayed."""
    if chats:
        write_lines(folder / "chats.jsonl", chats)
    (folder / "shop.recipe").write_text(HEAD + recipe, "utf-8")
    plan = product.compile(folder / "shop.recipe")
    product.run(plan, log=folder / "synth.duckdb", backend="simulated")
    product.replay(plan, log=folder / "synth.duckdb")
    return [list(each) for each in product.materialize(plan, log=folder / "synth.duckdb", out=folder)]


@pytest.mark.parametrize(
    ("form", "format_"), [("messages", "jsonl"), ("messages", "parquet"), ("sharegpt", "jsonl")]
)
def test_rows_are_what_they_were_once_they_are_read_again(form: str, format_: str, tmp_path: Path) -> None:
    recipe = f'source chats: messages from READER("FILE")\n{MIXED}export out: {form} from all to "out" '
    recipe += f"{{ format = {format_} }}\n"
    ((talk, plain),) = run(tmp_path, recipe.replace("READER", "jsonl").replace("FILE", "chats.jsonl"), *BOTH)
    file = f"train.{format_}"
    (tmp_path / file).write_bytes((tmp_path / "out" / file).read_bytes())
    (found,) = run(tmp_path, recipe.replace("READER", format_).replace("FILE", file))
    without = [{key: value for key, value in row.items() if key != "id"} for row in (*found, talk, plain)]
    assert without[:2] == without[2:]
    assert talk["tools"]
    assert plain["tools"] is None


def test_a_conversation_opens_with_calls_and_their_tools(tmp_path: Path) -> None:
    recipe = """schema Chat { messages: messages }
source chats: Chat from jsonl("chats.jsonl")
source listed: messages from jsonl("chats.jsonl")
model agent: model<chat> from simulated()
conversation onward over row in chats {
  turn before: messages = row.messages
  turn reply: model by agent { sees = transcript }
}
conversation further over chat in listed {
  turn before: messages = chat
  turn ask: user by agent { sees = transcript, prompt = "Ask on." }
  turn reply: model by agent { sees = transcript }
}
export one: messages from onward to "one"
export two: prompt_completion from further to "two"
"""
    one, two = run(tmp_path, recipe, *BOTH)
    first, second = one
    assert [message["role"] for message in first["messages"]] == [
        *("user", "assistant", "tool", "assistant", "user", "assistant")
    ]
    assert [message["weight"] for message in first["messages"]] == [0, 0, 0, 0, 0, 1]
    assert first["messages"][1]["tool_calls"] == TALK[1]["tool_calls"]
    assert first["tools"] == [TOOL]
    assert second["tools"] is None
    further = two[0]
    assert [message["role"] for message in further["prompt"]][-3:] == ["tool", "assistant", "user"]
    assert further["tools"] == [TOOL]


FIELDS = """schema Properties { c: Kind? }
schema Kind { type: text }
schema Parameters { type: text, properties: Properties }
schema Function { name: text, description: text?, parameters: Parameters }
schema Tool { type: text, function: Function, strict: boolean? }
"""


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("tools: list<Tool>?", {"tools": [TOOL]}),
        ("tools: text?", {"tools": json.dumps([TOOL])}),
        ("more: text?", {"functions": [TOOL]}),
    ],
)
def test_definitions_are_those_of_the_messages_as_a_field_too(
    field: str, column: dict[str, Any], tmp_path: Path
) -> None:
    recipe = f"""{FIELDS if "Tool" in field else ""}
schema Chat {{ messages: messages, {field} }}
source chats: Chat from jsonl("chats.jsonl")
model agent: model<chat> from simulated()
conversation onward over row in chats {{
  turn before: messages = row.messages
  turn reply: model by agent {{ sees = transcript }}
}}
export one: messages from onward to "one"
"""
    ((first, second),) = run(tmp_path, recipe, {"messages": PLAIN, **column}, {"messages": PLAIN[:1]})
    assert first["tools"] == [TOOL]
    assert second["tools"] is None


def test_a_run_warns_once_where_the_calls_of_rows_are_dropped(tmp_path: Path) -> None:
    recipe = """source chats: messages from jsonl("chats.jsonl")
model agent: model<chat, tools> from simulated()
## Asks.
tool wiki: text by agent { q: text, prompt = "{{ q }}" }
conversation onward over chat in chats {
  turn before: messages = chat
  turn reply: model by agent { sees = transcriptTOOLS }
  turn ask: user by agent { sees = transcript, prompt = "Ask on." }
  turn last: model by agent { sees = transcript, tools = [wiki] }
}
export out: messages from onward to "out"
"""
    said = []
    for tools, chats in (("", BOTH), (", tools = [wiki]", BOTH), ("", BOTH[1:])):
        write_lines(tmp_path / "chats.jsonl", chats)
        (tmp_path / "shop.recipe").write_text(HEAD + recipe.replace("TOOLS", tools), "utf-8")
        plan = product.compile(tmp_path / "shop.recipe")
        report = product.run(plan, log=tmp_path / "synth.duckdb", backend="simulated")
        said.append([each for each in report.warnings if "called" in each])
    assert said == [
        [
            "`onward.reply` goes on from rows in which tools are called, and no `tools` are given there: "
            "the calls after the last question, and what came back, are dropped"
        ],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("check", "arguments", "reason"),
    [
        ("turns", {"count": (4, 4)}, None),
        ("alternates", {"first": "user", "second": "model"}, None),
        ("ends_with", {"suffix": "model"}, None),
        ("contains", {"phrase": "9C in Rome"}, None),
        ("no_words", {"words": ("9C in Oslo",)}, None),
        ("no_words", {"words": ("9C",)}, "message 7 (tool)"),
        ("no_words", {"words": ("secret",)}, "message 2 (model)"),
    ],
)
def test_checks_take_a_call_its_result_and_what_is_said_for_one_turn(
    check: str, arguments: dict[str, Any], reason: str | None
) -> None:
    found = run_check(check, arguments, message_list(TALK, "messages", Notes()))
    assert found is None if reason is None else found is not None and found.startswith(reason)


def test_what_stands_in_a_call_or_in_a_definition_is_forgotten(tmp_path: Path) -> None:
    recipe = (
        f'source chats: messages from jsonl("chats.jsonl")\n{MIXED}export out: messages from all to "out"\n'
    )
    run(tmp_path, recipe, *BOTH)
    plan = product.compile(tmp_path / "shop.recipe")
    for text in ("a secret role", "The weather."):
        less = tmp_path / f"{len(text)}.duckdb"
        done = synth("forget", "--matching", text, "--out", less.name, cwd=tmp_path)
        assert done.status == 0, done.err
        ((row,),) = product.materialize(plan, log=less, out=tmp_path)
        assert row["messages"][0]["content"] == "Hello."


def test_the_story_of_a_row_has_its_calls_and_what_functions_said_of_it(tmp_path: Path) -> None:
    (tmp_path / "seen.py").write_text(
        "def short(text: list[dict[str, object]]) -> str | None:\n    return None\n"
    )
    recipe = (
        'use seen from "seen.py"\n'
        'source chats: messages from jsonl("chats.jsonl") { keep { seen.short() } }\n'
        f'{MIXED}export out: messages from all to "out"\n'
    )
    run(tmp_path, recipe, BOTH[0])
    ((row,),) = query(
        tmp_path / "synth.duckdb", "SELECT sample_id FROM events WHERE kind = 'source.ingested'"
    )
    told = synth("show", row, cwd=tmp_path)
    assert told.status == 0, told.err
    lines = told.out.splitlines()
    assert '  | model calls w({"c": "Oslo", "role": "a secret role"})' in lines
    assert "  | tool w: 5C" in lines
    assert "  | model: " not in lines
    assert any("read from chats.jsonl, line 1" in line for line in lines)
    assert any("keep: `seen.short`" in line for line in lines)


def changed(value: Any, random: Random) -> Any:
    """A value with a few parts of it replaced, left out or there twice."""
    if random.random() < 0.03:
        return random.choice([None, 1, "", "{", "[1e999]", "tool", [], {}, {"name": "w"}, "\ud800", "\0"])
    if isinstance(value, dict):
        return {key: changed(each, random) for key, each in value.items() if random.random() > 0.01}
    if isinstance(value, list):
        return [changed(each, random) for each in value for _ in range(random.choice([0] + [1] * 40 + [2]))]
    return value


def test_whatever_a_row_is_it_is_read_or_refused() -> None:
    random, form = Random(5), Form(SourcePlan(name="x", type="messages", reader=CallPlan(name="jsonl")))
    outcomes = Counter[bool]()
    for _ in range(1_500):
        row = changed(random.choice(list(FORMS.values())), random)
        try:
            found = conversation(row, form.shape_of(row), Notes()) if isinstance(row, dict) else None
        except Unusable:
            found = None
        else:
            canonical_json(found.content if found else None).encode("utf-8")
        outcomes[found is None] += 1
    assert min(outcomes.values()) > 200


def test_calls_that_cannot_be_read_are_told_of_and_may_be_left_out(tmp_path: Path) -> None:
    recipe = f"""source chats: messages from jsonl("chats.jsonl") {{ bad_rows = WAY }}
{MIXED}export out: messages from all to "out"
"""
    broken = [TALK[0], {"role": "assistant", "tool_calls": [{"function": {"name": "w", "arguments": "{c"}}]}]
    chats = ({"messages": PLAIN}, {"messages": broken})
    with pytest.raises(ConfigError, match=r"line 2 \(call 1 of message 2\)"):
        run(tmp_path, recipe.replace("WAY", "fail"), *chats)
    ((row,),) = run(tmp_path, recipe.replace("WAY", "skip"), *chats)
    assert "tools" not in row
    manifest = json.loads((tmp_path / "out/manifest.json").read_text("utf-8"))
    assert manifest["source"]["parts"][0]["places"][0]["left_out"]["kinds"] == {
        "has a call of a tool that is not JSON": 1
    }
