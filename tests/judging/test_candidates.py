"""Candidates, marks and picks: which answer stands, what the others are, and what is paid for."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from tests.kit.servers.loopback import Asked, Raw
from tests.kit.support import SOAK, query
from tests.rows.project import FAULTS, SLOW_AT_TIMES, Project, kill_runs, numbered, server

KILLS = 20 if SOAK else 3
HEAD = """edition 1
recipe rows { seed = 5 }

model one: model<chat, json> from openai("one") { temperature = 1.0 }
model judge: model<chat, json> from openai("judge")

schema Ticket { id: text, body: text, licence: text? }
source tickets: Ticket from jsonl("rows.jsonl", id = "id")

rubric quality by judge {
  helpful 1..5 = "Does it help?"
  brief 1..3 = "Is it brief?"
}
"""
JUDGED = (
    HEAD
    + """
conversation answered over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  turn answer: model by one {
    sees = transcript
    candidates = 4
    marks = quality
    pick = best
    check { marked(quality.helpful, 2..) }
    retry = 3
  }
}

preference pairs from answered {
  chosen = best(answered.answer)
  rejected = worst(answered.answer)
  margin = 3
}

export sft: messages from answered to "out/sft" {
  columns { ticket = answered.ticket.id, marks = answered.answer.quality.total }
}
export dpo: preference from pairs to "out/dpo" { columns = [pairs.chosen_mark, pairs.rejected_mark] }
export kto: unpaired from answered to "out/kto"
export all: ranked from answered to "out/all"
"""
)


def marks(text: str) -> dict[str, int]:
    """What the judge gives a text, whoever asks."""
    digest = sha256(text.encode()).digest()
    return {"helpful": 1 + digest[0] % 5, "brief": 1 + digest[1] % 3}


def answer(asked: Asked) -> str | Raw:
    if asked.schema is None:
        return f"Answer {asked.key[:12]}"
    text = asked.messages[-1][1].partition("The text:\n")[2].partition("\n")[0]
    given = marks(text).items()
    return json.dumps({name: {"why": f"{name} of {text}", "mark": mark} for name, mark in given})


def sound(number: int) -> dict[str, str]:
    return {"id": f"t{number}", "body": f"parcel number {number}"}


def test_exactly_as_many_rows_and_pairs_with_a_margin_and_two_more_candidates_are_two_more_calls(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path, JUDGED, map(sound, range(500)))
    simulated = ("run", "rows.recipe", "--simulate", "--json")

    def calls() -> dict[str, int]:
        done = project.synth(*simulated)
        assert done.status == 0, done.err
        return {step["step"]: step["issued"] for step in done.json()["steps"]}

    first = calls()
    retried = first["answer"] - 2000
    assert first["answer.quality"] == first["answer"]
    project.materialize()
    assert len(project.rows()) == 500
    pairs = project.rows("dpo")
    assert pairs
    assert all(row["chosen_mark"] - row["rejected_mark"] >= 3 for row in pairs)
    assert project.manifest("dpo")["source"]["pairs"] == len(pairs)
    project.holds("sft", "dpo", "kto", "all")

    project.recipe(JUDGED.replace("candidates = 4", "candidates = 6"))
    foreseen = project.synth("compile", "rows.recipe", "--log", "synth.duckdb", "--simulate", "--json")
    more = calls()
    assert more["answer"] == more["answer.quality"] == 1000 + 2 * (retried // 4) or more["answer"] == 1000
    if foreseen.status == 0:
        assert foreseen.json()["calls"] == 2 * more["answer"]
    assert set(calls().values()) == {0}
    project.materialize()
    assert len(project.rows()) == 500


def test_kills_lose_nothing_and_who_is_first_changes_nothing(tmp_path: Path) -> None:
    found = []
    for name in ("whole", "killed"):
        project = Project(tmp_path / name, JUDGED, map(sound, range(60)))
        with server(answer=answer, faults=FAULTS if name == "whole" else SLOW_AT_TIMES) as at:
            if name == "killed":
                kill_runs(project, at, KILLS, 500, seed=11)
            project.ran(at)
            project.materialize("--threads", "1" if name == "whole" else "4")
            found.append(project.digests())
            asked = at.total
            assert project.ran(at) == 0
            assert at.total == asked
        twice = query(
            project.log,
            """SELECT count(*) - count(DISTINCT payload ->> 'call_key') FROM events
               WHERE kind = 'call.completed'""",
        )
        assert twice == [(0,)]
        project.holds("sft", "dpo", "kto", "all")
    assert found[0] == found[1]
    rows = {row["ticket"]: row for row in project.rows()}
    assert len(rows) == 60
    for row in project.rows("all"):
        totals = [sum(marks(each).values()) for each in row["responses"]]
        assert totals == row["marks"] == sorted(totals, reverse=True)
    for row in rows.values():
        assert row["marks"] == sum(marks(row["messages"][-1]["content"]).values())
    # What stood and was not picked is neither good nor bad.
    labels = Counter(row["label"] for row in project.rows("kto"))
    refused = query(
        project.log, "SELECT count(*) FROM events WHERE kind = 'step.rejected' AND step = 'answer'"
    )
    assert labels[True] == 60
    assert labels[False] == refused[0][0]


def test_a_failed_call_costs_its_sample_and_a_judge_that_says_nothing_the_candidate(tmp_path: Path) -> None:
    def odd(asked: Asked) -> str | Raw:
        last = asked.messages[-1][1]
        if asked.schema is not None and int(sha256(asked.messages[-1][1].encode()).hexdigest(), 16) % 4 == 0:
            return "No marks today."
        if asked.schema is None and "gunpowder" in last and asked.key[0] in "01234567":
            error = {"message": "refused by the content filter", "type": "invalid_request_error"}
            return Raw({"error": {**error, "param": None, "code": "content_filter"}}, 400)
        return answer(asked)

    project = Project(tmp_path, JUDGED, map(numbered, range(50)))
    with server(answer=odd) as at:
        done = project.run(at)
        assert done.status == 0, done.err
        project.materialize()
        assert project.ran(at) == 0
    lost = query(project.log, "SELECT step, payload ->> 'reason' FROM events WHERE kind = 'sample.abandoned'")
    assert len(project.rows()) == 50 - len(lost)
    assert lost
    assert all(step == "answer" and str(reason).startswith("refused") for step, reason in lost)
    checks = query(
        project.log,
        "SELECT DISTINCT payload ->> 'check' FROM events WHERE kind = 'step.rejected' AND step = 'answer'",
    )
    assert {check for (check,) in checks} == {"quality", "marked"}
    project.holds("sft", "dpo", "kto", "all")


REVISED = (
    HEAD
    + """
