"""A row that is forgotten and mended is another row; what no row can make is not counted."""

from __future__ import annotations

from pathlib import Path

from tests.kit.support import rows
from tests.rows.project import Project, numbered

SIMULATED = """edition 1
recipe rows { seed = 5 }
model writer: model<chat> from simulated()
schema Row { id: text, body: text }
source table: Row from jsonl("rows.jsonl", id = "id")
conversation answered over row in table {
  turn ask: user by writer { prompt = "Say {{ row.body }}" }
  turn answer: model by writer { sees = transcript }
}
conversation again over parent in answered {
  turn ask: user = "{{ parent.ask }}"
  turn answer: model by writer { sees = transcript }
}
conversation once COUNT over parent in again {
  turn ask: user = "{{ parent.ask }}"
  turn answer: model by writer { sees = transcript }
}
export sft: messages from answered to "out/sft" { columns { row = answered.row.id } }
export last: messages from once to "out/last"
"""


def test_a_row_that_is_mended_once_it_is_forgotten_is_made_anew(tmp_path: Path) -> None:
    table = [numbered(number, body=f"A secret of number {number}, as it was.") for number in range(3)]
    project = Project(tmp_path, SIMULATED.replace("COUNT", "1"), table)
    assert project.synth("run", "rows.recipe").status == 0
    done = project.synth("forget", "--matching", "secret of number 1,", "--out", "less.duckdb")
    assert done.status == 0, done.err
    table[1] |= {"body": "Mended."}
    project.table(table)
    log = ("--log", "less.duckdb")
    foreseen = project.synth("compile", "rows.recipe", *log, "--json").json()["calls"]
    done = project.synth("run", "rows.recipe", *log, "--json")
    assert done.status == 0, done.err
    assert foreseen == 3
    done = project.synth("materialize", "rows.recipe", *log, "--out", "less")
    assert done.status == 0, done.err
    assert [row["row"] for row in rows(tmp_path / "less/out/sft/train.jsonl")] == ["t0", "t1", "t2"]
    assert project.synth("replay", "rows.recipe", *log).status == 0
    assert project.synth("compile", "rows.recipe", *log, "--json").json()["calls"] == 0


def test_a_count_that_rows_cannot_meet_is_foreseen_as_what_they_make(tmp_path: Path) -> None:
    project = Project(tmp_path, SIMULATED.replace("COUNT", "7"), map(numbered, range(3)))
    done = project.synth("compile", "rows.recipe")
    assert "3 of the 7 that are asked for" in done.out
    assert "is in no dataset" not in done.err, "what another conversation is over is no end in itself"
    assert project.synth("compile", "rows.recipe", "--json").json()["calls"] == 12
    assert project.synth("run", "rows.recipe").status == 3
    steps = project.synth("compile", "rows.recipe", "--log", "synth.duckdb", "--json").json()["steps"]
    assert {step["calls"] for step in steps} == {0}
    assert [step["reused"] for step in steps] == [3, 3, 3, 3]


DRAWN = """edition 1
recipe rows { seed = 5 }
model writer: model<chat> from simulated()
schema Row { id: text, body: text }
source table: Row from jsonl("rows.jsonl", id = "id")
conversation told times 9 {
  let some = sample(table, count = 2)
  turn ask: user = "{{ some | json }}"
  turn answer: model by writer { sees = transcript }
}
conversation each over row in table {
  turn ask: user = "{{ row.body }}"
  turn answer: model by writer { sees = transcript }
}
export sft: messages from told to "out/sft" { columns = [told.some] }
export all: messages from each to "out/all" { columns { row = each.row.id } }
"""


def test_a_row_is_forgotten_by_the_id_that_it_has_itself(tmp_path: Path) -> None:
    project = Project(tmp_path, DRAWN, [numbered(number, id=f"own-{number}") for number in range(4)])
    assert project.synth("run", "rows.recipe").status == 0
    project.materialize()
    drawn = sum(any(row["id"] == "own-2" for row in each["some"]) for each in project.rows())
    assert 0 < drawn < 9
    done = project.synth("forget", "--sample", "own-2", "--out", "less.duckdb", "--json")
    assert done.status == 0, done.err
    assert len(done.json()["rows"]) == 1
    assert len(done.json()["samples"]) == drawn + 1
    done = project.synth("forget", "--sample", "own-9", "--out", "none.duckdb")
    assert done.status == 1
    assert "the log knows no sample `own-9`" in done.err
