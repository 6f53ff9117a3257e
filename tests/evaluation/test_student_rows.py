"""Which rows a student is asked about: those held out, each once, and again only where it changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from synth.store.log.log import Log
from tests.evaluation.helpers import (
    COMMANDS,
    DIRECT,
    GOOD,
    STUDENT,
    Project,
    asked_about,
    evaluation,
    held_out,
    project,
    served,
    values,
)
from tests.kit.servers.openai import OpenAIServer
from tests.store.log.logs import Story, all_slots


def test_a_row_that_changed_is_asked_about_again_and_no_other(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 10})
    rows = held_out(made)
    with OpenAIServer() as server:
        made.measures(*STUDENT, env=served(server))
        assert Counter(asked_about(server)) == Counter(rows)
        _add_run(made, "2", changed=rows[0])
        found = made.measures(*STUDENT, env=served(server))
        assert asked_about(server)[len(rows) :] == [f"{rows[0]} Really?"]
    assert values(found, "emoji", "student") == (0.0, len(rows))


def _add_run(made: Project, config_hash: str, changed: str) -> None:
    """Another run in the log, in which one row asks something else."""
    with Log(made.log, writer=True) as log:
        story = Story(made.plan)
        start = len(story.events)
        story.start(config_hash)
        for number, slot in enumerate(all_slots(made.plan, "direct")):
            ask = f"Question {number + 1}?"
            said = f"{ask} Really?" if ask == changed else ask
            story.complete(made.plan.cohort("direct"), slot, {"ask": said, "answer": "plain"})
        moved = log.next_seq - start
        log.append([event._replace(seq=event.seq + moved) for event in story.events[start:]])


def test_evaluations_of_one_export_share_a_students_answers(tmp_path: Path) -> None:
    made = project(
        tmp_path,
        DIRECT
        + evaluation("emoji(at_most = 0%)", 'forbidden_words("x", at_most = 0%)')
        + evaluation("repetition(at_most = 0%)", name="more"),
    )
    made.tell({"direct": ["plain"] * 10})
    with OpenAIServer() as server:
        result = made.evaluate(*STUDENT, "--json", env=served(server))
        assert result.status == 0, result.err
        assert server.total == len(held_out(made))
    assert [each["evaluation"] for each in result.json()["evaluations"]] == ["quality", "more"]
    assert len(result.json()["runs"]) == 1


def test_a_limit_is_on_rows_and_a_larger_one_asks_the_difference(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT.replace("times 10", "times 40") + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 40})
    rows = held_out(made)
    with OpenAIServer() as server:
        found = made.measures(*STUDENT, "--limit", "3", env=served(server))
        assert values(found, "emoji", "student") == (0.0, 3)
        assert found["emoji", "student"]["note"] == f"{len(rows) - 3} of {len(rows)} not asked"
        assert values(found, "emoji", "dataset") == (0.0, 40)
        first = set(asked_about(server))
        found = made.measures(*STUDENT, "--limit", "8", env=served(server))
        assert values(found, "emoji", "student") == (0.0, 8)
        assert (server.total, len(first)) == (8, 3)
        assert first < set(asked_about(server)) < set(rows)
        assert made.measures(*STUDENT, env=served(server))["emoji", "student"]["note"] == ""
        assert server.total == len(rows)


def test_without_a_split_every_row_is_asked_about_and_it_is_said(tmp_path: Path) -> None:
    made = project(tmp_path, DIRECT.replace(" { split = 50% }", "") + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 10})
    with OpenAIServer() as server:
        result = made.evaluate(*STUDENT, env=served(server))
        assert result.status == 0, result.err
        assert server.total == 10
    assert "quality of train: 10 rows, none held out since the export has no split" in result.out


def test_a_mix_holds_out_rows_of_each_part(tmp_path: Path) -> None:
    text = """
mix training {
  a 50% from direct
  b 50% from commands
  total = 20
}
export train: messages from training to "out/train" { split = 80% }
"""
    made = project(
        tmp_path,
        COMMANDS
        + DIRECT.split("export")[0]
        + text
        + evaluation("json_errors(at_most = 0%)", "emoji(at_most = 0%)"),
    )
    made.tell({"direct": ["plain"] * 10, "commands": [GOOD] * 20})
    with OpenAIServer(answer=lambda asked: "no JSON") as server:
        found = made.measures(*STUDENT, env=served(server))
        assert server.total == 4
    assert values(found, "json_errors", "student") == (100.0, 2)
    assert values(found, "emoji", "student") == (0.0, 4)
    assert values(found, "emoji", "dataset") == (0.0, 20)


def test_a_row_that_a_mix_repeats_is_asked_about_once(tmp_path: Path) -> None:
    text = """
mix training {
  a 75% from direct
  b 25% from commands
  total = 40
  when_short = repeat
}
export train: messages from training to "out/train"
"""
    made = project(tmp_path, COMMANDS + DIRECT.split("export")[0] + text + evaluation("emoji(at_most = 0%)"))
    made.tell({"direct": ["plain"] * 10, "commands": [GOOD] * 20})
    with OpenAIServer() as server:
        found = made.measures(*STUDENT, env=served(server))
        assert server.total == 20
    assert values(found, "emoji", "dataset") == (0.0, 40)
    assert values(found, "emoji", "student") == (0.0, 20)