conversation answered over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  turn answer: model by one {
    sees = transcript
    candidates = 2
    check { no_words(["secret"]) }
    revise = "Refused: {{ refused }}\\nReason: {{ reason }}"
    retry = 2
  }
}

preference drafts from answered { chosen = answered.answer, rejected = attempts(answered.answer) }
export sft: messages from answered to "out/sft"
export dpo: preference from drafts to "out/dpo"
"""
)


def heeding(asked: Asked) -> str:
    """Says what it is not to say, until it is told the reason; now and then it does not heed it."""
    told = asked.messages[-1][1]
    if "Reason: " in told and int(asked.key[:2], 16) >= 64:
        assert "Refused: A secret of " in told
        return f"Nothing of {asked.key[:8]}"
    return f"A secret of {asked.key[:8]}"


def test_a_revision_lifts_the_share_that_passes(tmp_path: Path) -> None:
    counts = {}
    plain = "\n".join(line for line in REVISED.splitlines() if "revise" not in line)
    for name, recipe in (("revised", REVISED), ("plain", plain)):
        project = Project(tmp_path / name, recipe, map(sound, range(30)))
        with server(answer=heeding) as at:
            done = project.run(at, "--json")
            counts[name] = done.json()["cohorts"]["answered"]["completed"]
            if name == "plain":
                continue
            assert done.status == 0, done.err
            (step,) = done.json()["steps"]
            assert step["accepted_by_round"][0] == 0
            assert sum(step["accepted_by_round"]) == 30
            assert project.ran(at) == 0
            project.materialize()
            project.holds("sft", "dpo")
            # A draft that was revised is the rejected answer.
            pairs = project.rows("dpo")
            assert len(pairs) >= 30
            assert all("A secret" in row["rejected"][0]["content"] for row in pairs)
            assert all("Reason:" not in str(row) for row in project.rows())
    assert counts == {"revised": 30, "plain": 0}


def test_what_is_tried_again_goes_on_from_what_was_refused(tmp_path: Path) -> None:
    project = Project(tmp_path, REVISED, map(sound, range(4)))
    with server(answer=lambda asked: f"A secret of {asked.key[:8]}") as at:
        assert project.run(at).status == 3
    assert query(project.log, "SELECT count(*) FROM events WHERE kind = 'sample.abandoned'") == [(4,)]
    shown: list[str] = []

    def heeds(asked: Asked) -> str:
        shown.append(asked.messages[-1][1])
        return f"Nothing of {asked.key[:8]}"

    with server(answer=heeds) as at:
        project.ran(at, "--retry-lost")
        assert project.ran(at) == 0
    assert shown
    assert all("Refused: A secret of " in each and "Reason: " in each for each in shown)
    project.materialize()
    assert len(project.rows()) == 4
    project.holds("sft", "dpo")


def test_marks_by_a_second_judge_are_foreseen(tmp_path: Path) -> None:
    plain = """
