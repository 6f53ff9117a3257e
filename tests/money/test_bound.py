"""Money while a run goes on: what calls cost, what is counted here, and a bound that is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from synth.runtime.money.prices import Price
from tests.kit.payloads import kinds_in
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import Result, one_sentence, query, synth

RECIPE = """edition 1
recipe x { seed = 1 }
param n: count = 40
model w: model<chat> from openai("writer") { max_tokens = 50 }
conversation c times n {
  turn q: user = "Question {{ nth }}"
  turn a: model by w { prompt = "{{ q }}, please." }
}
export t: messages from c to "out/t"
"""
PRICES = """
[models.w]
backend = "openai"
id = "writer"
concurrency = 32
[prices.writer]
input = 100.0
output = 1000.0
"""


def run(
    folder: Path, server: OpenAIServer, *arguments: str, toml: str = PRICES, recipe: str = RECIPE
) -> Result:
    (folder / "x.recipe").write_text(recipe)
    (folder / "synth.toml").write_text(toml)
    env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
    return synth("run", "x.recipe", *arguments, cwd=folder, env=env)


def counting(
    server: OpenAIServer, usage: Mapping[str, Any] | None, text: str = "An answer.", thought: str = ""
) -> None:
    """Has a server answer with this usage."""

    def answer(asked: Asked) -> Raw:
        body = server.completion(asked, f"{text} {asked.key}", cut=False)
        body["choices"][0]["message"]["reasoning_content"] = thought
        return Raw({**body, "usage": usage})

    server.answer = answer


def charged(server: OpenAIServer) -> list[float]:
    """Has a server keep a bill of what it answers, by the prices of the tests; of what is lost as well."""
    bill: list[float] = []
    complete = server.completion

    def completion(asked: Asked, text: str, *, cut: bool) -> dict[str, Any]:
        body = complete(asked, text, cut=cut)
        bill.append((body["usage"]["prompt_tokens"] * 100 + body["usage"]["completion_tokens"] * 1000) / 1e6)
        return body

    server.completion = completion  # type: ignore[method-assign]
    return bill


@pytest.mark.parametrize("order", [(10, 50), (50, 10)])
def test_the_highest_tier_that_a_prompt_reaches_counts(order: tuple[int, int]) -> None:
    rates = {10: {"over": 10, "input": 2.0, "output": 3.0}, 50: {"over": 50, "input": 7.0, "output": 3.0}}
    price = Price.model_validate({"input": 1.0, "output": 3.0, "tiers": [rates[over] for over in order]})
    assert [price.cost(tokens, 0) * 1e6 for tokens in (10, 40, 100)] == [10, 80, 700]


def test_cached_and_reasoning_tokens_have_their_prices(tmp_path: Path, openai_server: OpenAIServer) -> None:
    counting(
        openai_server,
        {
            "prompt_tokens": 10_000,
            "completion_tokens": 120,
            "total_tokens": 10_120,
            "prompt_tokens_details": {"cached_tokens": 9_000},
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
    )
    toml = PRICES + "cached_input = 10.0\nreasoning = 500.0\n"
    report = run(tmp_path, openai_server, "--set", "n=3", "--json", toml=toml).json()
    a_call = (1_000 * 100 + 9_000 * 10 + 20 * 1000 + 100 * 500) / 1e6
    assert report["cost"] == pytest.approx(3 * a_call)
    (model,) = report["models"]
    assert (model["cached_tokens"], model["reasoning_tokens"]) == (27_000, 300)
    assert model["prices"] == "synth.toml"
    payloads = query(
        tmp_path / "synth.duckdb",
        "SELECT payload FROM events WHERE kind IN ('call.completed', 'run.started') ORDER BY seq",
    )
    started, *calls = (json.loads(payload) for (payload,) in payloads)
    assert [(call["cached_tokens"], call["reasoning_tokens"]) for call in calls] == [(9_000, 100)] * 3
    rates = {"input": 100.0, "output": 1000.0, "cached_input": 10.0, "reasoning": 500.0}
    assert started["prices"]["w"] == {"by": "synth.toml", **rates}
    (sample,) = {name for (name,) in query(tmp_path / "synth.duckdb", "SELECT min(sample_id) FROM events")}
    story = synth("show", sample, cwd=tmp_path).out
    assert "10000 tokens in (messages, 9000 cached), 120 out (100 reasoning), " in story
    assert synth("materialize", "x.recipe", "--set", "n=3", cwd=tmp_path).status == 0
    card = (tmp_path / "out/t/README.md").read_text()
    assert f"Money spent by the runs of this recipe: {report['cost']:g}.  Prices: `w` by synth.toml." in card
    # What is not given for a part costs what the whole does.
    (tmp_path / "synth.duckdb").unlink()
    plain = run(tmp_path, openai_server, "--set", "n=3", "--json").json()
    assert plain["cost"] == pytest.approx(3 * (10_000 * 100 + 120 * 1000) / 1e6)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -7, "completion_tokens": 10**15}])
def test_what_the_service_does_not_count_is_counted_here(
    tmp_path: Path, openai_server: OpenAIServer, usage: dict[str, int] | None
) -> None:
    counting(openai_server, usage, "Nine words of an answer that everybody can count.")
    result = run(tmp_path, openai_server, "--set", "n=400", "--max-cost", "0.3", "--json")
    assert result.status == 3, result.err
    report = result.json()
    assert 0.1 < report["cost"] <= 0.3
    (model,) = report["models"]
    assert model["estimated"] == model["completed"] < 400
    assert 25 <= model["completion_tokens"] / model["completed"] <= 35
    calls = query(
        tmp_path / "synth.duckdb",
        "SELECT prompt_tokens, payload ->> 'estimated' FROM events WHERE kind = 'call.completed'",
    )
    assert all(tokens > 0 and estimated == "true" for tokens, estimated in calls)
    out = run(tmp_path, openai_server, "--set", "n=400", "--max-cost", "0.2").out
    assert "they are estimated" in out
    assert "prices by synth.toml" in out


def test_thinking_that_the_service_does_not_count_is_counted_as_well(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    counting(openai_server, None, "Short.", thought="Long thinking goes on. " * 40)
    (model,) = run(tmp_path, openai_server, "--set", "n=2", "--json").json()["models"]
    assert model["completion_tokens"] / 2 > 200


def test_money_never_passes_its_bound(tmp_path: Path, openai_server: OpenAIServer) -> None:
    """With 32 calls at once; near the bound there are fewer, and most of it is used."""
    bill = charged(openai_server)
    openai_server.latency_s = 0.02
    result = run(tmp_path, openai_server, "--set", "n=2000", "--max-cost", "2", "--json")
    assert result.status == 3, result.err
    report = result.json()
    assert report["outcome"] == "out_of_budget"
    assert report["reason"].startswith("--max-cost 2 reached: ")
    assert 1.8 < sum(bill) <= 2
    assert report["cost"] == pytest.approx(sum(bill))
    assert openai_server.max_in_flight > 8
    more = run(tmp_path, openai_server, "--set", "n=2000", "--max-cost", "0.5", "--json").json()
    assert more["cohorts"]["c"]["found"] == report["cohorts"]["c"]["completed"]
    assert report["cost"] + more["cost"] == pytest.approx(sum(bill))


def test_an_answer_that_is_lost_is_charged_what_it_can_have_cost(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    bill = charged(openai_server)
    openai_server.faults = FaultPlan(
        {"drop": 0.15, "cut": 0.1, "garbled": 0.1, "rate_limit": 0.1}, retry_after=0
    )
    result = run(tmp_path, openai_server, "--set", "n=2000", "--max-cost", "2", "--json")
    assert result.status == 3, result.err
    report = result.json()
    assert sum(bill) <= report["cost"] <= 2
    (model,) = report["models"]
    assert model["lost"] > 0
    assert model["lost_cost"] == pytest.approx(model["lost"] * 0.05, rel=0.2)
    lost = query(
        tmp_path / "synth.duckdb",
        "SELECT sum(CAST(payload ->> 'lost_cost' AS DOUBLE)), count(payload ->> 'lost_cost') FROM events",
    )
    assert lost == [(pytest.approx(model["lost_cost"]), model["lost"])]
    assert "call.failed" in kinds_in(tmp_path / "synth.duckdb")
    failed = report["failures"]
    assert model["lost"] == sum(failed.values()) - failed["rate_limit"], (
        "a call that is turned away costs nothing"
    )


def test_a_service_that_counts_more_than_it_was_sent_is_found_out(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    """A prompt of the service's own, thousands of tokens long: one call shows it."""
    counting(openai_server, {"prompt_tokens": 10_000, "completion_tokens": 20, "total_tokens": 10_020})
    openai_server.latency_s = 0.05
    report = run(tmp_path, openai_server, "--max-cost", "5", "--json").json()
    assert report["cost"] == pytest.approx(4 * (10_000 * 100 + 20 * 1000) / 1e6)
    assert report["cost"] <= 5


