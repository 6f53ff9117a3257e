"""The openai engine, by the real client, against a loopback server."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.errors import AccessDenied, EngineError, ExtraMissing, KeyMissing
from synth.base.text import valid_text
from synth.compiler.plan.model import Sampling
from synth.runtime.engines.base import Call, Engine, Message
from synth.runtime.engines.hosted import openai_client
from synth.runtime.engines.hosted.openai import OpenAIEngine
from synth.runtime.engines.hosted.openai_client import address
from synth.runtime.engines.hosted.openai_schema import rooted_in_object, strict, unrooted
from synth.runtime.engines.wire.fields import wait_of
from tests.kit.servers.asking import SECRET, ask, call, failure, shown, spec
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.loopback import Raw
from tests.kit.servers.openai import OpenAIServer

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 80}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


class Door:
    """Makes engines that talk to a server."""

    def __init__(self, server: OpenAIServer, **options: Any) -> None:
        self.options = {"base_url": server.base_url, **options}

    def __call__(self) -> OpenAIEngine:
        return OpenAIEngine(spec("openai", **self.options))


def completion(text: Any, **message: Any) -> dict[str, Any]:
    """A response body with this content."""
    return {
        "model": "model-x-0613",
        "choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5},
    }


def reply(server: OpenAIServer, body: Any, status: int = 200, **headers: str) -> None:
    """From now on the server answers everything with this."""
    raw = Raw(body, status, {name.replace("_", "-"): value for name, value in headers.items()})
    server.answer = lambda asked: raw


def error_body(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


# Who it is, and what it needs


def test_it_is_an_engine_that_names_itself(openai_server: OpenAIServer) -> None:
    engine = Door(openai_server, concurrency=9)()
    assert isinstance(engine, Engine)
    assert str(engine.identity) == "openai:model-x"
    assert engine.identity.template is None
    assert engine.capabilities == {"chat", "json"}
    assert (engine.concurrency, engine.adaptive) == (9, True)
    assert engine.version.startswith("openai 3.")
    assert engine.render([Message("user", "hello")]) is None


@pytest.mark.parametrize("module", ["openai", "aiohttp"])
def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=rf"`{module}`.*pip install 'openai"):
        OpenAIEngine(spec("openai"))


def test_without_a_key_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(KeyMissing, match="OPENAI_API_KEY"):
        OpenAIEngine(spec("openai"))
    with pytest.raises(KeyMissing, match="OTHER_KEY"):
        OpenAIEngine(spec("openai", base_url="http://127.0.0.1:1/v1", api_key_env="OTHER_KEY"))


def test_a_server_of_ones_own_needs_no_key(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ask(Door(openai_server), call()).text.startswith("You are")
    assert openai_server.received[0].credential == "unused"


def test_the_clients_own_variable_gives_the_address(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.delenv("OPENAI_API_KEY")
    ask(lambda: OpenAIEngine(spec("openai")), call())
    assert openai_server.total == 1


def test_the_key_comes_from_the_variable_that_is_named(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", " sk-other\n")
    ask(Door(openai_server, api_key_env="OTHER_KEY"), call())
    assert openai_server.received[0].credential == "sk-other"


# What the transport sets, and what the client counts for each request.
TRANSPORT = {
    *("host", "connection", "content-length", "accept-encoding"),
    *("x-stainless-read-timeout", "x-stainless-retry-count"),
}


def sent_headers(server: OpenAIServer) -> dict[str, str]:
    """The last request's headers, by lower-case name."""
    found = {name.lower(): value for name, value in server.received[-1].headers.items()}
    return {name: value for name, value in found.items() if name not in TRANSPORT}


