"""How well a dataset's calls fit its tools, and whether a student makes those of the held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.evaluation.helpers import evaluation, project, served, values
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.servers.tools import Calling
from tests.kit.support import synth
from tests.sources.helpers import write_lines

HEAD = """edition 1
recipe measured { seed = 5 }
"""
ROWS = """source chats: messages from jsonl("chats.jsonl")
mix all {
  only from chats
}
export train: messages from all to "out"
"""


def tool(name: str, **properties: Any) -> dict[str, Any]:
    required = [key for key, each in properties.items() if "default" not in each]
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


LOOK = tool("look", number={"type": "string"}, depth={"type": "integer", "default": 1})
PAY = tool("pay", amount={"type": "number"})


def row(ask: str, *calls: tuple[str, dict[str, Any]], tools: Any = (LOOK, PAY)) -> dict[str, Any]:
    """One message that calls, the results, one more that calls, its result, and what is said."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": ask}]
    for name, arguments in calls:
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "name": name, "content": "fine"})
    return {"messages": [*messages, {"role": "assistant", "content": "Done."}], "tools": list(tools)}


GOOD = [
    row("one", ("look", {"number": "A-1"}), ("pay", {"amount": 2.0})),
    row("two", ("look", {"number": "A-2", "depth": 1})),
    row("three", ("pay", {"amount": 3})),
]
BAD = [
    row("four", ("lock", {"number": "A-4"})),
    row("five", ("pay", {"amount": "much"})),
    row("six", ("look", {"number": "A-6"}), tools=()),
    row("seven", ("look", {}), tools=[{"name": "look", "parameters": {"type": "strange"}}]),
]


def made(folder: Path, rows: list[dict[str, Any]], *measures: str) -> Any:
    write_lines(folder / "chats.jsonl", rows)
    small = 'model small: model<chat, tools> from openai("small")\n' if "small" in str(measures) else ""
    found = project(folder, small + ROWS + evaluation(*measures), HEAD)
    assert synth("run", "made.recipe", cwd=folder).status == 0
    return found


def test_calls_of_rows_fit_their_definitions(tmp_path: Path) -> None:
    found = made(tmp_path, GOOD + BAD, "tool_calls_valid(at_least = 50%)").measures(status=0)
    assert values(found, "tool_calls_valid", "dataset") == (50.0, 8)
    reasons = [each["reason"] for each in found["tool_calls_valid", "dataset"]["examples"]]
    assert [reason.split(":")[0] for reason in reasons] == [
        "there is no tool `lock`",
        "`pay`",
        "there is no tool `look`",
        "the parameters of `look` are no JSON Schema",
    ]


def test_definitions_of_others_hang_nothing(tmp_path: Path) -> None:
    """Nor do they make it fetch anything."""
    fork = {f"n{n}": {"anyOf": [{"$ref": f"#/$defs/n{n + 1}"}] * 2} for n in range(40)}
    forked = {"parameters": {"$ref": "#/$defs/n0", "$defs": {**fork, "n40": {"type": "string"}}}}
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (
            tool("f", a={"pattern": "^(a|a)*$"}),
            {"a": "a" * 40 + "!"},
            "its call cannot be judged by its schema: its pattern `^(a|a)*$` takes too long",
        ),
        (tool("f", a={"uniqueItems": True}), {"a": [{"x": n} for n in range(3000)]}, ""),
        (tool("f", a={"uniqueItems": True}), {"a": [{"x": 1}, {"x": 1.0}]}, "has non-unique elements"),
        (tool("f", a={"$ref": "http://127.0.0.1:1/x"}), {"a": 1}, "Unresolvable: http://127.0.0.1:1/x"),
        (forked, {"a": 1}, "its call cannot be judged by its schema: that takes too much work"),
        (tool("f", a={"pattern": "^[a-c]+$"}), {"a": "abd"}, "'abd' does not match '^[a-c]+$'"),
    ]
    rows = [
        row(str(n), ("f", given), tools=[{"name": "f", **defined}])
        for n, (defined, given, _) in enumerate(cases)
    ]
    found = made(tmp_path, rows, "tool_calls_valid(at_least = 1%)").measures(status=0)
    reasons = [each["reason"] for each in found["tool_calls_valid", "dataset"]["examples"]]
    assert len(reasons) == 5
    assert all(
        said in reason for said, reason in zip((each[2] for each in cases if each[2]), reasons, strict=True)
    )


def student(asked: Asked) -> Any:
    """Right on the first two messages, another argument, another tool, and words."""
    ask = next(text for role, text in asked.messages if role == "user")
    if asked.results:
        return Calling((("pay", {"amount": 2}),)) if ask == "one" else "Done."
    return {
        "one": Calling((("look", {"number": "A-1", "depth": 1}),)),
        "two": Calling((("look", {"number": "A-9"}), ("pay", {"amount": 1.5}))),
        "three": "I would pay.",
    }[ask]


def test_a_student_that_always_calls_is_wrong_where_no_call_is_wanted(tmp_path: Path) -> None:
    chats = [row("one", ("look", {"number": "A-1"})), row("hello"), {**row("bare"), "tools": None}]
    # What is said behind a result is not asked for, and an answer to a user is.
    chats[0]["messages"] += [{"role": "user", "content": "thanks"}, chats[0]["messages"][-1]]
    folder = made(tmp_path, chats, "tool_accuracy(student = small, at_least = 90%)")
    with OpenAIServer(answer=lambda asked: Calling((("look", {"number": "A-1"}),))) as server:
        found = folder.measures(env=served(server))
    assert values(found, "tool_accuracy", "small") == (100 / 3, 3)
    reasons = [each["reason"] for each in found["tool_accuracy", "small"]["examples"]]
    assert reasons == ["calls `look`, and the row calls nothing"] * 2


def test_a_student_makes_the_calls_of_the_rows_with_the_tools_of_each(tmp_path: Path) -> None:
    measures = [f"{name}(student = small, at_least = 90%)" for name in ("tool_calls_valid", "tool_accuracy")]
    folder = made(tmp_path, GOOD, *measures)
    with OpenAIServer(answer=student) as server:
        found = folder.measures(env=served(server))
        asked = server.total
        again = folder.measures(env=served(server))
        assert server.total == asked, "what was asked is in the log"
    assert again == found
    assert values(found, "tool_accuracy", "small") == (50.0, 4)
    reasons = [each["reason"] for each in found["tool_accuracy", "small"]["examples"]]
    assert reasons == [
        'calls `look` with another `number`: "A-9", not "A-2"',
        "calls no tool and says `I would pay.`",
    ]
    assert values(found, "tool_calls_valid", "small") == (100.0, 4)
    assert all(received.body["tools"] == [LOOK, PAY] for received in server.received)
