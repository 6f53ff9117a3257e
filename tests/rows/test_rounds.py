"""Conversations over conversations over rows: who is lost, what is made anew, and what is made of one row."""

from __future__ import annotations

from pathlib import Path

from tests.kit.servers.loopback import Asked, Raw
from tests.kit.support import rows
from tests.rows.project import FORBIDDEN, HEAD, Project, answered, kill_runs, numbered, server

ROWS = 80
RECIPE = (
    HEAD
    + """
set ways: topic {
  deep { about = "deep" }
  wide { about = "wide" }
}

conversation first over ticket in tickets {
  draw way from ways
  turn ask: user by one {
    prompt = "{{ way.about }} {{ ticket.body }}"
    check { distinct(similarity = 0.99) }
    retry = 2
  }
  turn answer: model by one { sees = transcript, check { no_words("bad") }, retry = 2 }
}

conversation second over parent in first {
  draw way from ways
  turn ask: user by one {
    prompt = "{{ way.about }} again {{ parent.ask }}"
    check { distinct(similarity = 0.99) }
    retry = 2
  }
  turn answer: model by one { sees = transcript, check { no_words("bad") }, retry = 2 }
}

conversation third 20 over child in second {
  turn ask: user = "{{ child.parent.ask }} / {{ child.parent.ticket.body }} / {{ child.ask }}"
  turn answer: model by one { sees = transcript }
}

mix rounds {
  one from first
  two from second
  three from third
  order = [one, two, three]
}

preference better from second { chosen = second.answer, rejected = attempts(second.answer) }
preference other from second {
  turn worse: model by one { prompt = "worse than {{ second.answer }}" }
  chosen = second.answer
  rejected = worse
}

export sft: messages from rounds to "out/sft" {
  split = 80%
  columns {
    root = [first.ticket.id, second.parent.ticket.id, third.child.parent.ticket.id]
    before = second.parent.ask
  }
}

export dpo: preference from better to "out/dpo" {
  split = 80%
  columns { root = second.parent.ticket.id, reply = second.answer, others = rest(second.parent.ticket) }
}

export own: preference from other to "out/own" {
  split = 80%
  columns { root = second.parent.ticket.id, number = second.nth, padding = other.worse }
}

export kto: unpaired from second to "out/kto" {
  split = 80%
  columns { root = second.parent.ticket.id }
}

export refused: rejected from second to "out/refused" {
  split = 80%
  columns { root = second.parent.ticket.id }
}
"""
)
EXPORTS = ("sft", "dpo", "own", "kto", "refused")


def said(asked: Asked) -> str | Raw:
    """One second question in ten is refused for good, and one answer in three at first."""
    text, number = asked.messages[-1][1], int(asked.key[:6], 16)
    if FORBIDDEN in text:
        return answered(asked)
    if " again " in text and number % 10 == 0:
        return Raw({"error": {"message": "refused", "type": "invalid_request_error"}}, 400)
    word = "bad" if number % 3 == 1 and "/" not in text else "good"
    return f"{word} text {asked.key[:12]} {asked.key[20:40]}"


def test_rounds_over_rows(tmp_path: Path) -> None:
    project = Project(tmp_path / "one", RECIPE, map(numbered, range(ROWS)))
    with server(answer=said) as at:
        done = project.run(at)
        assert done.status == 0, done.err
        assert project.foreseen() == 0
        asked = at.total
        project.ran(at)
        assert at.total == asked
        project.materialize()
        places = {
            place["conversation"]: place
            for part in project.manifest()["source"]["parts"]
            for place in part["places"]
        }
        first, second, third = (places[name] for name in ("first", "second", "third"))
        assert first["samples"] + first["lost"] == ROWS
        assert second["samples"] + second["lost"] == first["samples"], (
            "a lost parent costs its children alone"
        )
        assert second["lost"] > 0
        assert third["samples"] == 20
        before = project.digests()

        # A changed row makes its samples anew, those over them too, and whatever is exported of them.
        table = [numbered(number) for number in range(ROWS)]
        for number in range(10, 15):
            table[number]["body"] = f"another parcel {number}"
        project.table(table)
        asked = at.total
        project.ran(at)
        assert 0 < at.total - asked < 100
        project.materialize()
        project.holds(*EXPORTS)
        one_side(project)

        # It is what a project has that never knew the rows of before; kills change nothing either.
        fresh = Project(tmp_path / "fresh", RECIPE, table)
        kill_runs(fresh, at, 2, 300, seed=3)
        fresh.ran(at)
        fresh.materialize()
        assert fresh.digests() == project.digests()

        project.table(numbered(number) for number in range(ROWS))
        asked = at.total
        project.ran(at)
        assert at.total == asked
        project.materialize()
        assert project.digests() == before


def test_counts_over_counts(tmp_path: Path) -> None:
    counted = RECIPE.replace("first over", "first 50 over").replace("second over", "second 40 over")
    project = Project(tmp_path, counted.replace("third 20", "third 35"), map(numbered, range(ROWS)))
    with server(answer=said) as at:
        project.ran(at)
    project.materialize()
    taken = [part["rows"] for part in project.manifest()["source"]["parts"]]
    assert taken == [50, 40, 35]


def one_side(project: Project) -> None:
    """All that is made of one row is on one side of the split."""
    sides: dict[str, str] = {}
    for name in ("sft", "dpo", "own", "kto", "refused"):
        for side in ("train", "eval"):
            for row in rows(project.folder / "out" / name / f"{side}.jsonl"):
                assert sides.setdefault(row["root"], side) == side
    assert set(sides.values()) == {"train", "eval"}
    for row in rows(project.folder / "out" / "own" / "train.jsonl"):
        assert row["padding"] == row["rejected"][0]["content"]
        assert row["number"] == 1
    for row in rows(project.folder / "out" / "dpo" / "train.jsonl"):
        assert row["reply"] == row["chosen"][0]["content"]
