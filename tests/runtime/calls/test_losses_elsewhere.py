"""Losses of pairs, verdicts, evaluations and members of a set: each stops early, and the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.servers.answers import sentence
from tests.kit.servers.loopback import Asked
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import query
from tests.runtime.calls.losing import configure, passes, recipe, run

MEMBERS = """edition 1
recipe losses { seed = 1 }
model author: model<chat> from openai("any") { max_tokens = 200 }
schema kind { says: text }
set kinds: kind {
  yes { says = "Yes" }
  no { says = "Unheard" }
}
conversation c HEAD {
  draw word from ["a", "b"]
  turn q: user = "{{ kind.says }} {{ word }} {{ nth }}"
  turn a: model by author { prompt = "Answer {{ q }}", check { contains(kind.says) }, retry = 3 }
}
export t: messages from c to "out/t"
"""


def test_a_limit_is_foreseen_where_pairs_are_made(tmp_path: Path, openai_server: OpenAIServer) -> None:
    path = recipe(tmp_path, 50, "retry = 3")
    path.write_text(
        path.read_text()
        + """
preference better 20 from c {
  turn worse: model by author { prompt = "Worsen: {{ c.a }}" }
  chosen = c.a
  rejected = worse
}
"""
    )
    openai_server.answer = lambda asked: sentence(asked.key)
    foreseen = run(path, openai_server, "--limit", "4", "--json", command="compile").json()
    assert {step["step"]: step["calls"] for step in foreseen["steps"]} == {"a": 4, "worse": 4}
    made = run(path, openai_server, "--limit", "4", "--json")
    assert made.status == 0, made.out
    assert openai_server.total == 8


def test_a_judge_whose_verdicts_cannot_be_read_is_stopped_early(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    path = recipe(tmp_path, 500, 'check { approved_by(author, "Is it polite?") }\n    retry = 3')
    openai_server.answer = lambda asked: "It is." if asked.schema else sentence(asked.key)
    result = run(path, openai_server, "--json")
    assert result.status == 3, result.err
    (stuck,) = result.json()["stuck"]
    assert stuck["step"] == "a.approved_by"
    assert stuck["lost_at"] == ["a.approved_by", "a"]
    assert sum("response_format" in each.body for each in openai_server.received) <= 40 + 64
    openai_server.answer = lambda asked: (
        json.dumps({"why": "It is.", "holds": True}) if asked.schema else sentence(asked.key)
    )
    path.write_text(path.read_text().replace("times 500", "times 20"))
    assert run(path, openai_server).status == 0


PAIRS = """
preference better from c {
  turn worse: model by author {
    prompt = "Worsen: {{ c.a }}"
    check { opens_with_any("Yes") }
    retry = 1
  }
  chosen = c.a
  rejected = worse
}
"""


def test_pairs_that_nothing_passes_stop_and_the_conversation_goes_on(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    path = recipe(tmp_path, 200, "retry = 3")
    path.write_text(path.read_text() + PAIRS)

    def answer(asked: Asked) -> str:
        return "No." if "Worsen" in asked.messages[0][1] else sentence(asked.key)

    openai_server.answer = answer
    result = run(path, openai_server, "--json")
    assert result.status == 3
    report = result.json()
    (stuck,) = report["stuck"]
    assert (stuck["cohort"], stuck["step"]) == ("better", "worse")
    assert report["cohorts"]["c"]["completed"] == 200
    assert openai_server.total <= 200 + 40 + 64


def test_pairs_that_were_lost_are_asked_for_anew_under_other_options(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    """Each sample gets a pair, so a lost one is tried again itself, and not with the same answers."""
    path = recipe(tmp_path, 12, "retry = 3")
    path.write_text(path.read_text() + PAIRS)
    configure(tmp_path, id="any")
    openai_server.answer = lambda asked: (
        f"{'Yes' if passes(asked, 3) else 'No'}, {sentence(asked.key)}"
        if "Worsen" in asked.messages[0][1]
        else sentence(asked.key)
    )
    first = run(path, openai_server, "--json").json()["cohorts"]["better"]
    assert first["abandoned"] > 0
    total = openai_server.total
    assert run(path, openai_server, "--json").json()["cohorts"]["better"]["completed"] == first["completed"]
    assert openai_server.total == total
    openai_server.answer = lambda asked: "Yes, it is."
    configure(tmp_path, id="any", max_tokens_field="max_tokens")
    second = run(path, openai_server, "--json").json()["cohorts"]["better"]
    assert second["completed"] == 12
    assert openai_server.total == total + first["abandoned"]
    assert run(path, openai_server, command="replay").status == 0


def test_a_judge_of_an_evaluation_is_stopped_early_and_asked_anew(
    tmp_path: Path, openai_server: OpenAIServer
) -> None:
    path = recipe(tmp_path, 120, "retry = 3")
    path.write_text(
        path.read_text().replace('to "out/t"', 'to "out/t" { split = 50% }')
        + """
evaluation quality of t { rag_accuracy(student = author, judge = author, at_least = 1%) }
"""
    )
    openai_server.answer = lambda asked: "It is." if asked.schema else sentence(asked.key)
    assert run(path, openai_server).status == 0
    for _ in range(2):
        before = sum("response_format" in each.body for each in openai_server.received)
        result = run(path, openai_server, command="evaluate")
        assert result.status == 3, result.err
        judged = sum("response_format" in each.body for each in openai_server.received) - before
        assert 40 <= judged <= 40 + 64
        assert "verdict" in result.out
        assert "refused: It is." in result.out


@pytest.mark.parametrize("head", ["over kind in kinds times 300", "times 600"])
def test_a_member_that_nothing_passes_is_given_up_and_the_others_go_on(
    tmp_path: Path, openai_server: OpenAIServer, head: str
) -> None:
    path = tmp_path / "losses.recipe"
    draw = "" if "over" in head else "  draw kind from kinds\n"
    path.write_text(MEMBERS.replace("HEAD {\n", f"{head} {{\n{draw}"))
    configure(tmp_path, id="any", concurrency=8)
    openai_server.answer = lambda asked: f"Yes, {sentence(asked.key)}"
    result = run(path, openai_server)
    assert result.status == 3
    assert query(
        tmp_path / "synth.duckdb", "SELECT count(*) FROM events WHERE kind = 'sample.completed'"
    ) == [(300,)]
    # Besides a call for each of the others: a few dozen, and four for each sample that was open then.
    assert 340 <= openai_server.total <= 340 + 4 * 32
    assert "gave up on kind no" in result.out
    assert "nothing passes there: change the check, or what is asked for" in " ".join(result.out.split())
    assert "`losses" not in result.out