@pytest.mark.parametrize("given_by", ["option", "environment"])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-1"},
        {"OPENAI_ORG_ID": "", "OPENAI_ADMIN_KEY": "sk-admin"},
        {"OPENAI_CUSTOM_HEADERS": "X-Team: blue \nno colon\n X-Empty :\nX-Url: http://a:1"},
        {"OPENAI_CUSTOM_HEADERS": "authorization: Bearer other\nuser-agent: mine"},
        {"OPENAI_ORG_ID": "org-1", "OPENAI_CUSTOM_HEADERS": "openai-organization: org-2\nACCEPT: a/b"},
    ],
)
def test_what_is_said_is_what_the_client_would_say(
    openai_server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    slash: str,
    given_by: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    url = openai_server.base_url + slash
    if given_by == "environment":
        monkeypatch.setenv("OPENAI_BASE_URL", url)
    given: dict[str, Any] = {"base_url": url} if given_by == "option" else {}

    async def by_the_client() -> None:
        async with openai.AsyncOpenAI(max_retries=0, **given) as client:
            messages: Any = [{"role": "user", "content": "Hello"}]
            await client.chat.completions.create(model="model-x", messages=messages)

    asyncio.run(by_the_client())
    theirs = sent_headers(openai_server)
    ask(lambda: OpenAIEngine(spec("openai", **given)), call("Hello"))
    assert openai_server.total == 2
    assert sent_headers(openai_server) == theirs


def test_without_an_address_it_goes_where_the_client_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert address(None) + "/" == str(openai.OpenAI(api_key="k").base_url)
    monkeypatch.setenv("OPENAI_BASE_URL", " ")
    assert address(None) + "/" == openai_client.DEFAULT_URL + "/"


def test_an_address_in_the_environment_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000")
    with pytest.raises(EngineError, match="OPENAI_BASE_URL is no address"):
        ask(lambda: OpenAIEngine(spec("openai")), call())


def test_the_client_is_not_imported(openai_server: OpenAIServer) -> None:
    script = """
import asyncio, sys
from synth.runtime.engines.hosted.openai import OpenAIEngine
from tests.servers.asking import ask, call, spec
print(ask(lambda: OpenAIEngine(spec("openai", base_url=sys.argv[1])), call()).text)
assert "aiohttp" in sys.modules and "openai" not in sys.modules
"""
    command = [sys.executable, "-c", script, openai_server.base_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert openai_server.total == 1


def test_a_key_with_odd_characters_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\u2026")
    with pytest.raises(EngineError, match="the key in OPENAI_API_KEY") as caught:
        OpenAIEngine(spec("openai"))
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurency": 3}, "no option `concurency`; did you mean `concurrency`"),
        ({"concurrency": 0}, "option `concurrency` is wrong: it has to be 1 or more"),
        ({"json_mode": "yaml"}, "option `json_mode` is wrong: .*'schema', 'object' or 'prompt'"),
        ({"base_url": "localhost:8000"}, "option `base_url` is wrong"),
        ({"api_key": SECRET}, "no option `api_key`"),
    ],
)
def test_a_wrong_option_is_named_but_its_value_is_not(options: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=f"^model `author`: .*{said}") as caught:
        OpenAIEngine(spec("openai", **options))
    assert SECRET not in shown(caught.value)


def test_asking_before_the_start_is_a_fault_of_the_program(openai_server: OpenAIServer) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        asyncio.run(Door(openai_server)().generate(call()))


# What goes over the wire


def test_what_is_sent_by_default(openai_server: OpenAIServer) -> None:
    ask(Door(openai_server), call("Hello"))
    sent = openai_server.received[0]
    assert sent.credential == SECRET
    assert sent.body == {
        "model": "model-x",
        "messages": [{"role": "user", "content": "Hello"}],
        "seed": 7,
    }


@pytest.mark.parametrize("field", ["max_completion_tokens", "max_tokens"])
def test_sampling_and_roles_are_sent(openai_server: OpenAIServer, field: str) -> None:
    sampling = Sampling(temperature=0.3, top_p=0.9, top_k=40, max_tokens=50, stop=("\n\n", "END"))
    asked = Call(
        key="key",
        messages=(Message("system", "s"), Message("user", "u"), Message("model", "m"), Message("user", "v")),
        token_ids=None,
        schema=None,
        sampling=sampling,
        seed=2**64 - 1,
    )
    ask(Door(openai_server, max_tokens_field=field), asked)
    assert openai_server.received[0].body == {
        "model": "model-x",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "m"},
            {"role": "user", "content": "v"},
        ],
        "seed": 2**63 - 1,
        "temperature": 0.3,
        "top_p": 0.9,
        "top_k": 40,
        field: 50,
        "stop": ["\n\n", "END"],
    }