def test_without_a_limit_of_tokens_the_models_own_is_reserved(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    recipe = RECIPE.replace(" { max_tokens = 50 }", "")
    toml = PRICES + "output_limit = 400\n"
    report = run(tmp_path, openai_server, "--max-cost", "0.5", "--json", toml=toml, recipe=recipe).json()
    assert 0.05 < report["cost"] <= 0.5
    assert openai_server.max_in_flight == 1
    assert "less with `max_tokens`" in report["reason"]
    unsent = toml.replace('id = "writer"', 'id = "writer"\nomit = ["max_tokens"]')
    again = run(tmp_path, openai_server, "--max-cost", "0.5", "--json", toml=unsent).json()
    assert 0.05 < again["cost"] <= 0.5
    assert openai_server.max_in_flight == 1, "a limit that is not sent limits nothing"
    none = run(tmp_path, openai_server, "--max-cost", "0.5", "--json", recipe=recipe).json()
    assert none["cost"] == 0, "the longest answer of any model costs more than this bound"


def test_a_bound_that_cannot_bind_is_no_secret(tmp_path: Path, openai_server: OpenAIServer) -> None:
    unknown = run(tmp_path, openai_server, "--max-cost", "1", toml="")
    assert "none of `w` (openai:writer) is known" in one_sentence(unknown, 1)
    assert openai_server.total == 0
    simulated = run(tmp_path, openai_server, "--set", "n=2", "--simulate", "--max-cost", "1", toml="")
    assert simulated.status == 0
    assert "--max-cost 1 binds nothing" in simulated.err


def test_an_evaluation_keeps_its_bound(tmp_path: Path, openai_server: OpenAIServer) -> None:
    recipe = RECIPE.replace(' to "out/t"', ' to "out/t" { split = 20% }')
    recipe += "evaluation e of t { emoji(at_most = 0%) }\n"
    assert run(tmp_path, openai_server, recipe=recipe).status == 0
    bill = charged(openai_server)
    env = {"OPENAI_BASE_URL": openai_server.base_url, "OPENAI_API_KEY": "k"}
    student = ("evaluate", "x.recipe", "--student", "openai:writer", "--max-cost", "0.6")
    (tmp_path / "synth.toml").write_text(f"{PRICES}output_limit = 60\n")
    result = synth(*student, "--json", cwd=tmp_path, env=env)
    assert result.status == 3, result.err
    assert 0.1 < sum(bill) <= 0.6
    (asked,) = result.json()["runs"]
    assert asked["cost"] == pytest.approx(sum(bill))
    assert asked["outcome"] == "out_of_budget"
    (tmp_path / "synth.toml").write_text("")
    assert "(openai:writer) is known" in one_sentence(synth(*student, cwd=tmp_path, env=env), 1)
