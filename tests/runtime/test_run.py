"""Runs from the command line: quotas, resuming, bounds, faults, replacement."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import PERSONA, REVISION, command, environment, one_sentence, query, rows, synth

PERSONA_ON_OPENAI = ("--model", "author=openai:large", "--model", "base=openai:small")


def served(server: OpenAIServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}


def of(recipe: Path, *extra: str | Path) -> tuple[str | Path, ...]:
    return (recipe, *REVISION, *extra)


def persona(count: int, *extra: str | Path) -> tuple[str | Path, ...]:
    return of(PERSONA, "--set", f"conversations={count}", *extra)


def calls_by_step(log: Path) -> dict[str, int]:
    return dict(query(log, "SELECT step, count(*) FROM events WHERE kind = 'call.completed' GROUP BY ALL"))


def assert_counts_add_up(report: dict[str, Any], log: Path) -> None:
    """Every try is an answer or a failure, every answer accepted or rejected, and the log agrees."""
    for step in report["steps"]:
        assert step["issued"] == step["completed"] + step["failed"]
        assert step["completed"] + step["reused"] == step["accepted"] + step["rejected"]
        assert step["in_flight"] == 0
    kinds = dict(
        query(log, "SELECT kind, count(*) FROM events WHERE run_id = ? GROUP BY ALL", [report["run_id"]])
    )
    assert sum(s["completed"] for s in report["steps"]) == kinds.get("call.completed", 0)
    assert sum(s["failed"] for s in report["steps"]) == kinds.get("call.failed", 0)
    assert sum(report["failures"].values()) == kinds.get("call.failed", 0)
    cohorts = report["cohorts"].values()
    assert all(cohort["completed"] + cohort["pending"] == cohort["quota"] for cohort in cohorts)
    made = sum(cohort["completed"] - cohort["found"] for cohort in cohorts)
    assert made == kinds.get("sample.completed", 0)
    again = query(
        log,
        """SELECT payload ->> 'call_key', count(*) FROM events WHERE kind = 'call.completed'
           GROUP BY 1 HAVING count(*) > 1""",
    )
    assert again == [], "a call was paid for twice"


def test_a_run_meets_its_quota_and_a_second_one_makes_no_call(tmp_path: Path) -> None:
    first = synth("run", *persona(40, "--simulate", "--json"), cwd=tmp_path)
    assert first.status == 0, first.err
    report = first.json()
    assert report["cohorts"]["identity"]["completed"] == 40
    assert_counts_add_up(report, tmp_path / "synth.duckdb")
    second = synth("run", *persona(40, "--simulate", "--json"), cwd=tmp_path).json()
    assert second["cohorts"]["identity"]["found"] == 40
    assert sum(step["issued"] for step in second["steps"]) == 0


def test_what_changes_decides_what_is_asked_again(tmp_path: Path) -> None:
    """A new temperature re-issues the answers, a larger quota the new samples, an export nothing;
    `compile` says so before."""
    log = tmp_path / "synth.duckdb"
    assert synth("run", *persona(100, "--simulate"), cwd=tmp_path).status == 0
    before = calls_by_step(log)

    def foreseen_and_made(*arguments: str | Path) -> tuple[dict[str, int], dict[str, int]]:
        foreseen = synth("compile", *arguments, "--simulate", "--json", "--log", log, cwd=tmp_path).json()
        made = synth("run", *arguments, "--simulate", "--json", cwd=tmp_path).json()
        assert made["outcome"] == "finished"
        return (
            {step["step"]: step["calls"] for step in foreseen["steps"]},
            {step["step"]: step["completed"] for step in made["steps"]},
        )

    text = PERSONA.read_text("utf-8")
    none = dict.fromkeys(before, 0)

    exported = tmp_path / "exported.recipe"
    exported.write_text(
        text.replace("split = 95%", "split = 80%\n  format = parquet").replace(
            "columns = [identity.world, identity.temper]", "columns = [identity.temper]"
        )
    )
    assert foreseen_and_made(*of(exported, "--set", "conversations=100")) == (none, none)

    warmer = tmp_path / "warmer.recipe"
    warmer.write_text(
        text.replace(
            "sees = transcript\n    check { length(1..1_200) }",
            "sees = transcript\n    temperature = 0.2\n    check { length(1..1_200) }",
        )
    )
    assert warmer.read_text() != text
    only_answers = {**none, "answer": 100}
    assert foreseen_and_made(*of(warmer, "--set", "conversations=100")) == (only_answers, only_answers)

    fifty = dict.fromkeys(before, 50)
    assert foreseen_and_made(*persona(150)) == (fifty, fifty)
    after = calls_by_step(log)
    assert after["acknowledgment"] == 150
    assert after["answer"] == 250


def test_faults_of_a_server_cost_tries_and_nothing_else(tmp_path: Path, openai_server: OpenAIServer) -> None:
    """10% rate limits with Retry-After, 5% errors, 5% dropped, 5% empty: quotas met, sums right."""
    openai_server.faults = FaultPlan(
        {"rate_limit": 0.10, "server_error": 0.05, "drop": 0.05, "empty": 0.05}, seed=3, retry_after=0
    )
    result = synth("run", *persona(60, *PERSONA_ON_OPENAI, "--json"), cwd=tmp_path, env=served(openai_server))
    assert result.status == 0, result.err
    report = result.json()
    assert report["cohorts"]["identity"]["completed"] == 60
    assert_counts_add_up(report, tmp_path / "synth.duckdb")
    assert set(report["failures"]) == {"rate_limit", "server", "connection", "empty"}
    assert report["failures"]["rate_limit"] == openai_server.by_status[429]
    assert sum(step["issued"] for step in report["steps"]) == openai_server.total
    summary = synth("run", *persona(60, *PERSONA_ON_OPENAI), cwd=tmp_path, env=served(openai_server))
    assert "60" in summary.out
    assert openai_server.total == sum(step["issued"] for step in report["steps"])


def test_a_budget_of_calls_is_kept_and_the_next_run_goes_on(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    env = served(openai_server)
    first = synth(
        "run", *persona(20, *PERSONA_ON_OPENAI, "--max-calls", "17", "--json"), cwd=tmp_path, env=env
    )
    assert first.status == 3
    assert first.json()["outcome"] == "out_of_budget"
    assert openai_server.total == 17
    second = synth("run", *persona(20, *PERSONA_ON_OPENAI, "--json"), cwd=tmp_path, env=env)
    assert second.status == 0
    assert sum(openai_server.answered.values()) == len(openai_server.answered) == 80


def test_time_and_money_stop_a_run(tmp_path: Path, openai_server: OpenAIServer) -> None:
    openai_server.latency_s = 0.05
    env = served(openai_server)
    timed = synth(
        "run", *persona(2000, *PERSONA_ON_OPENAI, "--max-minutes", "0.01", "--json"), cwd=tmp_path, env=env
    )
    assert timed.status == 3
    assert timed.json()["reason"] == "--max-minutes 0.01 reached"
    sentence = one_sentence(
        synth("run", *persona(5, *PERSONA_ON_OPENAI, "--max-cost", "1"), cwd=tmp_path, env=env), 1
    )
    assert "needs prices" in sentence
    recipe = tmp_path / "persona.recipe"
    recipe.write_text(PERSONA.read_text("utf-8"))
    free = "[prices.small]\ninput = 0\noutput = 0\n"
    (tmp_path / "synth.toml").write_text(f"[prices.large]\ninput = 20.0\noutput = 20.0\n{free}")
    paid = synth(
        "run",
        *of(recipe, "--set", "conversations=500", *PERSONA_ON_OPENAI, "--max-cost", "1", "--json"),
        cwd=tmp_path,
        env=env,
    )
    assert paid.status == 3
    assert paid.json()["reason"].startswith("--max-cost 1 reached: ")
    assert 0 < paid.json()["cost"] <= 1


def test_a_limit_is_a_smaller_job_done(tmp_path: Path) -> None:
    limited = synth("run", *persona(1000, "--simulate", "--limit", "7", "--json"), cwd=tmp_path)
    assert limited.status == 0
    assert limited.json()["cohorts"]["identity"]["completed"] == 7
    short = synth("materialize", *persona(1000), cwd=tmp_path)
    assert one_sentence(short, 3) == (
        "`identity` has 7 of 1000 samples: run it to the end, or take what is there with --partial"
    )
    assert not (tmp_path / "out").exists()
    assert synth("materialize", *persona(1000, "--partial"), cwd=tmp_path).status == 0
    found = rows(tmp_path / "out/persona/train.jsonl") + rows(tmp_path / "out/persona/eval.jsonl")
    assert len(found) == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly(tmp_path: Path, openai_server: OpenAIServer, number: signal.Signals) -> None:
    openai_server.latency_s = 0.1
    process = subprocess.Popen(
        command("run", *persona(500, *PERSONA_ON_OPENAI)),
        cwd=tmp_path,
        env=environment(served(openai_server)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while openai_server.total < 20:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Interrupted" in out
    assert "the same command goes on from here" in out
    log = tmp_path / "synth.duckdb"
    # What was in flight was awaited: every answer that the server gave is in the log.
    assert sum(calls_by_step(log).values()) == sum(openai_server.answered.values())
    (stopped,) = query(log, "SELECT payload ->> 'outcome' FROM events WHERE kind = 'run.stopped'")
    assert stopped == ("interrupted",)
    assert json.loads((tmp_path / "progress.json").read_text())["state"] == "interrupted"


def test_a_second_signal_does_not_wait(tmp_path: Path, openai_server: OpenAIServer) -> None:
    openai_server.latency_s = 120.0
    process = subprocess.Popen(
        command("run", *persona(50, *PERSONA_ON_OPENAI)),
        cwd=tmp_path,
        env=environment(served(openai_server)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while openai_server.total < 4:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_a_sample_that_fails_for_good_is_replaced_in_its_cell(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    """The counts of the draws stay exact, and `show` tells why a sample was lost."""

    def answer(asked: Asked) -> str:
        # A seventh of the personas can never be repaired: their answers are too long.
        if asked.model == "small" and len(asked.messages) == 3 and int(asked.key[:8], 16) % 7 == 0:
            return "word " * 400
        from tests.kit.servers.answers import sentence

        return sentence(asked.key)

    openai_server.answer = answer
    text = PERSONA.read_text("utf-8").replace(
        "check { length(1..1_200) }\n    retry = 3", "check { length(1..1_200) }\n    retry = 0"
    )
    recipe = tmp_path / "persona.recipe"
    recipe.write_text(text.replace("max_tokens = 300", "max_tokens = 3_000"))
    arguments = of(recipe, "--set", "conversations=80")
    result = synth("run", *arguments, *PERSONA_ON_OPENAI, "--json", cwd=tmp_path, env=served(openai_server))
    assert result.status == 0, result.err
    report = result.json()
    lost = report["cohorts"]["identity"]["abandoned"]
    assert lost > 0
    assert report["cohorts"]["identity"]["completed"] == 80
    assert report["rejections"]["answer.length"] == lost
    assert_counts_add_up(report, tmp_path / "synth.duckdb")
    assert synth("materialize", *arguments, cwd=tmp_path).status == 0
    manifest = json.loads((tmp_path / "out/persona/manifest.json").read_text())
    assert set(manifest["counts"]["world"].values()) == {10}
    assert manifest["counts"]["temper"] == {"plain": 40, "warm": 24, "odd": 16}
    log = tmp_path / "synth.duckdb"
    ((name,),) = query(log, "SELECT sample_id FROM events WHERE kind = 'sample.abandoned' LIMIT 1")
    story = synth("show", name, cwd=tmp_path).out
    assert re.search(r"answer: rejected by length: has \d+ characters; at most 1200 are allowed", story)
    assert "abandoned at answer: length" in story
    assert synth("replay", *arguments, cwd=tmp_path).status == 0


def test_a_conversation_that_cannot_be_had_is_given_up_and_said(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    openai_server.answer = lambda asked: "no"
    recipe = tmp_path / "persona.recipe"
    recipe.write_text(PERSONA.read_text("utf-8").replace("retry = 3", "retry = 0"))
    result = synth(
        "run",
        *of(recipe, "--set", "conversations=4", *PERSONA_ON_OPENAI, "--json"),
        cwd=tmp_path,
        env=served(openai_server),
    )
    assert result.status == 3
    report = result.json()
    assert report["outcome"] == "stuck"
    assert "`persona` of `identity` never passed" in report["reason"]
    assert report["cohorts"]["identity"]["completed"] == 0


def test_near_duplicates_are_refused_in_order_and_replaced(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    """Whatever the order of arrival, the same samples stand, and no two are alike."""

    def answer(asked: Asked) -> str:
        from tests.kit.servers.answers import sentence

        if asked.model == "large" and "Invent" in asked.messages[0][1]:
            # One persona in three is one of four that many samples share.
            number = int(asked.key[:8], 16)
            return sentence(str(number % 4)) if number % 3 == 0 else sentence(asked.key)
        return sentence(asked.key)

    found = []
    for attempt, latency in enumerate((0.0, 0.01)):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with OpenAIServer(
            answer=answer, latency_s=latency, faults=FaultPlan({"slow": 0.3}, slow=0.05)
        ) as server:
            run = synth("run", *persona(60, *PERSONA_ON_OPENAI, "--json"), cwd=folder, env=served(server))
        assert run.status == 0, run.err
        report = run.json()
        assert report["rejections"]["persona.distinct"] > 5
        assert report["cohorts"]["identity"]["completed"] == 60
        assert_counts_add_up(report, folder / "synth.duckdb")
        assert synth("materialize", *persona(60), cwd=folder).status == 0
        assert synth("replay", *persona(60), cwd=folder).status == 0
        found.append((folder / "out/persona/train.jsonl").read_bytes())
    assert found[0] == found[1]
    personas = [json.loads(line)["prompt"][0]["content"] for line in found[0].splitlines()]
    assert len(set(personas)) == len(personas)


def test_a_service_that_is_down_stops_the_run_and_loses_nothing(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    env = served(openai_server)
    synth("run", *persona(15, *PERSONA_ON_OPENAI), "--limit", "5", cwd=tmp_path, env=env)
    openai_server.faults = FaultPlan({"server_error": 1.0})
    before = openai_server.total
    sentence = one_sentence(
        synth("run", *persona(15, *PERSONA_ON_OPENAI, "--json", "--patience", "0.8"), cwd=tmp_path, env=env),
        1,
    )
    assert "has not answered for 0.8 s (last: the server had an error)" in sentence
    assert "run again when it is back" in sentence
    # The first calls of both models, and a few of one at a time.
    assert openai_server.total - before < 30
    openai_server.faults = FaultPlan()
    assert synth("run", *persona(15, *PERSONA_ON_OPENAI), cwd=tmp_path, env=env).status == 0
    assert sum(openai_server.answered.values()) == len(openai_server.answered) == 60