def test_a_schema_is_sent_strictly(openai_server: OpenAIServer) -> None:
    answer = ask(Door(openai_server), call(schema=PERSON))
    assert openai_server.received[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": PERSON, "strict": True},
    }
    assert set(json.loads(answer.text)) == {"name", "age"}


@pytest.mark.parametrize(
    ("mode", "schema", "sent"),
    [
        ("object", PERSON, {"type": "json_object"}),
        ("object", {"type": "array", "items": PERSON}, None),
        ("prompt", PERSON, None),
    ],
)
def test_weaker_json_modes(openai_server: OpenAIServer, mode: str, schema: Any, sent: Any) -> None:
    ask(Door(openai_server, json_mode=mode), call(schema=schema))
    assert openai_server.received[0].body.get("response_format") == sent


def test_a_list_travels_in_an_object_and_comes_back_as_a_list(openai_server: OpenAIServer) -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/person"}, "$defs": {"person": PERSON}}
    answer = ask(Door(openai_server), call(schema=schema))
    form = openai_server.received[0].body["response_format"]["json_schema"]
    assert form["schema"]["type"] == "object"
    assert form["schema"]["$defs"] == {"person": PERSON}
    assert form["strict"] is True
    assert [set(person) for person in json.loads(answer.text)] == [{"name", "age"}] * 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_what_is_wrapped_is_unwrapped(value: Any) -> None:
    assert json.loads(unrooted(json.dumps({"value": value}))) == value


@given(st.text())
def test_text_that_was_not_wrapped_stays_as_it_is(text: str) -> None:
    assert unrooted(text) == text


def test_hopelessly_nested_text_stays_as_it_is() -> None:
    assert unrooted("[" * 200_000) == "[" * 200_000


@pytest.mark.parametrize(
    "change",
    [
        {"additionalProperties": True},
        {"required": ["name"]},
        {"oneOf": [PERSON]},
        {"properties": {"name": {"type": "object"}, "age": {"type": "integer"}}},
        {"properties": {"name": {"type": "array", "items": {"not": {}}}, "age": {"type": "integer"}}},
        {"properties": {"name": {"anyOf": [{"allOf": []}]}, "age": {"type": "integer"}}},
        {"$defs": {"other": {"type": "string", "default": ""}}},
    ],
)
def test_a_schema_that_strict_mode_would_refuse_is_sent_as_advice(change: dict[str, Any]) -> None:
    assert strict(PERSON)
    assert not strict(PERSON | change)
    assert rooted_in_object(PERSON | change) == PERSON | change


# What comes back


