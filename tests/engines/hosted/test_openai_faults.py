"""The openai engine: what goes wrong, and many calls at once, against a loopback server."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.errors import AccessDenied
from synth.runtime.engines.hosted.openai import OpenAIEngine
from synth.runtime.engines.wire.fields import wait_of
from tests.engines.hosted.openai_door import Door, error_body, reply
from tests.kit.servers.asking import SECRET, ask, call, failure, shown, spec
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.openai import OpenAIServer

pytestmark = pytest.mark.usefixtures("openai_environment")

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
