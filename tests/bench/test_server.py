"""The server that the orchestration is measured against, and the work it is given."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.lib.server import Server
from bench.lib.workload import MOST_TRIES, Messages, card, is_card, persona, request, user
from synth.compiler.compile import compile_file
from synth.runtime.calls.validate import Accepted, validate
from tests.kit.support import PERSONA, ROOT


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def post(server: Server, messages: Messages, seed: int, wants_json: bool = False) -> str:
    body = json.dumps(request(messages, seed, wants_json)).encode()
    with urllib.request.urlopen(f"{server.url}/chat/completions", data=body, timeout=30) as response:
        text: str = json.load(response)["choices"][0]["message"]["content"]
    return text


def test_answers_depend_on_the_request_alone(server: Server) -> None:
    server.reset(latency_s=0.0)
    first = post(server, user("a"), 1)
    assert post(server, user("a"), 1) == first
    assert post(server, user("a"), 2) != first
    assert server.stats()["asked"] == server.stats()["answered"] == 3


def test_answers_fit_the_checks_of_the_persona_recipe(server: Server) -> None:
    server.reset(latency_s=0.0)
    plan = compile_file(PERSONA, {"base_revision": "0000000"}).plan
    steps = [step for step in plan.cohorts[0].steps if step.model is not None]
    assert len(steps) == 4
    for seed in range(40):
        text = post(server, user("persona"), seed)
        assert all(isinstance(validate(step, text, "stop"), Accepted) for step in steps)


def test_cards_fit_the_schema_of_their_recipe(server: Server) -> None:
    server.reset(latency_s=0.0)
    plan = compile_file(ROOT / "bench" / "recipes" / "cards.recipe").plan
    text = post(server, user("a card"), 1, wants_json=True)
    assert is_card(text)
    assert isinstance(validate(plan.cohorts[0].steps[0], text, "stop"), Accepted)


def test_one_card_in_ten_is_spoiled_once(server: Server) -> None:
    server.reset(latency_s=0.0, malformed=True)
    spoiled = [seed for seed in range(300) if not is_card(post(server, user("a card"), seed, True))]
    assert 15 <= len(spoiled) <= 50
    assert server.stats()["spoiled"] == len(spoiled)
    assert is_card(post(server, user("a card"), spoiled[0], True))
    server.reset(latency_s=0.0, malformed=True)
    assert [seed for seed in range(300) if not is_card(post(server, user("a card"), seed, True))] == spoiled


def test_no_more_are_served_at_once_than_there_are_slots(server: Server) -> None:
    server.reset(latency_s=0.05, slots=3)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda seed: post(server, user("a"), seed), range(12)))
    stats = server.stats()
    assert stats["most_busy"] == 3
    # Four rounds, one after the other, by the server's own clock.
    assert stats["seconds"] >= 4 * 0.05


def test_a_persona_is_a_chain_of_four_calls() -> None:
    asked: list[Messages] = []

    async def ask(messages: Messages, seed: int, wants_json: bool) -> str:
        asked.append(messages)
        return f"answer {len(asked)}"

    row = asyncio.run(persona(ask, 7))
    assert len(asked) == 4
    assert asked[1] == user("answer 1")
    assert "answer 1" in asked[2][0]["content"]
    assert [message["content"] for message in asked[3]] == ["answer 1", "answer 2", "answer 3"]
    assert [message["role"] for message in row] == ["user", "assistant", "user", "assistant"]


def test_a_card_is_asked_for_again_with_another_seed() -> None:
    seeds: list[int] = []

    async def ask(messages: Messages, seed: int, wants_json: bool) -> str:
        seeds.append(seed)
        return '{"name": "A", "age": 1, "trade": "b"}' if len(seeds) == 3 else '{"name": '

    asyncio.run(card(ask, 5))
    assert len(set(seeds)) == 3

    async def never(messages: Messages, seed: int, wants_json: bool) -> str:
        seeds.append(seed)
        return "no"

    seeds.clear()
    with pytest.raises(ValueError, match="sample 5"):
        asyncio.run(card(never, 5))
    assert len(seeds) == MOST_TRIES