def test_what_a_completion_holds(openai_server: OpenAIServer) -> None:
    body = completion("I am a clock.")
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 8}
    reply(openai_server, body)
    answer = ask(Door(openai_server), call())
    assert (answer.text, answer.finish_reason) == ("I am a clock.", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (11, 5, 8)
    assert answer.served_by == "model-x-0613"
    assert answer.latency_ms >= 0


def test_an_answer_cut_at_the_limit_says_so(openai_server: OpenAIServer) -> None:
    answer = ask(Door(openai_server), call(sampling=Sampling(max_tokens=3)))
    assert (len(answer.text), answer.finish_reason) == (12, "length")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"completion_tokens_details": {"reasoning_tokens": 4}}, (11, 5, 0, 4)),
        ({"prompt_cache_hit_tokens": 3}, (11, 5, 3, 0)),
        ({"cached_tokens": 3}, (11, 5, 3, 0)),
        ({"total_tokens": 16}, (11, 5, 0, 0)),
        # Thinking that only the total has, as some services count it.
        ({"total_tokens": 46}, (11, 35, 0, 30)),
        ({"total_tokens": 46, "completion_tokens_details": {"reasoning_tokens": 30}}, (11, 35, 0, 30)),
        # Parts are no larger than the whole; what cannot be is not said.
        ({"prompt_tokens_details": {"cached_tokens": 900}}, (11, 5, 11, 0)),
        ({"prompt_tokens_details": {"cached_tokens": -9}}, (11, 5, 0, 0)),
        ({"completion_tokens_details": {"reasoning_tokens": 10**30}}, (11, 5, 0, 0)),
        ({"prompt_tokens": -3, "completion_tokens": "many"}, (0, 0, 0, 0)),
        ({"prompt_tokens": 10**15, "completion_tokens": True}, (0, 0, 0, 0)),
        ({"prompt_tokens": 11.0}, (11, 5, 0, 0)),
        ({"prompt_tokens_details": None, "completion_tokens_details": []}, (11, 5, 0, 0)),
    ],
)
def test_usage_is_read_as_servers_give_it(
    openai_server: OpenAIServer, usage: dict[str, Any], expected: tuple[int, ...]
) -> None:
    body = completion("Yes.")
    body["usage"].update(usage)
    reply(openai_server, body)
    answer = ask(Door(openai_server), call())
    found = answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens, answer.reasoning_tokens
    assert found == expected


@pytest.mark.parametrize(("status", "lost"), [(500, True), (504, True), (503, False), (429, False)])
def test_a_failure_says_whether_it_may_have_been_paid_for(
    openai_server: OpenAIServer, status: int, lost: bool
) -> None:
    openai_server.answer = lambda asked: Raw("{}", status)
    assert failure(Door(openai_server), call()).lost == lost


def test_usage_may_be_missing(openai_server: OpenAIServer) -> None:
    reply(openai_server, {"choices": [{"message": {"content": "Yes."}}], "usage": None})
    answer = ask(Door(openai_server), call())
    assert (answer.text, answer.prompt_tokens, answer.served_by) == ("Yes.", 0, None)


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_an_empty_answer_is_tried_again_and_was_paid_for(openai_server: OpenAIServer, text: Any) -> None:
    reply(openai_server, completion(text))
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable) == ("empty", True)
    assert (failed.prompt_tokens, failed.completion_tokens) == (11, 5)


def test_an_answer_that_reasoning_used_up_is_not_paid_for_twice(openai_server: OpenAIServer) -> None:
    body = completion("")
    body["choices"][0]["finish_reason"] = "length"
    reply(openai_server, body)
    failed = failure(Door(openai_server), call(sampling=Sampling(max_tokens=5)))
    assert (failed.kind, failed.retryable) == ("empty", False)
    assert "raise max_tokens" in str(failed)


def test_refusals_are_final(openai_server: OpenAIServer) -> None:
    reply(openai_server, completion(None, refusal="I cannot help with that."))
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable, failed.completion_tokens) == ("refused", False, 5)
    assert "I cannot help" in str(failed)

    body = completion("You are a")
    body["choices"][0]["finish_reason"] = "content_filter"
    reply(openai_server, body)
    assert failure(Door(openai_server), call()).kind == "refused"


@pytest.mark.parametrize(
    "body",
    [
        "<html>upstream connect error</html>",
        "",
        "[]",
        "null",
        "[" * 200_000,
        {"choices": []},
        {"choices": "none"},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": [{"type": "image_url", "image_url": {}}]}}]},
        {"choices": [{"message": {"content": 4}}]},
    ],
)
def test_a_body_that_is_no_completion_is_tried_again(openai_server: OpenAIServer, body: Any) -> None:
    reply(openai_server, body)
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable) == ("malformed", True)


