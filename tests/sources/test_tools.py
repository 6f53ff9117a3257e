"""Conversations in which tools are called: the forms they come in, read into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import ConfigError
from tests.sources.helpers import ingest, logged, plan_for, write_lines

ASK = {"role": "user", "content": "weather?"}
TELL = {"role": "assistant", "content": "5C in Oslo, 9C in Rome."}
CALLS = [{"name": "w", "arguments": {"c": "Oslo"}}, {"name": "w", "arguments": {"c": "Rome", "n": [1]}}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "w",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"c": {"type": "string"}}, "required": ["c"]},
    },
}
FUNCTION: dict[str, Any] = TOOL["function"]
RESULTS = [{"role": "tool", "content": "5C"}, {"role": "tool", "content": "9C"}]
WANTED = [
    {"role": "user", "content": "weather?"},
    {"role": "model", "content": "", "calls": CALLS},
    {"role": "tool", "content": "5C", "name": "w"},
    {"role": "tool", "content": "9C", "name": "w"},
    {"role": "model", "content": "5C in Oslo, 9C in Rome."},
]


def openai(**more: Any) -> dict[str, Any]:
    calls = [{"type": "function", "function": call} for call in CALLS]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def texts() -> list[dict[str, Any]]:
    """Calls whose arguments are texts, with ids, and results that come in another order."""
    calls = [
        {"id": f"c{n}", "type": "function", "function": {**call, "arguments": json.dumps(call["arguments"])}}
        for n, call in enumerate(CALLS)
    ]
    results = [{**result, "tool_call_id": f"c{n}"} for n, result in enumerate(RESULTS)]
    return [ASK, {"role": "assistant", "content": "", "tool_calls": calls}, *reversed(results), TELL]


def parts() -> list[dict[str, Any]]:
    used = [
        {"type": "tool_use", "id": f"t{n}", "name": call["name"], "input": call["arguments"]}
        for n, call in enumerate(CALLS)
    ]
    gave = [
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "9C"}]},
        {"type": "tool_result", "tool_use_id": "t0", "content": "5C"},
    ]
    return [ASK, {"role": "assistant", "content": used}, {"role": "user", "content": gave}, TELL]


def shared() -> dict[str, Any]:
    return {
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": json.dumps(CALLS)},
            {"from": "observation", "value": json.dumps(["5C", "9C"])},
            {"from": "gpt", "value": TELL["content"]},
        ]
    }


FORMS: dict[str, dict[str, Any]] = {
    "calls as objects": {"messages": [ASK, openai(), *RESULTS, TELL], "tools": [TOOL]},
    "arguments as texts": {"messages": texts(), "tools": json.dumps([TOOL])},
    "bare calls and functions": {
        "messages": [ASK, {"role": "assistant", "content": "", "tool_calls": CALLS}, *RESULTS, TELL],
        "tools": [FUNCTION],
    },
    "calls as a text": {
        "messages": [ASK, openai(tool_calls=json.dumps(CALLS)), *RESULTS, TELL],
        "functions": json.dumps(FUNCTION),
    },
    "parts": {
        "messages": parts(),
        "tools": [
            {
                "name": "w",
                "description": "The weather.",
                "input_schema": FUNCTION["parameters"],
            }
        ],
    },
    "messages as texts": {
        "messages": [json.dumps(each) for each in (ASK, openai(), *RESULTS, TELL)],
        "tools": [json.dumps(TOOL)],
    },
    "turns of two": shared() | {"tools": json.dumps([FUNCTION])},
    "ipython": {
        "messages": [ASK, openai(), *({**each, "role": "ipython"} for each in RESULTS), TELL],
        "tools": [TOOL],
    },
}


def read(folder: Path, *rows: dict[str, Any]) -> list[Any]:
    write_lines(folder / "chat.jsonl", rows)
    plan = plan_for(folder, 'jsonl("chat.jsonl")')
    ingest(plan, folder / "log.duckdb")
    return [payload for _, payload in logged(plan, folder / "log.duckdb")]


@pytest.mark.parametrize("form", FORMS)
def test_forms_come_to_one(form: str, tmp_path: Path) -> None:
    (payload,) = read(tmp_path, FORMS[form])
    assert payload["messages"] == WANTED
    assert payload["tools"] == [TOOL]


def test_a_legacy_call_and_what_stands_beside_it(tmp_path: Path) -> None:
    (payload,) = read(
        tmp_path,
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "content": "I look.",
                    "reasoning_content": "Oslo it is.",
                    "function_call": {"name": "w", "arguments": '{"c": "Oslo"}'},
                    "weight": 1,
                },
                {"role": "function", "name": "w", "content": {"c": 5}},
                {**TELL, "weight": 0},
            ]
        },
    )
    assert payload["messages"][1:] == [
        {
            "role": "model",
            "content": "I look.",
            "thought": "Oslo it is.",
            "calls": [CALLS[0]],
            "weight": 1,
        },
        {"role": "tool", "content": '{"c":5}', "name": "w"},
        {"role": "model", "content": TELL["content"], "weight": 0},
    ]
    assert "tools" not in payload


def test_a_row_may_end_where_tools_are_called_and_another_needs_none(tmp_path: Path) -> None:
    ends, plain = read(
        tmp_path,
        {"messages": [ASK, openai()], "tools": [TOOL]},
        {"messages": [ASK, TELL], "tools": [TOOL]},
    )
    assert ends["messages"] == WANTED[:2]
    assert plain["messages"] == [WANTED[0], WANTED[-1]]
    assert plain["tools"] == [TOOL]


def test_a_call_that_names_no_tool_is_read_told_of_and_not_trained_on(tmp_path: Path) -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": "{}"},
            {"from": "observation", "value": "5C"},
            {"from": "gpt", "value": "5C."},
        ]
    }
    write_lines(tmp_path / "chat.jsonl", [row])
    plan = plan_for(tmp_path, 'jsonl("chat.jsonl")')
    found = ingest(plan, tmp_path / "log.duckdb")["natural"]
    ((_, payload),) = logged(plan, tmp_path / "log.duckdb")
    assert payload["messages"][1] == {
        "role": "model",
        "content": "",
        "calls": [{"name": "", "arguments": {}}],
        "weight": 0,
    }
    assert payload["messages"][2] == {"role": "tool", "content": "5C"}
    assert found.unread == {"messages": {"call without a name": 1}}


def test_definitions_that_are_none_matter_only_where_something_is_called(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [{"messages": [ASK, TELL], "tools": "hammer"}])
    plan = plan_for(tmp_path, 'jsonl("chat.jsonl")')
    found = ingest(plan, tmp_path / "log.duckdb")["natural"]
    ((_, payload),) = logged(plan, tmp_path / "log.duckdb")
    assert "tools" not in payload
    assert found.unread == {"rows": {"tools": 1}}


def test_a_table_adds_no_arguments(tmp_path: Path) -> None:
    """Parquet gives each object the fields of all others, as nulls."""
    import duckdb

    rows = [
        {"messages": [ASK, openai(), *RESULTS, TELL], "tools": [TOOL]},
        {"messages": [ASK, openai(tool_calls=[{"name": "v", "arguments": {"deep": {"x": 1}}}])]},
    ]
    write_lines(tmp_path / "rows.jsonl", rows)
    duckdb.sql(f"COPY (FROM read_json('{tmp_path}/rows.jsonl')) TO '{tmp_path}/chat.parquet'")
    plan = plan_for(tmp_path, 'parquet("chat.parquet")')
    ingest(plan, tmp_path / "log.duckdb")
    (_, first), (_, second) = logged(plan, tmp_path / "log.duckdb")
    assert first["messages"] == WANTED
    assert first["tools"] == [TOOL]
    assert second["messages"][1]["calls"] == [{"name": "v", "arguments": {"deep": {"x": 1}}}]


def each(*names: str, ids: tuple[str | None, ...] = (None, None)) -> dict[str, Any]:
    calls = [
        {"function": {"name": name, "arguments": {}}} | ({"id": id_} if id_ else {})
        for name, id_ in zip(names, ids, strict=True)
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def gave(content: str, **more: str) -> dict[str, str]:
    return {"role": "tool", "content": content, **more}


@pytest.mark.parametrize(
    ("calls", "results"),
    [
        (each("v", "w"), [gave("of w", name="w"), gave("of v", name="v")]),
        (each("v", "w", ids=("a", None)), [gave("of w"), gave("of v", tool_call_id="a")]),
        (each("v", "w", ids=("a", None)), [gave("of w", tool_call_id="b"), gave("of v", tool_call_id="a")]),
        (each("v", "w"), [gave("of w"), gave("of v", name="v")]),
        (each("v", "w"), [gave("of v", tool_call_id="1"), gave("of w", tool_call_id="2")]),
        (each("w", "w"), [gave("of v", name="w"), gave("of w", name="w")]),
    ],
)
def test_results_are_those_of_their_calls(calls: dict[str, Any], results: list[Any], tmp_path: Path) -> None:
    (payload,) = read(tmp_path, {"messages": [ASK, calls, *results, TELL]})
    names = [call["function"]["name"] for call in calls["tool_calls"]]
    assert payload["messages"][2:4] == [
        {"role": "tool", "content": content, "name": name}
        for name, content in zip(names, ("of v", "of w"), strict=True)
    ]


def of(arguments: str) -> dict[str, Any]:
    return each("v", "w") | {"function_call": {"name": "x", "arguments": arguments}}


THREE = [gave("1"), gave("2"), gave("3")]


@pytest.mark.parametrize(
    ("calls", "results", "why"),
    [
        (each("v", "w"), [gave("5", name="v"), gave("6", name="u")], "is not called ('u' in message 4)"),
        (
            each("v", "w", ids=("a", "b")),
            [gave("5", tool_call_id="a", name="w"), gave("6", tool_call_id="b")],
            "under the name of another ('w' for a call of 'v' in message 3)",
        ),
        (
            each("v", "w", ids=("a", "b")),
            [gave("5", tool_call_id="a"), gave("6", tool_call_id="a")],
            "has two results of one call of a tool (message 4 answers 'a')",
        ),
        (
            each("v", "w", ids=("a", "b")),
            [gave("5", tool_call_id="a"), gave("6", tool_call_id="c")],
            "has a result of a tool without a call (message 4 answers 'c')",
        ),
        (of('{"n": 1, "n": 2}'), THREE, "names a key twice ('n' in call 1 of message 2)"),
        (of('{"n": {"m": 1, "m": 1}}'), THREE, "names a key twice ('m' in call 1 of message 2)"),
        (of('{"n": 9223372036854775808}'), THREE, "a number that is too large (a call of message 2)"),
        (of('{"n": [1e999]}'), THREE, "a number that is too large (a call of message 2)"),
        (
            each("v", "w") | {"function_call": {"name": "x", "arguments": {"n": -(2**64)}}},
            THREE,
            "a number that is too large (a call of message 2)",
        ),
    ],
)
def test_what_nobody_can_tell_or_read_is_a_fault_of_its_row(
    calls: dict[str, Any], results: list[Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, {"messages": [ASK, calls, *results, TELL]})
    what, _, detail = why.partition(" (")
    told = str(raised.value).replace('"', "'").replace("`", "'")
    assert f"{what}, line 1 ({detail}: mend or remove it" in told


def test_a_definition_holds_no_number_that_datasets_do_not_read(tmp_path: Path) -> None:
    tool = {"name": "w", "parameters": {"type": "object", "properties": {"n": {"maximum": 2**64}}}}
    with pytest.raises(ConfigError, match=r"1 .`w` has a number that is too large"):
        read(tmp_path, {"messages": [ASK, openai(), *RESULTS, TELL], "tools": [tool]})
    largest = {"n": 2**63 - 1, "m": -(2**63)}
    call = {"name": "w", "arguments": largest}
    (payload,) = read(tmp_path, {"messages": [ASK, openai(tool_calls=[call]), RESULTS[0], TELL]})
    assert payload["messages"][1]["calls"] == [call]
