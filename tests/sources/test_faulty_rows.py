"""Rows that are no conversations are refused in one sentence that counts them, and none is logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sources.helpers import GOOD, NAME_THEM, pair, refusal, repair, write_lines

ASK = {"role": "user", "content": "a"}
TELL = {"role": "model", "content": "b"}


def said(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


LINES: dict[str, tuple[list[Any], str]] = {
    "broken": (
        [GOOD, '{"prompt": "x", "response": }', GOOD],
        "1 of 3 lines is not JSON, line 2 (Expecting value at column 29): mend or remove it",
    ),
    "broken, several": (
        [GOOD, '{"a"', "}{", GOOD, "nonsense"],
        "3 of 5 lines are not JSON, the first is line 2 (Expecting ':' delimiter at column 5): mend or "
        "remove them",
    ),
    "blank lines are no rows": (
        ["", GOOD, "   ", "7"],
        "1 of 2 lines is no object, line 4 (it is a number): mend or remove it",
    ),
    "no object": (
        [GOOD, '"text"', "null", "[1]"],
        "3 of 4 lines are no object, the first is line 2 (it is text): mend or remove them",
    ),
    "too deep": (
        [GOOD, "[" * 100_000],
        "1 of 2 lines is not JSON, line 2 (it holds what is too long or too deep to be read): mend or "
        "remove it",
    ),
    "a number of too many digits": (
        [GOOD, '{"a": ' + "1" * 5000 + "}"],
        "1 of 2 lines is not JSON, line 2 (it holds what is too long or too deep to be read): mend or "
        "remove it",
    ),
    "several kinds": (
        [
            said(ASK, {"role": "model", "content": " \n"}),
            said(ASK, {"role": "model"}),
            said(ASK),
            said(),
            "7",
        ],
        "1 of 5 lines has an empty message, line 1 (message 2); 1 has a message without content, line 2 "
        "(message 2); 1 has no message of a model, line 3; 2 more have other faults: mend or remove them",
    ),
    "no known columns": (
        [{"frage": "x", "antwort": "y"}],
        "1 of 1 line has no conversation that is recognised, line 1 (its columns are `frage`, `antwort`): "
        + NAME_THEM,
    ),
    "a misspelt column": (
        [GOOD, {"prompt": "x", "respons": "y"}, {}],
        "2 of 3 lines have no conversation that is recognised, the first is line 2 (its columns are "
        "`prompt`, "
        "`respons`; is `respons` meant to be `response`?): " + NAME_THEM,
    ),
    "hostile names of columns": (
        [{"\u202e{{x}}\0": 1, "a" * 500: 2, **{f"c{i}": i for i in range(20)}}],
        "1 of 1 line has no conversation that is recognised, line 1 (its columns are `<U+202E>{{x}}␀`, "
        f"`{'a' * 40}`, `c0`, `c1`, `c2`, `c3`, `c4`, `c5` and 14 more): {NAME_THEM}",
    ),
    "an unknown role": (
        [
            said(ASK, TELL),
            said({"role": "asistant", "content": "x"}),
            said({"role": "asssistant", "content": "x"}),
        ],
        "2 of 3 lines have an unknown role, the first is line 2 (`asistant` in message 1; "
        "did you mean `assistant`?): mend or remove them",
    ),
    "a role that nobody has": (
        [said(ASK, {"role": "narrator", "content": "x"})],
        "1 of 1 line has an unknown role, line 1 (`narrator` in message 2; roles are system, user and "
        "assistant): mend or remove it",
    ),
    "no role": (
        [said({"content": "x"})],
        "1 of 1 line has a message without a role, line 1 (message 1): mend or remove it",
    ),
    "content of another type": (
        [said(ASK, {"role": "model", "content": 7})],
        "1 of 1 line has content that is no text, line 1 (that of message 2 is a number): mend or remove it",
    ),
    "an image": (
        [said({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}, TELL)],
        "1 of 1 line has content that is no text, line 1 (message 1 has a part of type `image_url`): "
        "mend or remove it",
    ),
    "a call of a tool": (
        [said(ASK, {**TELL, "tool_calls": [{"id": "1"}]})],
        "1 of 1 line has a call of a tool without a name, line 1 (call 1 of message 2): mend or remove it",
    ),
    "a call that is not JSON": (
        [said(ASK, {"from": "function_call", "value": "look(it)"}, {"from": "observation", "value": "5C"})],
        "1 of 1 line has a call of a tool that is not JSON, line 1 (message 2): mend or remove it",
    ),
    "arguments that are no object": (
        [said(ASK, {**TELL, "tool_calls": [{"function": {"name": "w", "arguments": "[1]"}}]})],
        "1 of 1 line has arguments of a tool that are no object, line 1 (those of call 1 of message 2 are a "
        "list): mend or remove it",
    ),
    "a call by the user": (
        [said({**ASK, "tool_calls": [{"name": "w"}]}, TELL)],
        "1 of 1 line has a call of a tool by another than the model, line 1 (message 1): mend or remove it",
    ),
    "a call without a result": (
        [said(ASK, {"role": "assistant", "content": None, "tool_calls": [{"name": "w"}]}, TELL)],
        "1 of 1 line has a call of a tool without a result, line 1 (1 of 1 in message 2): mend or remove it",
    ),
    "a result without a call": (
        [said(ASK, {"role": "tool", "content": "5C"}, TELL)],
        "1 of 1 line has a result of a tool without a call, line 1 (message 2): mend or remove it",
    ),
    "a result of another call": (
        [
            said(
                ASK,
                {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "name": "w"}]},
                {"role": "tool", "content": "5C", "tool_call_id": "b"},
                TELL,
            )
        ],
        "1 of 1 line has a result of a tool without a call, line 1 (message 3 answers `b`): "
        "mend or remove it",
    ),
    "tools that are none": (
        [
            {
                "messages": [ASK, {**TELL, "tool_calls": [{"name": "w"}]}],
                "tools": [{"type": "function", "function": {}}],
            }
        ],
        "1 of 1 line has `tools` that define no tools, line 1 (number 1 has no name): mend or remove it",
    ),
    "no message of a model": (
        [said(ASK), said({"role": "system", "content": "x"})],
        "2 of 2 lines have no message of a model, the first is line 1: mend or remove them",
    ),
    "no messages": ([said()], "1 of 1 line has no message in `messages`, line 1: mend or remove it"),
    "messages that are no list": (
        [{"messages": "hello"}, {"messages": 7}, {"messages": None}],
        "3 of 3 lines have a `messages` that is no list of messages, the first is line 1 (its text is "
        "not JSON): "
        "mend or remove them",
    ),
    "a message that is no object": (
        [said("hello")],
        "1 of 1 line has a message that is no object, line 1 (message 1 is text): mend or remove it",
    ),
    "half of a character": (
        [GOOD, '{"prompt": "a\\ud800b", "response": "x"}'],
        "1 of 2 lines has half of a character, line 2 (U+D800 in `prompt`): mend or remove it",
    ),
    "half of a character in a thought": (
        ['{"messages": [{"role": "model", "content": "x", "thought": "\\udfff"}]}'],
        "1 of 1 line has half of a character, line 1 (U+DFFF in the thought of message 1): mend or remove it",
    ),
    "NUL": (
        [said({"role": "user", "content": "a\0b"}, TELL)],
        "1 of 1 line has a NUL character, line 1 (message 1): mend or remove it",
    ),
    "NUL as it stands": (
        ['{"prompt": "a\0b", "response": "x"}'],
        "1 of 1 line is not JSON, line 1 (Invalid control character at column 14): mend or remove it",
    ),
    "a weight of a half": (
        [said(ASK, {**TELL, "weight": 0.5})],
        "1 of 1 line has a `weight` other than 0 and 1, line 1 (message 2: `0.5`): mend or remove it",
    ),
    "a weight that is no number, and deep": (
        ['{"messages": [{"role": "user", "content": "a", "weight": ' + "[" * 900 + "]" * 900 + "}]}"],
        "1 of 1 line has a `weight` other than 0 and 1, line 1 (message 1: a list): mend or remove it",
    ),
    "a part that is no object": (
        [said({"role": "user", "content": [7]}, TELL)],
        "1 of 1 line has content that is no text, line 1 (message 1 has a part of type `int`): "
        "mend or remove it",
    ),
    "a part of a type that is none": (
        [said({"role": "user", "content": [{"type": ["text"], "text": "a"}]}, TELL)],
        "1 of 1 line has content that is no text, line 1 (message 1 has a part of type `['text']`): "
        "mend or remove it",
    ),
    "a thought that is no text": (
        [said(ASK, {**TELL, "thought": 7})],
        "1 of 1 line has a thought that is no text, line 1 (that of message 2 is a number): "
        "mend or remove it",
    ),
    "a prompt that is no text": (
        [pair(), {"prompt": 7, "response": "x"}],
        "1 of 2 lines has a `prompt` that is no text, line 2 (it is a number): mend or remove it",
    ),
    "a null": (
        [pair(), {"prompt": "x", "response": None}],
        "1 of 2 lines has no `response`, line 2 (it is null): mend or remove it",
    ),
    "empty texts": (
        [pair(" "), pair(response="")],
        "1 of 2 lines has an empty `prompt`, line 1; 1 has an empty `response`, line 2: mend or remove them",
    ),
    "empty instructions": (
        [{"instruction": "", "input": " ", "output": "x"}, {"instruction": "x", "output": ""}],
        "1 of 2 lines has an empty `instruction`, line 1; 1 has an empty `output`, line 2: mend or "
        "remove them",
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_rows_that_are_no_conversations(name: str, tmp_path: Path) -> None:
    rows, expected = LINES[name]
    write_lines(tmp_path / "data/chat.jsonl", rows)
    assert refusal(tmp_path, 'jsonl("data/chat.jsonl")') == repair(f"data/chat.jsonl: {expected}")


def test_mixed_shapes(tmp_path: Path) -> None:
    rows = [GOOD, GOOD, said(ASK, TELL), {"question": "a", "answer": "b"}]
    write_lines(tmp_path / "chat.jsonl", rows)
    assert refusal(tmp_path, 'jsonl("chat.jsonl")') == (
        "chat.jsonl mixes shapes (2 lines with `prompt`, `response` from line 1 on; 1 line with `messages` "
        "from line 3 on; 1 line with `question`, `answer` from line 4 on): put each into a source of its own"
    )


def test_a_fault_beside_mixed_shapes_is_said_first(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [GOOD, said(ASK, TELL), "7"])
    expected = "chat.jsonl: 1 of 3 lines is no object, line 3 (it is a number): mend or remove it"
    assert refusal(tmp_path, 'jsonl("chat.jsonl")') == repair(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            'prompt = "prompt", response = "answr"',
            "chat.jsonl: 1 of 2 lines has no column `answr`, line 1 (did you mean `answer`?): "
            "name one that every row has",
        ),
        (
            'messages = "turns"',
            "chat.jsonl: 2 of 2 lines have no column `turns`, the first is line 1 (its columns are `prompt`, "
            "`answer`): name one that every row has",
        ),
        (
            'messages = "turns", prompt = "x"',
            "source `natural`: `messages` names a whole conversation's column: leave out `prompt`",
        ),
        (
            'response = "x"',
            "source `natural`: `prompt` and `response` go together: name `prompt` too",
        ),
    ],
)
def test_names_of_columns(arguments: str, expected: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", [{"prompt": "a", "answer": "b"}, {"prompt": "a", "answr": "b"}])
    assert refusal(tmp_path, f'jsonl("chat.jsonl", {arguments})') == repair(expected)


def test_the_first_faulty_source_keeps_the_others_out_of_the_log(tmp_path: Path) -> None:
    """`refusal` looks that nothing was logged, also of the source that holds."""
    write_lines(tmp_path / "good.jsonl", [GOOD])
    write_lines(tmp_path / "bad.jsonl", [GOOD, "7"])
    reader = 'jsonl("good.jsonl")\nsource other: messages from jsonl("bad.jsonl")'
    assert refusal(tmp_path, reader).startswith("bad.jsonl: 1 of 2 lines is no object")
