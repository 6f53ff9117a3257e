"""The gemini engine: what goes wrong, and many calls at once, against a loopback server."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import pytest

from synth.base.errors import AccessDenied
from synth.runtime.engines.hosted.gemini import GeminiEngine
from tests.engines.hosted.gemini_door import Door, error_body, reply
from tests.kit.servers.asking import SECRET, ask, call, failure, shown, spec
from tests.kit.servers.faults import Fault, FaultPlan
from tests.kit.servers.gemini import RETRY_INFO, GeminiServer

pytestmark = pytest.mark.usefixtures("gemini_environment")

# What goes wrong


@pytest.mark.parametrize(("status", "kind"), [(500, "server"), (503, "server"), (504, "timeout")])
def test_a_fault_of_the_server_is_tried_again_by_the_runtime_alone(
    gemini_server: GeminiServer, status: int, kind: str
) -> None:
    reply(gemini_server, error_body(status, "UNAVAILABLE"), status, Retry_After="3")
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable, failed.retry_after) == (kind, True, 3.0)
    assert gemini_server.total == 1


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([{"@type": "other"}, {"@type": RETRY_INFO, "retryDelay": "34.07s"}], {"Retry_After": "9"}, 34.07),
        ([{"@type": RETRY_INFO, "retryDelay": "soon"}], {"Retry_After": "9"}, 9.0),
        ([{"@type": RETRY_INFO, "retryDelay": "infs"}], {}, None),
        ([{"@type": []}, None, 3], {}, None),
    ],
)
def test_a_rate_limit_says_how_long(
    gemini_server: GeminiServer, details: list[Any], headers: dict[str, str], seconds: float | None
) -> None:
    reply(gemini_server, error_body(429, "RESOURCE_EXHAUSTED", "quota", *details), 429, **headers)
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable, failed.retry_after) == ("rate_limit", True, seconds)
    assert gemini_server.total == 1


@pytest.mark.parametrize("fault", ["drop", "cut"])
def test_a_dropped_connection_is_tried_again_by_the_runtime_alone(
    gemini_server: GeminiServer, fault: Fault
) -> None:
    gemini_server.faults = FaultPlan(script=(fault,))
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == ("connection", True)
    assert gemini_server.total == 1


def test_nobody_listening() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        failed = failure(lambda: GeminiEngine(spec("gemini", base_url=url)), call())
    assert (failed.kind, failed.retryable) == ("connection", True)


def test_silence_is_a_timeout(gemini_server: GeminiServer) -> None:
    gemini_server.latency_s = 60.0
    failed = failure(Door(gemini_server, timeout=0.2), call())
    assert (failed.kind, failed.retryable) == ("timeout", True)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("The input token count (9) exceeds the maximum number of tokens allowed (8).", "too_long"),
        ("Invalid value at 'generation_config.top_k'", "bad_request"),
    ],
)
def test_a_request_that_is_refused_fails_alone(gemini_server: GeminiServer, message: str, kind: str) -> None:
    reply(gemini_server, error_body(400, "INVALID_ARGUMENT", f"{message}\n{SECRET}"), 400)
    failed = failure(Door(gemini_server), call())
    assert (failed.kind, failed.retryable) == (kind, False)
    assert str(failed) == f"{message} [key]"
    assert SECRET not in shown(failed)


@pytest.mark.parametrize(
    ("status", "name", "said"),
    [
        (401, "UNAUTHENTICATED", "refused the key for gemini model `model-x`.*GEMINI_API_KEY"),
        (403, "PERMISSION_DENIED", "refused the key"),
        (404, "NOT_FOUND", "knows no gemini model `model-x`"),
        (400, "FAILED_PRECONDITION", "may not use gemini model `model-x`.*billing"),
    ],
)
def test_a_refused_key_or_model_says_with_what_a_run_stops(
    gemini_server: GeminiServer, status: int, name: str, said: str
) -> None:
    reply(gemini_server, error_body(status, name, f"{SECRET} will not do"), status)
    with pytest.raises(AccessDenied) as caught:
        ask(Door(gemini_server), call())
    assert re.search(said, caught.value.verdict)
    assert SECRET not in caught.value.verdict + shown(caught.value)


def test_a_wrong_key_is_known_by_its_reason(gemini_server: GeminiServer) -> None:
    gemini_server.credential = "the right one"
    with pytest.raises(AccessDenied) as caught:
        ask(Door(gemini_server), call())
    assert re.search(r"refused the key .* \(400: ", caught.value.verdict)
    assert SECRET not in caught.value.verdict + shown(caught.value)


@pytest.mark.parametrize("body", ["<html>bad gateway</html>", "[1]", '"no"', '{"error": 3}', b"\xff\xfe"])
def test_an_error_in_any_shape_is_a_failed_call(gemini_server: GeminiServer, body: Any) -> None:
    reply(gemini_server, body, 502)
    assert failure(Door(gemini_server), call()).retryable


# Many at once, and hostile text


def test_no_more_connections_than_calls_at_once(gemini_server: GeminiServer) -> None:
    gemini_server.latency_s = 0.01

    async def many() -> set[str]:
        engine = Door(gemini_server, concurrency=8)()
        await engine.start()
        answers = await asyncio.gather(*(engine.generate(call(f"number {n}")) for n in range(40)))
        await engine.close()
        return {answer.text for answer in answers}

    assert len(asyncio.run(many())) == 40
    assert gemini_server.max_in_flight <= 8
    assert len(gemini_server.answered) == 40


def test_a_cancelled_call_leaves_nothing_behind(gemini_server: GeminiServer) -> None:
    gemini_server.latency_s = 60.0

    async def cancelled() -> str:
        engine = Door(gemini_server)()
        await engine.start()
        tasks = [asyncio.create_task(engine.generate(call(f"number {n}"))) for n in range(5)]
        while gemini_server.in_flight < 5:
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        while gemini_server.in_flight:
            await asyncio.sleep(0.005)
        gemini_server.latency_s = 0.0
        answer = await engine.generate(call())
        await engine.close()
        return answer.text

    assert asyncio.run(cancelled()).startswith("You are")


def test_an_engine_starts_again_after_it_was_closed(gemini_server: GeminiServer) -> None:
    async def twice() -> None:
        engine = Door(gemini_server)()
        for _ in range(2):
            await engine.start()
            await engine.generate(call())
            await engine.close()
        await engine.close()

    asyncio.run(twice())
    assert gemini_server.total == 2