# What goes wrong


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, "timeout"), (409, "server"), (500, "server"), (503, "server"), (504, "timeout"), (529, "server")],
)
def test_a_fault_of_the_server_is_tried_again_by_the_runtime_alone(
    openai_server: OpenAIServer, status: int, kind: str
) -> None:
    reply(openai_server, error_body("overloaded"), status, Retry_After="3")
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable, failed.retry_after) == (kind, True, 3.0)
    assert openai_server.total == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "20"}, 20.0),
        ({"Retry_After": "0.5"}, 0.5),
        ({"Retry_After": "20", "retry_after_ms": "1250"}, 1.25),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "inf"}, None),
        ({"Retry_After": "-1"}, 0.0),
        ({"Retry_After": "5", "retry_after_ms": "1e999"}, 5.0),
        ({}, None),
    ],
)
def test_a_rate_limit_says_how_long(
    openai_server: OpenAIServer, headers: dict[str, str], seconds: float | None
) -> None:
    reply(openai_server, error_body("slow down", "rate_limit_exceeded"), 429, **headers)
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable, failed.retry_after) == ("rate_limit", True, seconds)
    assert openai_server.total == 1


def test_a_date_to_wait_for_is_counted_from_now() -> None:
    header = {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert wait_of(header, now=1_445_412_450.0) == 30.0


@given(st.text(), st.text(alphabet="0123456789.eE+-infaINFA "))
def test_no_header_makes_an_endless_wait(after: str, milliseconds: str) -> None:
    wait = wait_of({"retry-after": after, "retry-after-ms": milliseconds}, now=0.0)
    assert wait is None or 0.0 <= wait < float("inf")


@pytest.mark.parametrize("fault", ["drop", "cut"])
def test_a_dropped_connection_is_tried_again(openai_server: OpenAIServer, fault: Fault) -> None:
    openai_server.faults = FaultPlan(script=(fault,))
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable) == ("connection", True)
    assert openai_server.total == 1


def test_nobody_listening() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        failed = failure(lambda: OpenAIEngine(spec("openai", base_url=url)), call())
    assert (failed.kind, failed.retryable) == ("connection", True)


def test_silence_is_a_timeout(openai_server: OpenAIServer) -> None:
    openai_server.latency_s = 60.0
    failed = failure(Door(openai_server, timeout=0.2), call())
    assert (failed.kind, failed.retryable) == ("timeout", True)


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (400, "too many", "context_length_exceeded", "too_long"),
        (400, "This model's maximum context length is 4096 tokens.", None, "too_long"),
        (413, "request entity too large", None, "too_long"),
        (400, "Unsupported parameter: 'top_k'", "unsupported_parameter", "bad_request"),
        (422, "seed: value is not an integer", None, "bad_request"),
        (400, "flagged", "content_policy_violation", "refused"),
    ],
)
def test_a_request_that_is_refused_fails_alone(
    openai_server: OpenAIServer, status: int, message: str, code: str | None, kind: str
) -> None:
    reply(openai_server, error_body(message, code), status)
    failed = failure(Door(openai_server), call())
    assert (failed.kind, failed.retryable) == (kind, False)
    assert message in str(failed)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "invalid_api_key", "refused the key for openai model `model-x`.*check OPENAI_API_KEY"),
        (403, None, "refused the key"),
        (404, "model_not_found", "knows no openai model `model-x`.*base_url"),
        (402, None, "no credit left"),
        (429, "insufficient_quota", "no credit left"),
    ],
)
def test_a_refused_key_or_model_says_with_what_a_run_stops(
    openai_server: OpenAIServer, status: int, code: str | None, said: str
) -> None:
    reply(openai_server, error_body(f"the key {SECRET} will not do", code), status)
    with pytest.raises(AccessDenied) as caught:
        ask(Door(openai_server), call())
    assert re.search(said, caught.value.verdict)
    assert "\n" not in caught.value.verdict
    assert caught.value.final == ("credit" in said)
    assert SECRET not in caught.value.verdict + shown(caught.value)


def test_a_server_that_echoes_the_key_does_not_get_it_logged(openai_server: OpenAIServer) -> None:
    reply(openai_server, error_body(f"no such project\nfor {SECRET}, sorry" + "." * 1000), 400)
    failed = failure(Door(openai_server), call())
    assert str(failed).startswith("no such project for [key], sorry")
    assert len(str(failed)) < 400
    assert SECRET not in shown(failed)


