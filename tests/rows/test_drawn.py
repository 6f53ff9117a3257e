"""Rows that are drawn: from a source, several at once, or from a list that a row or a sample has."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.tables.dealt import permuted
from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.loopback import Asked, Raw
from tests.kit.support import SOAK
from tests.rows.project import FORBIDDEN, Project, answered, kill_runs, numbered, server, write

HEAD = """edition 1
recipe rows { seed = 5 }

model one: model<chat, json> from openai("one")

schema Ticket { id: text, body: text, licence: text?, facts: list<text>?, stars: count? }
schema Shot { question: text, reply: text, note: text? }
schema Made { questions: list<text>(1..3) }

source tickets: Ticket from jsonl("rows.jsonl", id = "id")
source shots: Shot from jsonl("shots.jsonl")

set people: topic { child { about = "a child" }, clerk { about = "a clerk" } }
"""
FREE = (
    HEAD
    + """
conversation told over person in people times 12 {
  draw ticket from tickets
  draw mood from ["calm", "odd"]
  let some = sample(shots, count = 3)
  turn ask: user = "{{ ticket.body }} {{ mood }} {{ person.about }} {{ some | json }}"
  turn answer: model by one { sees = transcript, check { distinct(similarity = 0.99) }, retry = 1 }
}

conversation more over before in told {
  turn ask: user = "More of {{ before.ticket.id }}? {{ before.answer }}"
  turn answer: model by one { sees = transcript }
}

preference pairs from told {
  turn worse: model by one { prompt = "worse than {{ told.answer }}" }
  chosen = told.answer
  rejected = worse
}

export sft: messages from told to "out/sft" {
  columns { ticket = told.ticket.id, stars = told.ticket.stars, some = told.some, mood = told.mood
    who = told.person, others = rest(told.ticket) }
}
export again: messages from more to "out/again" { columns { ticket = more.before.ticket.id } }
export dpo: preference from pairs to "out/dpo" { columns { ticket = told.ticket.id } }
export refused: rejected from told to "out/refused" { columns { ticket = told.ticket.id } }
"""
)
EXPORTS = ("sft", "again", "dpo", "refused")


def said(asked: Asked) -> str | Raw:
    text, number = asked.messages[-1][1], int(asked.key[:6], 16)
    if FORBIDDEN in text:
        return answered(asked)
    if "JSON" in text:
        return json.dumps({"questions": [f"question {asked.key[:5]} {n}" for n in range(1 + number % 3)]})
    return f"Answer {asked.key} on {asked.key[::-1]}"


def project(folder: Path, recipe: str, table: list[dict[str, Any]], shots: int = 7) -> Project:
    made = Project(folder, recipe, table)
    write(made.folder / "shots.jsonl", ({"question": f"q{n}", "reply": f"r{n}"} for n in range(shots)))
    return made


def rows_of(count: int) -> list[dict[str, Any]]:
    return [numbered(number, stars=number, more=f"m{number}") for number in range(count)]


def test_a_source_is_gone_through_before_a_row_comes_twice(tmp_path: Path) -> None:
    table = [row for row in rows_of(11) if FORBIDDEN not in row["body"]]
    found = project(tmp_path / "one", FREE, table)
    with server(answer=said) as at:
        found.ran(at)
        found.materialize()
        rows = found.rows()
        assert len(rows) == 24
        assert set(Counter(row["ticket"] for row in rows).values()) == {2, 3}
        assert Counter(row["who"] for row in rows) == {"child": 12, "clerk": 12}
        assert Counter(row["mood"] for row in rows) == {"calm": 12, "odd": 12}
        for row in rows:
            assert row["ticket"] == f"t{row['stars']}"
            assert json.loads(row["others"]) == {"more": f"m{row['stars']}"}
            assert len({each["question"] for each in row["some"]}) == 3
        by_ticket = {row["messages"][0]["content"].split("?")[0]: row for row in found.rows("again")}
        assert {row["ticket"] for row in by_ticket.values()} <= {row["ticket"] for row in rows}
        assert len(found.rows("again")) == len(found.rows("dpo")) == 24
        found.holds(*EXPORTS)

        # Kills, and another project, change nothing.
        other = project(tmp_path / "two", FREE, table)
        kill_runs(other, at, 1 + 19 * SOAK, 60, seed=2)
        other.ran(at)
        other.materialize()
        assert other.digests() == found.digests()

        # A field that is only exported costs nothing, a used one what is made of its row.
        table[3]["stars"] = 99
        found.table(table)
        assert found.ran(at) == 0
        found.materialize()
        assert 99 in {row["stars"] for row in found.rows()}
        table[3]["body"] = "another parcel"
        found.table(table)
        again = sum(row["ticket"] == table[3]["id"] for row in rows)
        assert found.foreseen() in (2 * again, 3 * again)
        assert found.ran(at) == 3 * again


def test_what_is_lost_draws_another_row(tmp_path: Path) -> None:
    found = project(tmp_path, FREE, rows_of(30))
    with server(answer=said) as at:
        done = found.run(at)
        assert done.status == 0, done.err
    found.materialize()
    rows = found.rows()
    assert len(rows) == 24
    assert not {row["ticket"] for row in rows} & {"t3", "t28"}
    found.holds()


OVER = (
    HEAD
    + """
