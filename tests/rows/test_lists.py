"""Lists of rows, what a row leaves behind, and tables of which nothing is left."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.kit.servers.faults import FaultPlan
from tests.kit.support import query, rows, synth
from tests.rows.project import HEAD, PLAIN, Project, numbered, served, server

LISTS = (
    HEAD.replace("  licence: text?\n", "  licence: text?\n  facts: list<text>?\n").replace(
        'id = "id")', 'id = "id") {\n  keep { no_words(body, "dropped") }\n  bad_rows = skip\n}'
    )
    + """
set moods: topic {
  calm { about = "calm" }
  odd { about = "odd" }
}

conversation answered over ticket in tickets over fact in ticket.facts over mood in moods times 2 {
  turn ask: user = "{{ ticket.body }}: {{ fact }}, {{ mood.about }}, {{ nth }}"
  turn answer: model by one { sees = transcript }
}

conversation more over before in answered {
  turn ask: user = "More? {{ before.answer }}"
  turn answer: model by one { sees = transcript }
}

export sft: messages from answered to "out/sft" {
  columns {
    ticket = answered.ticket.id
    fact = answered.fact
    mood = answered.mood
  }
}

export again: messages from more to "out/again" { columns = [more.before.ticket.body] }
"""
)


def facts(number: int) -> dict[str, Any]:
    """A row with none, one or two facts."""
    return numbered(number, facts=[f"fact {each}" for each in range(number % 3)])


def test_each_item_of_a_list_is_gone_through(tmp_path: Path) -> None:
    table = [facts(number) for number in range(12)]
    del table[5]["facts"]
    table[8]["body"] = "a dropped parcel"
    table.append({"id": "bad", "body": 7})
    project = Project(tmp_path, LISTS, table)
    with server(faults=FaultPlan()) as at:
        assert project.ran(at) == 64
        project.materialize()
        assert Counter(row["ticket"] for row in project.rows()) == {
            "t1": 4, "t2": 8, "t4": 4, "t7": 4, "t10": 4, "t11": 8
        }  # fmt: skip
        assert project.manifest()["source"]["empty"] == 5
        project.holds("sft", "again")
        # One item more is made, and what is over it; the others are as they were.
        table[1]["facts"] = ["another fact", "fact 0"]
        project.table(table)
        assert project.foreseen() in (4, 8)
        assert project.ran(at) == 8

        # A row that is forgotten takes all that was made of it along.
        sample = next(row["id"] for row in project.rows() if row["ticket"] == "t1")
        ((row,),) = query(
            project.log,
            "SELECT DISTINCT payload -> 'cell' ->> 'ticket' FROM events "
            "WHERE kind = 'sample.completed' AND sample_id = ?",
            [sample],
        )
        done = project.synth("forget", "--sample", row, "--out", "less.duckdb")
        assert done.status == 0, done.err
        held = query(
            tmp_path / "less.duckdb",
            "SELECT count(*) FROM events WHERE kind <> 'plan.registered' "
            "AND contains(CAST(payload AS VARCHAR), 'parcel number 1:')",
        )
        assert held == [(0,)]
        asked = at.total
        for _ in range(2):
            done = project.synth("materialize", "rows.recipe", "--log", "less.duckdb", "--out", "less")
            assert done.status == 0, done.err
            left = rows(tmp_path / "less/out/again/train.jsonl")
            assert len(left) == len(rows(tmp_path / "less/out/sft/train.jsonl")) == 28
            done = project.synth("run", "rows.recipe", "--log", "less.duckdb")
            assert done.status == 0, done.err
        assert at.total == asked
        assert project.synth("replay", "rows.recipe", "--log", "less.duckdb").status == 0
        assert project.synth("doctor", "less.duckdb").status == 0


def test_a_table_of_which_nothing_is_left_says_so(tmp_path: Path) -> None:
    for name, row in (
        ("dropped", numbered(1, body="dropped", facts=["a"])),
        ("empty", numbered(1, facts=[])),
    ):
        project = Project(tmp_path / name, LISTS, [row])
        with server() as at:
            done = synth("run", "rows.recipe", cwd=project.folder, env=served(at))
            assert at.total == 0
        assert done.status == 3
        assert "`tickets` has no row" in done.out
        assert ("any `facts`" in done.out) == (name == "empty")


def test_limits_and_losses_that_are_tried_again(tmp_path: Path) -> None:
    project = Project(tmp_path, HEAD + PLAIN, map(numbered, range(40)))
    with server(faults=FaultPlan()) as at:
        assert project.ran(at, "--limit", "10") == 9
        assert project.ran(at, "--limit", "20") == 10
        assert project.ran(at) == 19
        asked = at.total
        assert project.ran(at, "--retry-lost") == 0
        assert at.total == asked + 2
    project.materialize()
    assert len(project.rows()) == 38
    project.holds()
