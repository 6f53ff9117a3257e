"""The openai engine: who it is, what it needs and what it sends, against the real client."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.errors import EngineError, ExtraMissing, KeyMissing
from synth.compiler.plan.models import Sampling
from synth.runtime.engines.base import Call, Engine, Message
from synth.runtime.engines.hosted import openai_client
from synth.runtime.engines.hosted.openai import OpenAIEngine
from synth.runtime.engines.hosted.openai_client import address
from synth.runtime.engines.hosted.openai_schema import rooted_in_object, strict, unrooted
from tests.engines.hosted.openai_door import Door
from tests.kit.servers.asking import SECRET, ask, call, shown, spec
from tests.kit.servers.openai import OpenAIServer

pytestmark = pytest.mark.usefixtures("openai_environment")

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 80}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


# Who it is, and what it needs


def test_it_is_an_engine_that_names_itself(openai_server: OpenAIServer) -> None:
    engine = Door(openai_server, concurrency=9)()
    assert isinstance(engine, Engine)
    assert str(engine.identity) == "openai:model-x"
    assert engine.identity.template is None
    assert engine.capabilities == {"chat", "json", "tools"}
    assert (engine.concurrency, engine.adaptive) == (9, True)
    assert engine.version.startswith("synth ")
    assert engine.render([Message("user", "hello")]) is None


@pytest.mark.parametrize("module", ["openai", "aiohttp"])
def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=rf"`{module}`.*pip install .*'openai"):
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


# What the transport sets.
TRANSPORT = {"host", "connection", "content-length", "accept-encoding"}


def sent_headers(server: OpenAIServer) -> dict[str, str]:
    """The last request's headers, by lower-case name."""
    found = {name.lower(): value for name, value in server.received[-1].headers.items()}
    return {
        name: value
        for name, value in found.items()
        if name not in TRANSPORT and not name.startswith("x-stainless-")
    }


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
    ours = sent_headers(openai_server)
    if "user-agent" not in variables.get("OPENAI_CUSTOM_HEADERS", ""):
        # Who calls is said as it is.
        assert theirs.pop("user-agent").startswith("AsyncOpenAI/")
        assert re.fullmatch(r"synth/\S+ aiohttp/\S+", ours.pop("user-agent"))
    assert ours == theirs


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
from tests.kit.servers.asking import ask, call, spec
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