def test_a_key_that_an_answer_escapes_as_json_is_hidden(openai_server: OpenAIServer) -> None:
    escaped = "".join(f"\\u{ord(each):04X}" for each in SECRET)
    openai_server.answer = lambda asked: f'{{"said": "{escaped[:6]}{SECRET[1:]} and {escaped}"}}'
    assert ask(Door(openai_server), call()).text == '{"said": "[key] and [key]"}'


@pytest.mark.parametrize("place", [f"http://{SECRET.upper()}.example/x", f"{SECRET}:x"])
def test_a_key_in_the_place_that_a_redirect_names_is_not_told(
    openai_server: OpenAIServer, place: str
) -> None:
    reply(openai_server, b"", 307, Location=place)
    with pytest.raises(AccessDenied, match="another host") as caught:
        ask(Door(openai_server), call())
    assert SECRET.casefold() not in (caught.value.verdict + shown(caught.value)).casefold()


@pytest.mark.parametrize("body", ["<html>bad gateway</html>", "[1]", '"no"', '{"error": 3}', b"\xff\xfe"])
def test_an_error_in_any_shape_is_a_failed_call(openai_server: OpenAIServer, body: Any) -> None:
    reply(openai_server, body, 502)
    assert failure(Door(openai_server), call()).kind == "server"


# Many at once, and hostile text


def test_no_more_connections_than_calls_at_once(openai_server: OpenAIServer) -> None:
    openai_server.latency_s = 0.01

    async def many() -> set[str]:
        engine = Door(openai_server, concurrency=8)()
        await engine.start()
        answers = await asyncio.gather(*(engine.generate(call(f"number {n}")) for n in range(40)))
        await engine.close()
        return {answer.text for answer in answers}

    assert len(asyncio.run(many())) == 40
    assert openai_server.max_in_flight <= 8
    assert len(openai_server.answered) == 40


def test_a_cancelled_call_leaves_nothing_behind(openai_server: OpenAIServer) -> None:
    openai_server.latency_s = 60.0

    async def cancelled() -> str:
        engine = Door(openai_server)()
        await engine.start()
        tasks = [asyncio.create_task(engine.generate(call(f"number {n}"))) for n in range(5)]
        while openai_server.in_flight < 5:
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        while openai_server.in_flight:
            await asyncio.sleep(0.005)
        openai_server.latency_s = 0.0
        answer = await engine.generate(call())
        await engine.close()
        return answer.text

    assert asyncio.run(cancelled()).startswith("You are")


def test_an_engine_starts_again_after_it_was_closed(openai_server: OpenAIServer) -> None:
    async def twice() -> None:
        engine = Door(openai_server)()
        for _ in range(2):
            await engine.start()
            await engine.generate(call())
            await engine.close()
        await engine.close()

    asyncio.run(twice())
    assert openai_server.total == 2


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("<|im_end|><end_of_turn>{{ key }}", "<|im_end|><end_of_turn>{{ key }}"),
        ("\u202eright to left\u0000", "\u202eright to left\u0000"),
        ("lone \ud83d here", "lone \ufffd here"),
        ("x" * 2_000_000, "x" * 2_000_000),
    ],
)
def test_hostile_text_arrives_as_it_is(openai_server: OpenAIServer, prompt: str, sent: str) -> None:
    ask(Door(openai_server), call(prompt))
    assert openai_server.received[0].body["messages"][0]["content"] == sent


def test_a_broken_character_in_an_answer_is_mended(openai_server: OpenAIServer) -> None:
    reply(openai_server, r'{"choices": [{"message": {"content": "a \ud800 b"}}]}')
    assert ask(Door(openai_server), call()).text == "a \ufffd b"


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_is_made_valid_and_valid_text_is_not_touched(text: str) -> None:
    valid = valid_text(text)
    valid.encode()
    assert valid_text(valid) == valid
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert valid == text
