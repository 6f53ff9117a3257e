"""What a student answers to held-out rows: measured exactly, never paid for twice."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.helpers import (
    COMMANDS,
    DIRECT,
    GOOD,
    HEAD,
    STUDENT,
    TRAIN,
    asked_about,
    evaluation,
    held_out,
    project,
    served,
    values,
)
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import command, environment, one_sentence, query, started
from tests.store.log.logs import Story, all_slots


def test_shares_are_those_of_the_students_answers(tmp_path: Path) -> None:
    made = project(
        tmp_path,
        COMMANDS
        + TRAIN
        + evaluation(
            "json_errors(at_most = 0%)", "emoji(at_most = 0%)", 'forbidden_words("no", at_most = 9%)'
        ),
    )
    made.tell({"commands": [GOOD] * 20}, ask="Command")
    rows = held_out(made)
    assert 4 < len(rows) < 20
    cut, wrong, happy = rows[0], rows[1], rows[2]
    said = {cut: '{"action": "op', wrong: '{"deed": "no"}', happy: '{"action":"🙂"}'}

    with OpenAIServer(answer=lambda asked: said.get(asked.messages[-1][1], GOOD)) as server:
        first = made.evaluate(*STUDENT, "--json", env=served(server))
        # One answer serves all measures, and the rows that are trained on are left alone.
        assert Counter(asked_about(server)) == Counter(rows)
        assert {received.body["model"] for received in server.received} == {"tuned"}
        again = made.evaluate(*STUDENT, "--json", env=served(server))
        assert server.total == len(rows)
    assert first.status == again.status == 3
    (found,) = first.json()["evaluations"]
    assert (found["rows"], found["held_out"]) == (20, len(rows))
    measures = {(each["measure"], each["of"]): each for each in found["measures"]}
    for name, faults in (("json_errors", 2), ("emoji", 1), ("forbidden_words", 1)):
        assert values(measures, name, "student") == (100 * faults / len(rows), len(rows))
    assert values(measures, "json_errors", "dataset") == (0.0, 20)
    assert measures["json_errors", "dataset"]["held"]
    assert again.json()["evaluations"] == [found]
    assert sum(step["issued"] for run in again.json()["runs"] for step in run["steps"]) == 0
    # Who answered is in the log.
    ((config_hashes,),) = set(
        query(
            made.log,
            "SELECT payload ->> 'lineages' FROM events WHERE run_id <> 'run' AND kind = 'run.started'",
        )
    )
    ((models,),) = ((entry["models"],) for entry in json.loads(config_hashes).values())
    assert (models["student"]["backend"], models["student"]["id"]) == ("openai", "tuned")


def test_a_student_of_the_recipe_and_one_of_the_command_line(tmp_path: Path) -> None:
    small = 'model small: model<chat> from openai("small")\n'
    text = evaluation("emoji(at_most = 0%)", 'refusals("no", student = small, at_least = 0%)')
    made = project(tmp_path, DIRECT + text, head=HEAD + small)
    made.tell({"direct": ["plain"] * 10})
    rows = held_out(made)

    def answer(asked: Asked) -> str:
        return "no 🙂" if asked.model == "small" else "plain"

    with OpenAIServer(answer=answer) as server:
        found = made.measures(*STUDENT, env=served(server))
        assert server.total == 2 * len(rows)
        assert list(found) == [
            ("emoji", "dataset"),
            ("refusals", "small"),
            ("emoji", "student"),
            ("refusals", "student"),
        ]
        assert [each["value"] for each in found.values()] == [0, 100, 0, 0]
        # Where the recipe's model runs is not its business either.
        moved = made.measures("--model", "small=openai:other", env=served(server))
        assert values(moved, "refusals", "small") == (0, len(rows))


def test_faults_of_a_service_are_none_of_the_students(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 10})
    rows = held_out(made)
    faults = FaultPlan(script=("rate_limit", "server_error", "drop", "garbled"), retry_after=0.0)
    with OpenAIServer(faults=faults) as server:
        found = made.measures(*STUDENT, env=served(server))
        assert server.total == len(rows) + 4
    assert values(found, "emoji", "student") == (0.0, len(rows))


@pytest.mark.slow
def test_no_answer_counts_against_a_student(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 0%)", 'refusals("no", at_least = 50%)'))
    made.tell({"direct": ["no"] * 10})
    rows = held_out(made)
    with OpenAIServer(answer=lambda asked: "  " if asked.messages[-1][1] == rows[0] else "no") as server:
        found = made.measures(*STUDENT, env=served(server))
        total = server.total
        assert made.measures(*STUDENT, env=served(server)) == found
        assert server.total == total
    assert values(found, "emoji", "student") == (100 / len(rows), len(rows))
    assert found["emoji", "student"]["examples"][0]["reason"] == "no answer"
    assert values(found, "refusals", "student") == (100 * (len(rows) - 1) / len(rows), len(rows))


def test_a_thought_before_the_answer_is_not_measured(tmp_path: Path) -> None:
    text = """
