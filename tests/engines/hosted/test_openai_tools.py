"""The openai engine with tools: what it sends, beside what the client would, and what it makes of calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import openai
import pytest

from synth.base.canonical import canonical_json
from synth.base.errors import EngineError
from synth.compiler.plan.models import Sampling
from synth.compiler.stdlib.tool_results import told
from synth.runtime.engines.base import Call, Completion, Message, ToolCall
from synth.runtime.engines.hosted.openai import OpenAIEngine
from tests.engines.hosted.openai_door import Door, completion, reply
from tests.kit.servers.asking import SECRET, ask, call, failure, spec
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.openai import OpenAIServer
from tests.kit.servers.tools import UNKNOWN, Calling, together

pytestmark = pytest.mark.usefixtures("openai_environment")

LOOKUP = {
    "type": "object",
    "properties": {"number": {"type": "string"}, "deep": {"type": "array", "items": {"type": "integer"}}},
    "required": ["number"],
}
TOOLS = tuple(
    {"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": LOOKUP}}
    for name in ("lookup", "refund")
)


def with_tools(*messages: Message, **changes: Any) -> Call:
    asked = replace(call("Where is A-1?", **changes), tools=TOOLS)
    return replace(asked, messages=(*asked.messages, *messages))


def answered(server: OpenAIServer, **message: Any) -> Completion:
    """What is made of a response with this message."""
    reply(server, completion(message.pop("content", None), **message))
    return ask(Door(server), with_tools())


def wire(name: Any = "lookup", arguments: Any = '{"number": "A-1"}', **more: Any) -> dict[str, Any]:
    return {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def test_what_is_sent_is_what_the_client_would_send(openai_server: OpenAIServer) -> None:
    asked = with_tools(
        Message("model", "", (ToolCall("lookup", {"b": [1.5, None], "a": "é"}), ToolCall("refund", {}))),
        Message("tool", '{"state":"sent"}', name="lookup"),
        Message("tool", "", name="refund"),
        Message("model", "One more.", (ToolCall("lookup", {"number": "A-2"}),)),
        Message("tool", told(None, "there is no A-2"), name="lookup"),
        system="Look things up.",
    )
    ask(Door(openai_server), asked)

    def called(number: int, name: str, arguments: str) -> Any:
        function = {"name": name, "arguments": arguments}
        return {"id": f"call{number:05}", "type": "function", "function": function}

    messages: Any = [
        {"role": "system", "content": "Look things up."},
        {"role": "user", "content": "Where is A-1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [called(1, "lookup", '{"a":"é","b":[1.5,null]}'), called(2, "refund", "{}")],
        },
        {"role": "tool", "tool_call_id": "call00001", "content": '{"state":"sent"}'},
        {"role": "tool", "tool_call_id": "call00002", "content": ""},
        {
            "role": "assistant",
            "content": "One more.",
            "tool_calls": [called(3, "lookup", '{"number":"A-2"}')],
        },
        {"role": "tool", "tool_call_id": "call00003", "content": '{"error":"there is no A-2"}'},
    ]

    async def by_the_client() -> None:
        async with openai.AsyncOpenAI(max_retries=0, base_url=openai_server.base_url) as client:
            tools: Any = TOOLS
            await client.chat.completions.create(model="model-x", messages=messages, tools=tools, seed=7)

    asyncio.run(by_the_client())
    ours, theirs = openai_server.received
    assert ours.body == theirs.body
    assert (ours.status, theirs.status) == (200, 200)


def test_a_call_without_tools_is_asked_as_before(openai_server: OpenAIServer) -> None:
    ask(Door(openai_server), call())
    assert "tools" not in openai_server.received[0].body
    reply(openai_server, completion(None, tool_calls=[wire()]))
    assert "it has `tool_calls`" in str(failure(Door(openai_server), call()))


def test_tools_of_the_services_own_go_along(openai_server: OpenAIServer) -> None:
    search = {"type": "web_search"}
    door = Door(openai_server, extra_body={"tools": [search], "tool_choice": "required"})
    ask(door, with_tools())
    assert openai_server.received[0].body["tools"] == [*TOOLS, search]
    assert openai_server.received[0].body["tool_choice"] == "required"


def test_tools_cannot_be_left_out_of_a_request() -> None:
    with pytest.raises(EngineError, match="option `omit` is wrong"):
        OpenAIEngine(spec("openai", omit=["tools"]))


def test_a_dialogue_goes_through_all_tools(openai_server: OpenAIServer) -> None:
    asked, seen = with_tools(), []
    for _ in TOOLS:
        answer = ask(Door(openai_server), asked)
        assert (answer.text, answer.finish_reason, answer.malformed) == ("", "stop", None)
        (called,) = answer.calls
        seen.append(called.name)
        turn = (Message("model", answer.text, answer.calls), Message("tool", "done", name=called.name))
        asked = replace(asked, messages=(*asked.messages, *turn))
    last = ask(Door(openai_server), asked)
    assert last.text.startswith("You are")
    assert last.calls == ()
    assert seen == ["lookup", "refund"]


def test_calls_beside_text_and_thinking(openai_server: OpenAIServer) -> None:
    openai_server.answer = together
    answer = ask(Door(openai_server), with_tools())
    assert [each.name for each in answer.calls] == ["lookup", "refund"]
    assert answer.text == "Let me look."
    openai_server.answer = lambda asked: Calling((("lookup", '{"number": "A-1"}'),), thought="An order.")
    answer = ask(Door(openai_server), with_tools())
    assert (answer.text, answer.thought) == ("", "An order.")
    assert answer.calls == (ToolCall("lookup", {"number": "A-1"}),)


@pytest.mark.parametrize("word", ["tool_calls", "stop", "function_call", "TOOL_CALLS", "tool_use"])
@pytest.mark.parametrize("shape", ["today", "legacy", "objects"])
def test_servers_say_calls_in_several_ways(openai_server: OpenAIServer, word: str, shape: str) -> None:
    function = {"name": "lookup", "arguments": '{"number": "A-1", "deep": [1]}'}
    message: dict[str, Any] = {"tool_calls": [{"function": function}]}
    if shape == "legacy":
        message = {"function_call": function, "tool_calls": []}
    elif shape == "objects":
        message = {"tool_calls": [wire(arguments=json.loads(function["arguments"]))]}
    body = completion(None, **message)
    body["choices"][0]["finish_reason"] = word
    reply(openai_server, body)
    answer = ask(Door(openai_server), with_tools())
    assert answer.calls == (ToolCall("lookup", {"deep": [1], "number": "A-1"}),)
    # In the order in which the log keeps them.
    assert list(answer.calls[0].arguments) == ["deep", "number"]
    assert answer.finish_reason == "stop"
    assert bool(answer.odd) == (shape == "objects")


@pytest.mark.parametrize("nothing", ["", " ", None, "{}", {}])
def test_no_arguments_are_none(openai_server: OpenAIServer, nothing: Any) -> None:
    assert answered(openai_server, tool_calls=[wire(arguments=nothing)]).calls == (ToolCall("lookup", {}),)


DEEP = "[" * 10_000 + "]" * 10_000
MALFORMED = {
    "not_json": (wire(arguments='{"number": '), "`lookup` is called with arguments that are not JSON"),
    "python": (wire(arguments="{'number': 1}"), "are not JSON"),
    "list": (wire(arguments="[1]"), "arguments that are a list in place of an object"),
    "null": (wire(arguments="null"), "are null in place of an object"),
    "number": (wire(arguments=7), "are a number in place of an object"),
    "text_of_text": (wire(arguments='"{}"'), "are a text in place of an object"),
    "two": (wire(arguments="{}{}"), "have something behind their JSON"),
    "twice": (wire(arguments='{"a": {"b": 1, "b": 2}}'), "name `b` twice"),
    "surrogates": (wire(arguments='{"\\ud800": 1, "\\udfff": 2}'), "name a key twice"),
    "nan": (wire(arguments='{"a": NaN}'), "are not JSON"),
    "endless": (wire(arguments='{"a": 1e400}'), "hold a number that is none, or too large"),
    "long_number": (wire(arguments='{"a": ' + "9" * 5000 + "}"), "hold a number that is none"),
    "beyond": (wire(arguments='{"a": [9223372036854775808]}'), "hold a whole number of more than 64 bits"),
    "below": (wire(arguments={"a": -(2**63) - 1}), "hold a whole number of more than 64 bits"),
    "parsed": (wire(arguments={"a": 10**400}), "hold a number that is none, or too large"),
    "long": (wire(arguments={"a": "é" * (1 << 19)}), "arguments that are 1,048,584 bytes of JSON"),
    "deep": (wire(arguments='{"a": ' + DEEP + "}"), "are nested more than 64 deep"),
    "rather_deep": (wire(arguments='{"a": ' + "[" * 70 + "]" * 70 + "}"), "more than 64 deep"),
    "no_name": (wire(name=None), "call 1 has no name"),
    "blank_name": (wire(name=" "), "call 1 has no name"),
    "name_is_a_list": (wire(name=["lookup"]), "call 1 has a list in place of a name"),
    "long_name": (wire(name="x" * 100_000), "call 1 has a name of 100,000 characters"),
    "no_function": ({"id": "x", "type": "custom", "custom": {"name": "a"}}, "call 1 is not of a function"),
    "text": ("lookup", "call 1 is a text instead of an object"),
    "null_call": (None, "call 1 is null instead of an object"),
}


@pytest.mark.parametrize("which", MALFORMED)
def test_what_is_no_call_is_malformed_and_kept(openai_server: OpenAIServer, which: str) -> None:
    given, clause = MALFORMED[which]
    answer = answered(openai_server, content="Let me look.", tool_calls=[given, wire()])
    assert answer.calls == ()
    assert answer.malformed is not None
    assert clause in answer.malformed
    assert len(answer.malformed) < 200
    assert answer.text.startswith("Let me look.\n[")
    assert json.loads(answer.text.removeprefix("Let me look.\n"))
    assert answer.prompt_tokens == 11


def test_what_is_not_a_list_is_malformed(openai_server: OpenAIServer) -> None:
    answer = answered(openai_server, tool_calls={"0": wire()})
    assert answer.malformed == "`tool_calls` is an object instead of a list"


@pytest.mark.parametrize("calls", [{}, {"tool_calls": [wire()]}])
def test_a_call_in_the_text_says_that_the_server_needs_a_parser(
    openai_server: OpenAIServer, calls: dict[str, Any]
) -> None:
    said = '<tool_call>\n{"name": "lookup", "arguments": {"number": "A-1"}}\n</tool_call>'
    answer = answered(openai_server, content=said, **calls)
    clause = "the answer has `<tool_call>` in what it says: the server needs a tool parser for this model"
    assert (answer.malformed, answer.calls) == (clause, ())
    assert answer.text.startswith(said)
    reply(openai_server, completion(said))
    assert ask(Door(openai_server), call()).malformed is None, "it was given no tools"
    bare = answered(openai_server, content='```json\n{"name": "lookup", "parameters": {}}\n```')
    assert "writes a call of `lookup`" in str(bare.malformed)
    spoken = answered(openai_server, content='`{"name": ...}` is JSON, and {"name": "Ada"} too.')
    assert spoken.malformed is None


def test_a_json_answer_may_name_a_tool(openai_server: OpenAIServer) -> None:
    plan = '{"name": "lookup", "arguments": {}}'
    reply(openai_server, completion(plan))
    answer = ask(Door(openai_server), with_tools(schema={"type": "object"}))
    assert (answer.text, answer.malformed) == (plan, None)


def test_ended_with_calls_and_without_any(openai_server: OpenAIServer) -> None:
    body = completion("<tool_call>")
    body["choices"][0]["finish_reason"] = "tool_calls"
    reply(openai_server, body)
    answer = ask(Door(openai_server), with_tools())
    assert answer.malformed == "the service says that tools are called, and gives no call"
    assert answer.text == "<tool_call>"


@pytest.mark.parametrize(
    ("arguments", "clause"),
    [
        ('{"number": "A', "the answer was cut at the limit of tokens in the middle of a call"),
        ("{}", "the answer was cut at the limit of tokens after `lookup` was called"),
    ],
)
def test_calls_that_were_cut(openai_server: OpenAIServer, arguments: str, clause: str) -> None:
    openai_server.answer = lambda asked: Calling((("lookup", arguments),), cut=True)
    answer = ask(Door(openai_server), with_tools())
    assert (answer.finish_reason, answer.calls, answer.malformed) == ("length", (), clause)
    assert "lookup" in answer.text


def test_unknown_names_and_odd_texts_are_calls(openai_server: OpenAIServer) -> None:
    arguments = '{"text": "a\\u0000b \\ud800 \\ud83d\\ude00 ' + "x" * 1_000_000 + '"}'
    (called,) = answered(openai_server, tool_calls=[wire("look\nup \ud800", arguments)]).calls
    assert called.name == "look\nup \ufffd"
    assert called.arguments["text"].startswith("a\0b \ufffd 😀 x")
    canonical_json(called.arguments).encode()
    # A service takes no such name back.
    ask(
        Door(openai_server),
        with_tools(Message("model", "", (called,)), Message("tool", "no", name=called.name)),
    )
    sent = openai_server.received[-1].body["messages"][1]["tool_calls"][0]["function"]
    assert sent["name"] == "look_up__"


def test_a_thousand_calls_are_a_thousand(openai_server: OpenAIServer) -> None:
    answer = answered(openai_server, tool_calls=[wire(arguments=f'{{"number": "{n}"}}') for n in range(1000)])
    assert [each.arguments["number"] for each in answer.calls] == [str(n) for n in range(1000)]


def test_what_was_sent_is_hidden_in_calls(openai_server: OpenAIServer) -> None:
    answer = answered(openai_server, tool_calls=[wire(SECRET, json.dumps({SECRET: [f"a {SECRET}"]}))])
    assert SECRET not in repr(answer)
    malformed = answered(openai_server, tool_calls=[wire(SECRET, f"{{{SECRET}")])
    assert malformed.malformed is not None
    assert SECRET not in repr(malformed)


def test_googles_signature_goes_back_with_its_call(openai_server: OpenAIServer) -> None:
    signed = {"google": {"thought_signature": "c2lnbmVk"}}
    answer = answered(openai_server, tool_calls=[wire(extra_content=signed), wire(extra_content="odd")])
    turn = (
        Message("model", "", (*answer.calls, ToolCall("lookup", {}, "bare"))),
        *[Message("tool", "x", name="lookup")] * 3,
    )
    ask(Door(openai_server), with_tools(*turn))
    sent = openai_server.received[-1].body["messages"][1]["tool_calls"]
    assert [each.get("extra_content") for each in sent] == [signed, None, None]


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("bad_arguments", lambda answer: "not JSON" in answer.malformed),
        ("unknown_tool", lambda answer: answer.calls[0].name == UNKNOWN),
        ("cut_call", lambda answer: "cut" in answer.malformed),
        (None, lambda answer: answer.calls[0].name == "lookup"),
    ],
)
def test_the_servers_faults(
    openai_server: OpenAIServer, fault: Fault | None, check: Callable[[Completion], bool]
) -> None:
    openai_server.faults = FaultPlan(script=(fault,))
    assert check(ask(Door(openai_server), with_tools(sampling=Sampling(max_tokens=50))))


def test_the_server_is_as_strict_as_the_service(openai_server: OpenAIServer) -> None:
    calls = (ToolCall("lookup", {}), ToolCall("refund", {}))
    one = Message("tool", "x", name="lookup")
    for wrong in (
        (Message("model", "", calls), one),
        (Message("model", "", calls),),
        (one,),
    ):
        assert failure(Door(openai_server), with_tools(*wrong)).kind == "bad_request"
