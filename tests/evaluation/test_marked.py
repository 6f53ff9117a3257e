"""Marks by a rubric as a measure: of the rows, and of what a student answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evaluation.helpers import DIRECT, HEAD, asked_about, evaluation, held_out, project, served, values
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer

JUDGED = (
    HEAD
    + """model judge: model<chat, json> from openai("judge")
model second: model<chat, json> from openai("second")

rubric quality by [judge, second] {
  helpful 1..5 = "Does it do what was asked?"
  brief 1..3 = "Is it short?"
}
"""
)


def marks(asked: Asked) -> str:
    """Short answers get high marks, and the second judge's are one lower."""
    if asked.schema is None:
        return "A very long answer"
    prompt = asked.messages[-1][1]
    short = len(prompt.partition("The text:\n")[2].partition("\n\n")[0]) < 8
    helpful = (5 if short else 3) - (asked.model == "second")
    return json.dumps(
        {"helpful": {"why": "so", "mark": helpful}, "brief": {"why": "it is", "mark": 3 if short else 1}}
    )


def test_the_mean_of_marks_is_measured_and_paid_for_once(tmp_path: Path) -> None:
    text = evaluation(
        "marked(quality, at_least = 6)", "marked(quality.brief, student = writer, at_least = 2)", name="good"
    )
    made = project(tmp_path, DIRECT + text, head=JUDGED)
    made.tell({"direct": [f"Answer {number}" if number % 2 else "Yes." for number in range(10)]})
    asked = [int(each.split()[1].rstrip("?")) for each in held_out(made)]
    held, short = len(asked), sum(number % 2 for number in asked)
    assert 0 < short < held
    with OpenAIServer(answer=marks) as server:
        found = made.measures(env=served(server))
        rows = "dataset", "quality by `judge`, `second`"
        # The mean of two judges for each question, then their sum.
        assert values(found, "marked", *rows) == (
            pytest.approx((7.5 * short + 3.5 * (held - short)) / held),
            held,
        )
        assert {each["reason"] for each in found["marked", *rows]["examples"]} == {
            "3.5: helpful (judge): so helpful (second): so brief (judge): it is brief (second): it is"
        }
        student = found["marked", "writer", "quality.brief by `judge`, `second`"]
        assert (student["value"], student["judged"], student["held"]) == (1.0, held, False)
        shown = [each for each in asked_about(server) if "The text:" in each]
        assert all(
            "- helpful, from 1 (least) to 5 (most): Does it do what was asked?" in each
            and "What comes before the text:\nUser: Question " in each
            for each in shown
        )
        # Each row by two judges, an answer of the student, and that by two judges.
        assert len(server.received) == 5 * held
        assert made.measures(env=served(server)) == found
        assert len(server.received) == 5 * held


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(Raw("<html><body>Bad Request</body></html>", 400), id="refused"),
        pytest.param("<html>", id="no JSON"),
    ],
)
def test_verdicts_that_are_lost_for_good_are_told_and_asked_again_where_that_is_wanted(
    tmp_path: Path, spoilt: str | Raw
) -> None:
    made = project(tmp_path, DIRECT + evaluation("marked(quality, at_least = 3)", name="good"), head=JUDGED)
    made.tell({"direct": ["Yes."] * 10})
    held = len(held_out(made))
    with OpenAIServer(answer=lambda asked: spoilt) as server:
        first = made.evaluate(env=served(server))
        asked = server.total
        server.answer = marks
        again = made.evaluate(env=served(server))
        assert (first.status, again.status, server.total) == (3, 3, asked)
        for shown in (first.out, again.out):
            assert f"{held} answers are lost for good (" in shown
            assert ": the same command with --retry-lost asks again." in shown
        assert "0 calls made." in again.out
        assert "every answer is in the log" not in again.out
        assert sum(made.evaluate("--json", env=served(server)).json()["lost"].values()) == held
        mended = made.evaluate("--retry-lost", env=served(server))
        assert (mended.status, "lost for good" in mended.out) == (0, False)
        asked = server.total
        last = made.evaluate(env=served(server))
        assert (last.status, server.total) == (0, asked)
        assert "0 calls made: every answer is in the log." in last.out


def test_a_verdict_that_a_service_failed_is_asked_for_by_the_next_evaluation(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("marked(quality, at_least = 3)", name="good"), head=JUDGED)
    made.tell({"direct": ["Yes."] * 10})
    failing = held_out(made)[0]

    def failed(asked: Asked) -> str | Raw:
        return Raw("no", 401) if failing in asked.messages[-1][1] else marks(asked)

    with OpenAIServer(answer=failed) as server:
        first = made.evaluate("--json", env=served(server)).json()
        assert (first["lost"], sum(first["failed"].values())) == ({}, 1)
        server.answer = marks
        mended = made.evaluate("--json", env=served(server))
    assert (mended.status, mended.json()["lost"], mended.json()["failed"]) == (0, {}, {})