conversation answered over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  turn answer: model by one { sees = transcript }
}
export sft: messages from answered to "out/sft"
"""
    project = Project(tmp_path, HEAD.split("rubric")[0] + plain, map(sound, range(5)))
    with server(answer=answer) as at:
        assert project.ran(at) == 5
        both = HEAD.replace("by judge {", "by [judge, one] {")
        for marked in (
            plain.replace("sees = transcript }", "sees = transcript, marks = quality }"),
            plain.replace("transcript }\n}", "transcript }\n  let m = quality(answer)\n}"),
        ):
            project.recipe(both + marked)
            assert project.foreseen() == 10
            assert project.ran(at) == 10


VOTED = (
    HEAD
    + """
use lib from "lib/lib.py"

schema Label { label: enum<cancel, refund, delay>, why: text(1..300) }

conversation answered over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  step vote: json<Label> by one {
    prompt = "{{ ticket.body }} {{ Label | json_schema }}"
    candidates = 5
    pick = most_common(vote.label)
  }
  step said: text by one {
    prompt = "Say {{ ticket.body }}"
    candidates = 3
    pick = most_common(lib.first(said))
  }
  turn answer: model = "{{ vote.label }}"
  keep { marked(vote.agreement, 0.4..0.8) }
}

export sft: messages from answered to "out/sft" {
  columns {
    agreement = answered.vote.agreement
    said = answered.said.agreement
    stance = answered.vote.label
  }
}
"""
)


def voting(asked: Asked) -> str:
    number = int(asked.key[:4], 16)
    if asked.schema is None:
        return "ABC"[number % 3] + asked.key
    return json.dumps({"label": ("cancel", "refund", "delay")[number % 3], "why": asked.key[:9]})


def test_the_most_common_value_stands_and_the_outvoted_are_refused(tmp_path: Path) -> None:
    project = Project(tmp_path, VOTED, map(sound, range(40)))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/lib.py").write_text("def first(text: str) -> str:\n    return text[:1]\n")
    with server(answer=voting) as at:
        project.ran(at)
        project.materialize()
        assert project.ran(at) == 0
    project.holds()
    votes: dict[str, list[str]] = {}
    for sample, text in query(
        project.log,
        """SELECT sample_id, payload ->> 'text' FROM events
           WHERE kind = 'call.completed' AND step = 'vote' ORDER BY seq""",
    ):
        votes.setdefault(sample, []).append(json.loads(text)["label"])
    shares = {name: Counter(found).most_common(1)[0][1] / 5 for name, found in votes.items()}
    rows = project.rows()
    assert len(rows) == sum(0.4 <= share <= 0.8 for share in shares.values())
    for row in rows:
        assert row["agreement"] == shares[row["id"]]
        assert row["stance"] in votes[row["id"]]
        assert row["said"] in (0.3333, 0.6667, 1)
        assert row["messages"][-1]["content"] == row["stance"]


@pytest.mark.parametrize("judges", ["[one, judge]"])
def test_several_judges_are_averaged_and_a_rubric_marks_any_text(tmp_path: Path, judges: str) -> None:
    recipe = (
        HEAD.replace("by judge {", f"by {judges} {{")
        + """
conversation answered over ticket in tickets {
  turn ask: user = "{{ ticket.body }}"
  turn answer: model by one { sees = transcript, marks = quality(ticket.id) }
  let asked = quality("{{ ask }} {{ ticket.id }}")
}
export sft: messages from answered to "out/sft" {
  columns {
    helpful = answered.answer.quality.helpful
    why = answered.answer.quality.why
    asked = answered.asked.total
  }
}
"""
    )

    def both(asked: Asked) -> str | Raw:
        given = answer(asked)
        if asked.schema is None or asked.model == "judge":
            return given
        assert "t" in asked.messages[-1][1]
        assert isinstance(given, str)
        made = json.loads(given)
        for each in made.values():
            each["mark"] = 1
        return json.dumps(made)

    project = Project(tmp_path, recipe, map(sound, range(8)))
    with server(answer=both) as at:
        project.ran(at)
        project.materialize()
    project.holds()
    for row in project.rows():
        text = row["messages"][-1]["content"]
        assert row["helpful"] == (marks(text)["helpful"] + 1) / 2
        assert row["why"].startswith("helpful (one): helpful of ")
        assert "\nbrief (judge): " in row["why"]
        question = f"{row['messages'][0]['content']} t"
        assert 2 <= row["asked"] <= 5, question
