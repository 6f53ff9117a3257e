"""`sql_accuracy`: whether a student's queries give what those of the rows give, by running both."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.evaluation.helpers import served
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import synth

_RECIPE = """edition 1

recipe r { seed = 1 }

model small: model<chat> from openai("small")

schema Asked { name: text, sql: text, file: path, ddl: text }

source asked: Asked from jsonl("data/asked.jsonl", id = "name")

conversation c over row in asked {
  turn question: user = "{{ row.name }}"
  turn answer: model = "{{ row.sql }}"
}

export train: messages from c to "out/train" { columns { db = c.row.file, ddl = c.row.ddl } }

evaluation measured of train { MEASURE }
"""
_DDL = """CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT, days_late INT);
INSERT INTO orders VALUES (1, 'kettle', 3), (2, 'cup', 0);"""
# What is right, what the student says, and why that is wrong.
_ROWS = [
    ("SELECT item FROM orders", "SELECT item AS name FROM orders ORDER BY id DESC", None),
    ("SELECT count(*) FROM orders", "Sure:\n```sql\nSELECT 2.0\n```", None),
    (
        "SELECT item FROM orders ORDER BY id",
        "SELECT item FROM orders ORDER BY id DESC",
        "gives other rows, or in another order",
    ),
    (
        "SELECT (SELECT item FROM orders ORDER BY id LIMIT 1) UNION ALL SELECT 'cup'",
        "SELECT item FROM orders ORDER BY item",
        None,
    ),
    (
        "SELECT item FROM orders",
        "SELECT item FROM orders WHERE days_late > 0",
        "gives 1 rows, and 2 are right",
    ),
    ("SELECT item FROM orders", "SELECT id, item FROM orders", "gives 2 columns, and 1 are right"),
    ("SELECT item FROM orders", "SELECT price FROM orders", "no such column: price"),
    ("SELECT item FROM orders", "DROP TABLE orders", "changes the schema, and only reading is allowed"),
    ("SELECT item FROM orders", "I cannot say.", 'near "I": syntax error'),
    ("SELECT gone FROM orders", "SELECT item FROM orders", "unfit"),
]


@pytest.mark.parametrize(
    "on", ["database = db", 'database = "data/shop.db"', "schema = ddl", 'schema = "data/shop.sql"']
)
def test_a_query_is_right_that_gives_the_same(tmp_path: Path, on: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/shop.sql").write_text(_DDL)
    made = sqlite3.connect(tmp_path / "data/shop.db")
    made.executescript(_DDL)
    made.close()
    rows = [
        {"name": f"q{n}", "sql": sql, "file": "data/shop.db", "ddl": _DDL}
        for n, (sql, _, _) in enumerate(_ROWS)
    ]
    (tmp_path / "data/asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.recipe").write_text(
        _RECIPE.replace("MEASURE", f"sql_accuracy(student = small, {on}, at_least = 80%)")
    )
    assert synth("run", "r.recipe", cwd=tmp_path).status == 0
    answers = {f"q{n}": said for n, (_, said, _) in enumerate(_ROWS)}
    with OpenAIServer(answer=lambda asked: answers[asked.messages[-1][1]]) as server:
        done = synth("evaluate", "r.recipe", "--json", cwd=tmp_path, env=served(server))
    assert done.status == 3, done.err
    ((found,),) = [each["measures"] for each in done.json()["evaluations"]]
    wrong = [why for _, _, why in _ROWS if why not in (None, "unfit")]
    assert (found["judged"], found["value"]) == (9, 100 * 3 / 9)
    assert found["note"] == "the queries of 1 rows do not run"
    assert {each["reason"] for each in found["examples"]} <= set(wrong)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (
            "sql_accuracy(student = small, at_least = 80%)",
            "queries run on a `schema` or a `database`, and neither is given",
        ),
        ("sql_accuracy(student = small, database = dbb, at_least = 80%)", "`train` has no column `dbb`"),
        ('sql_accuracy(database = "x.db", at_least = 80%)', "`sql_accuracy` needs `student`"),
    ],
)
def test_what_makes_no_sense_is_said_by_the_compiler(tmp_path: Path, measure: str, said: str) -> None:
    (tmp_path / "r.recipe").write_text(_RECIPE.replace("MEASURE", measure))
    done = synth("check", "r.recipe", cwd=tmp_path)
    assert said in done.err
    assert done.status == 1
