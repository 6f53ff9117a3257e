"""The gemini engine with tools: what it sends, beside what the client would, and what it makes of calls."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from google.genai import Client, errors, types

from synth.compiler.stdlib.tool_results import told
from synth.runtime.engines.base import Call, Completion, Message, ToolCall
from synth.runtime.engines.hosted.gemini import GeminiEngine
from synth.runtime.engines.hosted.gemini_tools import FOREIGN
from tests.engines.hosted.gemini_door import Door, error_body, reply, response
from tests.kit.servers.asking import SECRET, ask, call, failure, spec
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.gemini import GeminiServer, signature
from tests.kit.servers.tools import UNKNOWN, Calling, together

pytestmark = pytest.mark.usefixtures("gemini_environment")

LOOKUP = {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]}
TOOLS = tuple(
    {"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": LOOKUP}}
    for name in ("lookup", "refund")
)
SIGNED = base64.b64encode(b"signed").decode()


def with_tools(*messages: Message, **changes: Any) -> Call:
    asked = replace(call("Where is A-1?", **changes), tools=TOOLS)
    return replace(asked, messages=(*asked.messages, *messages))


def answered(server: GeminiServer, *parts: Any, **more: Any) -> Completion:
    """What is made of a response with these parts."""
    reply(server, response(*parts, **more))
    return ask(Door(server), with_tools())


def part(name: Any = "lookup", args: Any = None, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {} if args is None else args}, **more}


def test_what_is_sent_is_what_the_client_would_send(gemini_server: GeminiServer) -> None:
    gemini_server.answer = lambda asked: "Fine."
    first = {"name": "lookup", "args": {"a": "é", "b": [1.5, None]}}
    signed = signature(first)
    second = signature({"name": "lookup", "args": {}})
    gemini_server.signatures |= {signed, second}
    asked = with_tools(
        Message("model", "", (ToolCall("lookup", first["args"], signed), ToolCall("refund", {}))),  # type: ignore[arg-type]
        Message("tool", '{"state":"sent"}', name="lookup"),
        Message("tool", "on its way", name="refund"),
        Message("model", "One more.", (ToolCall("lookup", {}, second),)),
        Message("tool", told(None, "there is no A-2"), name="lookup"),
        system="Look things up.",
    )
    ask(Door(gemini_server), asked)

    def result(name: str, value: dict[str, Any]) -> types.Part:
        return types.Part(function_response=types.FunctionResponse(name=name, response=value))

    def calls(name: str, args: dict[str, Any], sign: str | None = None) -> types.Part:
        call_ = types.FunctionCall(name=name, args=args)
        return types.Part(
            function_call=call_, thought_signature=None if sign is None else base64.b64decode(sign)
        )

    contents: Any = [
        types.Content(role="user", parts=[types.Part(text="Where is A-1?")]),
        types.Content(role="model", parts=[calls("lookup", first["args"], signed), calls("refund", {})]),  # type: ignore[arg-type]
        types.Content(
            role="user",
            parts=[result("lookup", {"state": "sent"}), result("refund", {"output": "on its way"})],
        ),
        types.Content(role="model", parts=[types.Part(text="One more."), calls("lookup", {}, second)]),
        types.Content(role="user", parts=[result("lookup", {"error": "there is no A-2"})]),
    ]
    declared = [
        types.FunctionDeclaration(name=name, description=f"Does {name}.", parameters_json_schema=LOOKUP)
        for name in ("lookup", "refund")
    ]

    options = types.HttpOptions(
        base_url=gemini_server.base_url, retry_options=types.HttpRetryOptions(attempts=1)
    )
    with Client(api_key="k", vertexai=False, http_options=options) as client, suppress(errors.ClientError):
        client.models.generate_content(
            model="model-x",
            contents=contents,
            config=types.GenerateContentConfig(
                system_instruction=types.Content(parts=[types.Part(text="Look things up.")]),
                tools=[types.Tool(function_declarations=declared)],
                seed=7,
                automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            ),
        )
    ours, theirs = gemini_server.received
    assert plain(ours.body) == plain(theirs.body)
    assert ours.status == 200


def plain(body: Any) -> Any:
    """A body as the protocol's documentation spells it: the client writes one name as the protocol's buffers
    have it, and bytes in the alphabet of addresses."""
    text = json.dumps(body, sort_keys=True).replace("parameters_json_schema", "parametersJsonSchema")
    for each in body["contents"]:
        for piece in each["parts"]:
            if (given := piece.get("thoughtSignature")) is not None:
                text = text.replace(given, given.replace("-", "+").replace("_", "/"))
    return json.loads(text)


def test_a_schema_goes_along_with_tools(gemini_server: GeminiServer) -> None:
    schema = {"type": "object", "properties": {"state": {"type": "string"}}, "required": ["state"]}
    answer = ask(Door(gemini_server), with_tools(schema=schema))
    assert [each.name for each in answer.calls] == ["lookup"]
    body = gemini_server.received[0].body
    assert body["generationConfig"]["responseJsonSchema"] == schema
    assert [each["name"] for each in body["tools"][0]["functionDeclarations"]] == ["lookup", "refund"]
    message = "Function calling with a response mime type: 'application/json' is unsupported"
    reply(gemini_server, error_body(400, "INVALID_ARGUMENT", message), 400)
    failed = failure(Door(gemini_server), with_tools(schema=schema))
    assert '`omit = ["response_format"]` under [models.author]' in str(failed)


def test_a_call_without_tools_is_asked_as_before(gemini_server: GeminiServer) -> None:
    ask(Door(gemini_server), call())
    assert "tools" not in gemini_server.received[0].body
    reply(gemini_server, response(part()))
    assert "it has `functionCall`" in str(failure(Door(gemini_server), call()))
    reply(gemini_server, response(finish="MALFORMED_FUNCTION_CALL"))
    assert failure(Door(gemini_server), call()).kind == "malformed"


def test_tools_of_the_services_own_go_along(gemini_server: GeminiServer) -> None:
    door = Door(gemini_server, extra_body={"tools": [{"googleSearch": {}}]})
    ask(door, with_tools())
    first, second = gemini_server.received[0].body["tools"]
    assert "functionDeclarations" in first
    assert second == {"googleSearch": {}}


def test_a_dialogue_goes_through_all_tools_with_their_signatures(gemini_server: GeminiServer) -> None:
    asked, seen = with_tools(), []
    for _ in TOOLS:
        answer = ask(Door(gemini_server), asked)
        assert (answer.text, answer.finish_reason, answer.malformed) == ("", "stop", None)
        (called,) = answer.calls
        assert called.signature is not None
        seen.append(called.name)
        turn = (Message("model", answer.text, answer.calls), Message("tool", "done", name=called.name))
        asked = replace(asked, messages=(*asked.messages, *turn))
    last = ask(Door(gemini_server), asked)
    assert last.text.startswith("You are")
    assert seen == ["lookup", "refund"]
    assert gemini_server.received[-1].body["contents"][1]["parts"][0]["thoughtSignature"]


def test_calls_beside_text_and_thinking(gemini_server: GeminiServer) -> None:
    gemini_server.answer = together
    answer = ask(Door(gemini_server), with_tools())
    assert [(each.name, each.signature is None) for each in answer.calls] == [
        ("lookup", False),
        ("refund", True),
    ]
    assert answer.text == "Let me look."
    gemini_server.answer = lambda asked: Calling((("lookup", {"number": "A-1"}),), thought="An order.")
    answer = ask(Door(gemini_server), with_tools())
    assert (answer.text, answer.thought) == ("", "An order.")
    assert [(each.name, each.arguments) for each in answer.calls] == [("lookup", {"number": "A-1"})]


@pytest.mark.parametrize(
    ("given", "clause"),
    [
        (part(args=[1]), "`lookup` is called with arguments that are a list in place of an object"),
        (part(args="{}"), "call 1 has a text in place of arguments"),
        (part(name=None), "call 1 has no name"),
        (part(name={"a": 1}), "call 1 has an object in place of a name"),
        (part(args={"a": [[[[float("inf")]]]]}), "hold a number that is none"),
        ({"functionCall": ["lookup"]}, "call 1 is a list instead of an object"),
        ({"functionCall": 5, "text": "So."}, "call 1 is a number instead of an object"),
    ],
)
def test_what_is_no_call_is_malformed_and_kept(gemini_server: GeminiServer, given: Any, clause: str) -> None:
    answer = answered(gemini_server, {"text": "Let me look."}, given, part(thoughtSignature=SIGNED))
    assert answer.calls == ()
    assert answer.malformed is not None
    assert clause in answer.malformed
    assert answer.text.startswith("Let me look.")
    assert '"lookup"' in answer.text
    assert answer.prompt_tokens == 11


@pytest.mark.parametrize(
    ("word", "clause"),
    [
        ("MALFORMED_FUNCTION_CALL", "the service cannot read what was called"),
        ("UNEXPECTED_TOOL_CALL", "the service says that what was called is no tool that it was given"),
    ],
)
def test_what_the_service_cannot_read_is_malformed(
    gemini_server: GeminiServer, word: str, clause: str
) -> None:
    reply(gemini_server, response(finish=word))
    said = "Malformed function call: print(lookup("
    body = response({"text": "So: "}, finish=word)
    body["candidates"][0]["finishMessage"] = said
    assert ask(Door(gemini_server), with_tools()).malformed == f"{clause} ({word})"
    reply(gemini_server, body)
    answer = ask(Door(gemini_server), with_tools())
    assert answer.text == f"So: \n{said}"


def test_calls_that_were_cut(gemini_server: GeminiServer) -> None:
    answer = answered(gemini_server, part(), finish="MAX_TOKENS")
    assert (answer.finish_reason, answer.calls) == ("length", ())
    assert answer.malformed == "the answer was cut at the limit of tokens after `lookup` was called"


def test_unknown_names_and_odd_texts_are_calls(gemini_server: GeminiServer) -> None:
    odd = {"b": "a\0\ud800" + "x" * 1_000_000, "a": SECRET}
    answer = answered(gemini_server, part("look\nup", odd), part("lookup", thoughtSignature=7))
    first, second = answer.calls
    gemini_server.answer = lambda asked: "Fine."
    assert list(first.arguments) == ["a", "b"]
    assert first.arguments["b"].startswith("a\0\ufffdx")
    assert SECRET not in repr(answer)
    assert second.signature is None
    turn = (Message("model", "", (first,)), Message("tool", "no", name=first.name))
    ask(Door(gemini_server), with_tools(*turn))
    sent = gemini_server.received[-1].body["contents"]
    assert sent[1]["parts"][0]["functionCall"]["name"] == "look_up"
    assert sent[2]["parts"][0]["functionResponse"] == {"name": "look_up", "response": {"output": "no"}}


@pytest.mark.parametrize(
    "value",
    [
        *("1e999", "-1e400", "NaN", "9" * 60, str(2**63), '"\\ud800"', "[" * 70 + "]" * 70),
        '1, "\\udfff": 2',
    ],
)
def test_a_result_that_no_request_can_hold_goes_as_text(gemini_server: GeminiServer, value: str) -> None:
    """What a tool says is anything at all; the service refuses a request that is not JSON as it reads it."""
    gemini_server.answer = lambda asked: "Fine."
    odd = f'{{"n": {value}}}'
    given = (ToolCall("lookup", {}), ToolCall("lookup", {}))
    results = [Message("tool", text, name="lookup") for text in (odd, '{"n": -9223372036854775808}')]
    answer = ask(Door(gemini_server), with_tools(Message("model", "", given), *results))
    assert answer.text == "Fine."
    first, second = gemini_server.received[-1].body["contents"][2]["parts"]
    assert first["functionResponse"]["response"] == {"output": odd}
    assert second["functionResponse"]["response"] == {"n": -(2**63)}


def test_calls_that_the_service_never_gave_are_marked(gemini_server: GeminiServer) -> None:
    """Those of another model or of a file; models before the third generation want no signature."""
    gemini_server.answer = lambda asked: "Fine."
    others = (ToolCall("lookup", {}, '{"google":{"thought_signature":"x"}}'), ToolCall("refund", {}))
    results = (Message("tool", "x", name="lookup"), Message("tool", "y", name="refund"))
    asked = with_tools(Message("model", "", others), *results)
    ask(Door(gemini_server), asked)
    parts = gemini_server.received[0].body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [FOREIGN, None]
    older = replace(spec("gemini", base_url=gemini_server.base_url), id="gemini-2.5-flash")
    failure(lambda: GeminiEngine(older), asked)
    assert "thoughtSignature" not in json.dumps(gemini_server.received[1].body)


@pytest.mark.parametrize("content", ['{"a": ', '{"a": NaN}', '{"a":1}{', "[1]", "12", "{" * 5000, '"x"'])
def test_what_is_no_object_is_wrapped_in_one(gemini_server: GeminiServer, content: str) -> None:
    gemini_server.answer = lambda asked: "Fine."
    signed = ToolCall("lookup", {})
    ask(
        Door(gemini_server),
        with_tools(Message("model", "", (signed,)), Message("tool", content, name="lookup")),
    )
    (sent,) = gemini_server.received[0].body["contents"][2]["parts"]
    assert sent["functionResponse"]["response"] == {"output": content}


@pytest.mark.parametrize("fault", ["bad_arguments", "unknown_tool", "cut_call", None])
def test_the_servers_faults(gemini_server: GeminiServer, fault: Fault | None) -> None:
    gemini_server.faults = FaultPlan(script=(fault,))
    if fault == "cut_call":
        assert failure(Door(gemini_server), with_tools()).kind == "empty"
        return
    answer = ask(Door(gemini_server), with_tools())
    if fault == "bad_arguments":
        assert "(MALFORMED_FUNCTION_CALL)" in str(answer.malformed)
        assert "Malformed function call: lookup(" in answer.text
    else:
        assert answer.calls[0].name == (UNKNOWN if fault else "lookup")
