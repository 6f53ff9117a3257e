"""The recipes over rows, as `synth init` makes them: simulated, and `tickets` against a service that errs."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import RECIPES, query, rows, synth
from tests.runtime.test_run import assert_counts_add_up

TICKETS = {row["id"]: row for row in rows(RECIPES / "data/tickets.jsonl")}
# Planted for the rules of the recipe: too short, nearly a copy, of no category, without a text.
LEFT_OUT = {"T-1037", "T-1038", "T-1039", "T-1040"}


def made(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a recipe that was run: materialized, verified, and replayed to the same samples."""
    for command in (("materialize", f"{name}.recipe"), ("replay", f"{name}.recipe")):
        result = synth(*command, cwd=folder)
        assert result.status == 0, result.err
    (out,) = (folder / "out").iterdir()
    assert synth("verify", f"out/{out.name}", "--log", "synth.duckdb", cwd=folder).status == 0
    return rows(out / "train.jsonl")


def simulated(folder: Path, name: str) -> list[dict[str, Any]]:
    assert synth("init", "--from", name, cwd=folder).status == 0
    ran = synth("run", f"{name}.recipe", "--simulate", cwd=folder)
    assert ran.status == 0, ran.err
    return made(folder, name)


def test_every_passage_has_two_cards_that_quote_it(tmp_path: Path) -> None:
    found = simulated(tmp_path, "pages")
    logged = "SELECT payload -> 'values' FROM events WHERE kind = 'source.ingested'"
    passages = [json.loads(values) for (values,) in query(tmp_path / "synth.duckdb", logged)]
    assert len(passages) == 10
    counts = Counter(row["document"] for row in found)
    assert counts == {name: 2 * n for name, n in Counter(each["document"] for each in passages).items()}
    for row in found:
        texts = [" ".join(each["text"].split()) for each in passages if each["document"] == row["document"]]
        assert isinstance(row["difficulty"], int)
        assert 1 <= len(row["quotes"]) <= 3
        assert any(all(" ".join(quote.split()) in text for quote in row["quotes"]) for text in texts)
    assert len({row["messages"][0]["content"] for row in found}) == len(found)


def test_every_round_of_a_question_is_a_row(tmp_path: Path) -> None:
    found = simulated(tmp_path, "evolved")
    first = [row for row in found if row["source"] == "first"]
    assert [row["source"] for row in found] == ["first"] * 25 + ["second"] * 25, "one part after the other"
    asked = [row["messages"][0]["content"] for row in first]
    assert [row["before"] for row in found] == [None] * 25 + asked
    assert {row["way"] for row in found} == {"deeper", "concrete", "steps"}


def test_tasks_are_made_after_tasks(tmp_path: Path) -> None:
    found = simulated(tmp_path, "self_instruct")
    tasks = {row["id"]: row["instruction"] for row in rows(RECIPES / "data/tasks.jsonl")}
    assert Counter(row["task"] for row in found) == dict.fromkeys(tasks, 3)
    assert set(Counter(row["kind"] for row in found).values()) == {12}, "each kind is drawn as often"


def test_better_answers_to_conversations_that_are_there(tmp_path: Path) -> None:
    found = simulated(tmp_path, "distill")
    chats = {row["id"]: row["messages"] for row in rows(RECIPES / "data/chats.jsonl")}
    assert [row["chat"] for row in found] == list(chats)
    for row in found:
        before, answer = row["messages"][:-1], row["messages"][-1]
        assert [m["content"] for m in before] == [m["content"] for m in chats[row["chat"]][:-1]]
        assert [m["weight"] for m in before] == [0] * len(before)
        assert answer["weight"] == 1
        assert answer["content"] != chats[row["chat"]][-1]["content"]


def said(asked: Asked) -> str:
    """A fifth of the customers repeat the ticket as it is."""
    prompt = asked.messages[-1][1]
    if "impatient customer" in prompt and int(asked.key[:4], 16) % 5 == 0:
        return prompt.partition("in other words: ")[2]
    return f"Sentence {asked.key[:12]} of the service."


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after a run on a service that errs."""
    folder = tmp_path_factory.mktemp("tickets")
    assert synth("init", "--from", "tickets", cwd=folder).status == 0
    faults = FaultPlan(rates={"rate_limit": 0.05, "server_error": 0.05}, retry_after=0.01)
    with OpenAIServer(answer=said, faults=faults) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        ran = synth("run", "tickets.recipe", "--json", cwd=folder, env=environment)
        assert ran.status == 0, ran.err
        total = server.total
        assert_counts_add_up(ran.json(), folder / "synth.duckdb")
        again = synth("run", "tickets.recipe", cwd=folder, env=environment)
        assert again.status == 0, again.err
        assert server.total == total, "nothing is asked twice"
    return folder


def test_every_ticket_is_there_once_with_what_was_known_of_it(tickets: Path) -> None:
    found = made(tickets, "tickets")
    assert [row["ticket"] for row in found] == [name for name in TICKETS if name not in LEFT_OUT]
    for row in found:
        ticket = TICKETS[row["ticket"]]
        assert (row["category"], row["licence"]) == (ticket["category"], ticket.get("licence"))
        assert json.loads(row["others"]) == {"opened": ticket["opened"]}
        assert (row["javanese"] is None) == (ticket["category"] == "other")
        roles = [(message["role"], message["weight"]) for message in row["messages"]]
        assert roles == [("system", 0), ("user", 0), ("assistant", 1)]
        assert row["messages"][1]["content"] != ticket["body"]
    card = (tickets / "out/tickets/README.md").read_text("utf-8")
    assert 'license: "cc-by-4.0"' in card


def test_another_licence_changes_a_column_and_asks_nothing(tickets: Path, tmp_path: Path) -> None:
    """A field that is only exported, and a row that is new."""
    folder = shutil.copytree(tickets, tmp_path / "again")
    file = folder / "data/tickets.jsonl"
    changed = [{**row, "licence": "cc0-1.0"} for row in rows(file)]
    changed.append({"id": "T-2000", "body": "A wholly new question about my umbrella.", "category": "other"})
    file.write_text("".join(json.dumps(row) + "\n" for row in changed))
    with OpenAIServer(answer=said) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        ran = synth("run", "tickets.recipe", cwd=folder, env=environment)
        assert ran.status == 0, ran.err
        assert 2 <= server.total <= 5, "the new ticket's two calls, and what its checks refuse"
    shutil.rmtree(folder / "out", ignore_errors=True)
    found = {row["ticket"]: row["licence"] for row in made(folder, "tickets")}
    assert found.pop("T-2000") is None
    assert set(found.values()) == {"cc0-1.0"}