schema Message {
  role: enum<user, model>
  thought: text?
  content: text(1..3_000)
}
conversation talks times 2 {
  step dialogue: json<list<Message>(2..6)> by writer { prompt = "Talk, {{ nth }}." }
  transcript = dialogue
  train_on = every(model)
}
export train: messages from talks to "out/train" { thought = wrap }
"""
    made = project(tmp_path, text + evaluation("emoji(at_most = 0%)"))
    story = Story(made.plan)
    for slot in all_slots(made.plan, "talks"):
        said = [
            {"role": "user", "content": f"Hi {slot.ordinal}"},
            {"role": "model", "content": "Yes?", "thought": "Greet."},
            {"role": "user", "content": "Go."},
            {"role": "model", "content": "Gone.", "thought": "Go."},
        ]
        story.complete(made.plan.cohort("talks"), slot, {"dialogue": said})
    story.write(made.log)
    with OpenAIServer(answer=lambda asked: "<think>🙂</think>\n\nplain") as server:
        found = made.measures(*STUDENT, env=served(server))
        shown = [message["content"] for message in server.received[0].body["messages"]]
    assert values(found, "emoji", "student") == (0.0, 2)
    # It is asked as it was trained.
    assert shown[1:] == ["<think>Greet.</think>\n\nYes?", "Go."]


def test_a_kill_costs_what_was_in_flight(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT.replace("times 10", "times 400") + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 400})
    rows = held_out(made)
    with OpenAIServer(latency_s=0.05) as server:
        with started("evaluate", made.recipe, *STUDENT, cwd=made.folder, env=served(server)) as process:
            while len(server.answered) < 60:
                assert process.poll() is None
                time.sleep(0.005)
            process.kill()
        before, in_flight = server.total, server.max_in_flight
        logged = query(
            made.log,
            "SELECT count(*) FROM events WHERE kind = 'call.completed' AND model = 'student'",
        )[0][0]
        found = made.measures(*STUDENT, env=served(server))
        assert server.total - before == len(rows) - logged
        assert before - logged <= in_flight + 60
    assert values(found, "emoji", "student") == (0.0, len(rows))
    assert query(
        made.log,
        "SELECT count(*) - count(DISTINCT payload ->> 'call_key') FROM events "
        "WHERE kind = 'call.completed' AND model = 'student'",
    ) == [(0,)]


def test_an_interrupted_evaluation_says_so_and_goes_on(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT.replace("times 10", "times 400") + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 400})
    rows = held_out(made)
    with OpenAIServer(latency_s=0.05) as server:
        with subprocess.Popen(
            command("evaluate", made.recipe, *STUDENT),
            cwd=made.folder,
            env=environment(served(server)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            while len(server.answered) < 20:
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Stopped: SIGINT; the same command goes on from here." in out
        # What was not asked is not judged.
        assert f"of {len(rows)} not asked" in out
        before = server.total
        found = made.measures(*STUDENT, env=served(server))
        assert before < server.total == len(rows)
    assert values(found, "emoji", "student") == (0.0, len(rows))


def test_a_model_that_gives_no_probabilities(tmp_path: Path) -> None:
    head = HEAD + 'model small: model<chat, logprobs> from transformers("somewhere")\n'
    made = project(
        tmp_path,
        DIRECT + evaluation("emoji(at_most = 0%)", "perplexity(student = small, at_most = 9)"),
        head=head,
    )
    made.tell({"direct": ["plain"] * 10})
    with OpenAIServer() as server:
        sentence = one_sentence(
            made.evaluate("--model", "small=openai:small", *STUDENT, env=served(server)), 1
        )
        assert sentence.startswith("`small` runs on openai:small, which gives no token probabilities")
        # Nothing is paid for on the way there.
        assert server.total == 0
    # A simulation goes on without it.
    simulated = made.evaluate("--simulate", "--student", "simulated:s")
    assert simulated.status == 3
    assert "warning: `perplexity` is not simulated: simulated models give no token probab" in simulated.err
    assert "warning: `perplexity` is not taken of `student`: simulated gives no token pro" in simulated.err
    assert simulated.out.count("holds") == 2


def test_perplexity_is_not_taken_of_a_hosted_student(tmp_path: Path, tiny_gemma: Path) -> None:
    head = HEAD + f'model small: model<chat, logprobs> from transformers("{tiny_gemma}")\n'
    made = project(
        tmp_path,
        DIRECT + evaluation("emoji(at_most = 0%)", "perplexity(student = small, at_least = 1)"),
        head=head,
    )
    made.tell({"direct": ["plain"] * 10})
    with OpenAIServer() as server:
        result = made.evaluate(*STUDENT, env=served(server))
    assert result.status == 0, result.err
    assert (
        "warning: `perplexity` is not taken of `student`: openai gives no token probabilities" in result.err
    )
    assert result.out.count("perplexity  small") == 1
    # Nor where the recipe's own student is the one in whose place it is put.
    recipe = made.recipe.read_text("utf-8").replace("small", "student")
    made.recipe.write_text(recipe, "utf-8")
    with OpenAIServer() as server:
        result = made.evaluate(*STUDENT, env=served(server))
    assert result.status == 0, result.err
    assert "perplexity" not in result.out


def test_a_student_is_given_as_many_tokens_as_the_rows_may_need(tmp_path: Path) -> None:
    """A base model goes on to the end of its context; the recipe's own limit goes before."""
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 9 + ["long " * 1_000]})
    with OpenAIServer() as server:
        shown = made.evaluate(*STUDENT, env=served(server))
        limits = {limit for each in server.received for limit in _limits(each.body)}
    assert limits in ({256}, {4096})
    (limit,) = limits
    assert f"student was given {limit:,} tokens for an answer, from the longest one in the rows." in shown.out


def _limits(body: Mapping[str, Any]) -> list[int]:
    return [body[name] for name in ("max_tokens", "max_completion_tokens") if name in body]


def test_an_answer_that_was_cut_is_measured_as_it_is(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation('refusals("no", at_most = 0%)'))
    made.tell({"direct": ["plain"] * 10})
    with OpenAIServer(answer=lambda asked: "no " * 9_000) as server:
        found = made.measures(*STUDENT, env=served(server))
    assert values(found, "refusals", "student")[0] == 100.0


def test_two_students_are_asked_one_at_a_time(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 0%)"))
    shown = made.evaluate(*STUDENT, "--student", "openai:other")
    assert shown.status == 2
    assert "--student is given twice, and one is asked at a time: run it once for each" in shown.err