conversation first over ticket in tickets over person in people times 2 {
  draw fact from ticket.facts
  draw shot from shots
  turn ask: user = "{{ ticket.body }}: {{ fact }}, {{ shot.question }}, {{ person.about }}, {{ nth }}"
  step made: json<Made> by one { prompt = "JSON of questions on: {{ ask }}" }
  turn answer: model by one { sees = transcript }
}

conversation second over before in first over question in before.made.questions {
  draw fact from before.ticket.facts
  draw mood from ["calm", "odd"]
  turn ask: user = "{{ question }} {{ fact }} {{ mood }}"
  turn answer: model by one { sees = transcript, check { distinct(similarity = 0.99) }, retry = 1 }
}

conversation third over it in first over fact in it.ticket.facts times 2 {
  turn ask: user = "{{ it.answer }} {{ fact }} {{ nth }}"
  turn answer: model by one { sees = transcript }
}

conversation fourth 20 over it in third {
  turn ask: user = "{{ it.fact }}?"
  turn answer: model by one { sees = transcript }
}

preference better from third {
  turn worse: model by one { prompt = "worse than {{ third.answer }}" }
  chosen = third.answer
  rejected = worse
}

export sft: messages from first to "out/sft" {
  columns { ticket = first.ticket.id, fact = first.fact, who = first.person, shot = first.shot.reply }
}
export two: messages from second to "out/two" {
  columns {
    question = second.question
    ticket = second.before.ticket.id
    of = second.before.made.questions
    fact = second.fact
  }
}
export three: messages from third to "out/three" {
  columns { fact = third.fact, ticket = third.it.ticket.id }
}
export four: messages from fourth to "out/four" { columns { fact = fourth.it.fact } }
export dpo: preference from better to "out/dpo" { columns { fact = third.fact } }
"""
)
ALL = ("sft", "two", "three", "four", "dpo")


def facts(number: int) -> dict[str, Any]:
    """A row with none to three facts."""
    return {
        "id": f"t{number}",
        "body": f"parcel {number}",
        "facts": [f"f{number}.{n}" for n in range(number % 4)],
    }


def test_items_of_lists_are_dealt_within_their_row(tmp_path: Path) -> None:
    table = [facts(number) for number in range(8)]
    found = project(tmp_path / "one", OVER, table)
    with server(answer=said, faults=FaultPlan()) as at:
        found.ran(at)
        found.materialize()
        rows = found.rows()
        assert len(rows) == 6 * 4
        assert found.manifest()["source"]["empty"] == 2
        for number in range(8):
            mine = Counter(row["fact"] for row in rows if row["ticket"] == f"t{number}")
            assert len(mine) == number % 4
            assert not mine or max(mine.values()) - min(mine.values()) <= 1
            assert len({row["shot"] for row in rows if row["ticket"] == f"t{number}"}) == (4 if mine else 0)
        second = found.rows("two")
        questions = Counter(row["question"] for row in second)
        assert set(questions) == {question for row in second for question in row["of"]}
        assert all(row["fact"].startswith(f"f{row['ticket'][1:]}.") for row in second)
        third = found.rows("three")
        assert len(third) == sum(2 * 4 * (number % 4) for number in range(8))
        assert len(found.rows("dpo")) == len(third)
        assert len(found.rows("four")) == 20
        other = project(tmp_path / "two", OVER, table)
        kill_runs(other, at, 1 + 19 * SOAK, 120, seed=4)
        other.ran(at)
        other.materialize()
        assert other.digests() == found.digests()

        shown = found.synth("compile", "rows.recipe", "--log", "synth.duckdb")
        assert "draw shot: rows of shots" in shown.out
        assert "draw fact: items of `before.ticket.facts`" in shown.out
        assert "fourth: 20 conversations" in shown.out
        steps = found.synth("compile", "rows.recipe", "--log", "synth.duckdb", "--json").json()["steps"]
        assert {(each["cohort"], each["reused"]) for each in steps} >= {
            ("third", len(third)), ("fourth", 20), ("second", len(second))
        }  # fmt: skip

        # One item more of one row.
        table[1]["facts"].append("new")
        found.table(table)
        found.ran(at)
        found.materialize()
        found.holds(*ALL)
        assert len(found.rows("three")) == len(third) + 8


def test_a_limit_goes_for_lists_of_samples_too(tmp_path: Path) -> None:
    found = project(tmp_path, OVER, [facts(number) for number in range(8)])
    with server(answer=said, faults=FaultPlan()) as at:
        assert found.run(at, "--limit", "3").status == 0
        asked = at.total
        assert found.run(at, "--limit", "3").status == 0
        assert at.total == asked


@pytest.mark.parametrize(
    ("shots", "recipe", "wanted"),
    [
        (2, FREE, "`some` of `told` takes 3 of the rows of `shots`, which has 2"),
        (7, OVER, "`first` has no sample: `tickets` has no row that has any `facts`"),
    ],
)
def test_a_table_that_is_too_short_is_told_of(shots: int, recipe: str, wanted: str, tmp_path: Path) -> None:
    table = [{**row, "facts": []} for row in rows_of(3)]
    found = project(tmp_path, recipe, table, shots)
    with server(answer=said) as at:
        done = found.run(at)
        assert at.total == 0
    assert done.status != 0
    assert wanted in done.out + done.err


def faults(text: str) -> list[tuple[str, str]]:
    try:
        compile_text(HEAD + text)
    except RecipeError as error:
        return [(each.code, each.message) for each in error.diagnostics]
    return []


TURN = 'turn ask: user = "Hello?"'


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "conversation c over t in tickets { draw f from t.fcats, TURN }",
            "E102",
            "`t` has no `fcats`",
        ),
        (
            "conversation c over t in tickets { draw f from t.body, TURN }",
            "E202",
            "`t.body` is text, and values are drawn from a list",
        ),
        (
            "conversation c times 3 { draw f from tickets.facts, TURN }",
            "E202",
            "`tickets.facts` is no table: each row of `tickets` has a `facts` of its own",
        ),
        (
            "conversation c times 3 { draw t from tickets, draw f from t.facts, TURN }",
            "E202",
            "`t.facts` is a list of what is drawn, and lists are drawn from what a conversation is over",
        ),
        (
            "conversation c times 3 { let s = sample(tickets, count = 0), TURN }",
            "E202",
            "`s` picks 0 rows",
        ),
        (
            'conversation c times 3 { let s = sample(tickets, about = "x"), TURN }',
            "E202",
            "`sample` takes `about` of a source of chunks, and this one has rows",
        ),
        (
            "conversation c times 3 { draw d from [1, 2], let s = sample(tickets) when d in [1], TURN }",
            "E108",
            "`s` picks rows, which stands under no condition",
        ),
        (
            'conversation c times 3 { let s = retrieve(tickets, query = "x"), TURN }',
            "E202",
            "`retrieve` takes a source of chunks, and `tickets` gives rows",
        ),
        (
            'conversation a over t in tickets { step m: json<Made> by one { prompt = "x" }, TURN }\n'
            "conversation b over p in a { TURN }\n"
            "conversation c over p in b over q in p.p.m.questions { TURN }",
            "E202",
            "`p.p.m.questions` is made in a sample that `b` is made from",
        ),
        (
            "conversation a times 3 { TURN }\nconversation c times 3 { draw x from a, TURN }",
            "E202",
            "`a` is a conversation, not a set",
        ),
    ],
)
def test_what_cannot_be_drawn_from(text: str, code: str, message: str) -> None:
    assert (code, message) in faults(text.replace("TURN", TURN))


def test_a_deck_goes_through_all_before_any_comes_again() -> None:
    for size in (1, 2, 35, 64, 65, 1000):
        for block in range(2):
            places = range(block * size, (block + 1) * size)
            assert sorted(permuted(place, size, 5, "deck") for place in places) == list(range(size))
    dealt = [permuted(place, 1000, 5, "deck") for place in range(2000)]
    assert dealt[:1000] != dealt[1000:]
    assert permuted(3, 1000, 5, "deck") != permuted(3, 1000, 6, "deck")
