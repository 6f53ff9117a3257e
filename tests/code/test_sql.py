"""`sql_runs`: queries run in sqlite, which lets them read and nothing else, and each once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.kit.support import query, synth

_DDL = "CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT, days_late INT);"
_FOREVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT "
# What each query is refused with; None where it holds.
_QUERIES: dict[str, str | None] = {
    "SELECT item FROM orders WHERE days_late > 2": None,
    "The query is\n\n```sql\nSELECT count(*) FROM orders;\n```": None,
    "WITH late AS (SELECT * FROM orders WHERE days_late > 0) SELECT max(days_late) FROM late": None,
    "SELECT price FROM orders": "no such column: price",
    'SELECT "price" FROM orders': "no such column: price",
    'SELECT "it""em`" FROM orders': 'no such column: it"em`',
    'SELECT o."item", \'"price"\' AS "a `b" FROM "orders" o /* "x */ ORDER BY "a `b" -- "': None,
    "EXPLAIN SELECT item FROM orders": "is no query: it only explains one",
    "-- why\n/* so */ explain query plan SELECT item FROM orders": "is no query: it only explains one",
    "SELEC item FROM orders": 'near "SELEC": syntax error',
    "SELECT item FROM orders WHERE days_late > 99": "gives no row; at least 1 is asked for",
    "SELECT 1; SELECT 2": "holds more than one statement",
    "-- nothing": "is no query: it gives no result",
    "SELECT item FROM orders WHERE id = ?": "has a parameter, and no value for it",
    "INSERT INTO orders VALUES (9, 'x', 0)": "asks for INSERT, and only reading is allowed",
    "DROP TABLE orders": "changes the schema, and only reading is allowed",
    "ATTACH 'stolen.db' AS other": "asks for ATTACH, and only reading is allowed",
    "VACUUM INTO 'copy.db'": "asks for ATTACH, and only reading is allowed",
    "PRAGMA journal_mode = WAL": "asks for PRAGMA, and only reading is allowed",
    "SELECT load_extension('evil')": "calls `load_extension`, and only reading is allowed",
    "SELECT zeroblob(1000000000)": "string or blob too big",
    f"{_FOREVER} x FROM n": "gives more than 100,000 rows",
    f"{_FOREVER} count(*) FROM n": "took longer than 2 s",
}
_RECIPE = """edition 1

recipe r { seed = 1, losses = 100% }

schema Asked { name: text, sql: text, file: path, ddl: text }

source asked: Asked from jsonl("data/asked.jsonl", id = "name")

conversation c over row in asked {
  turn question: user = "{{ row.name }}"
  turn answer: model = "{{ row.sql }}" { check { CHECK } }
}

export train: messages from c to "out/train"
"""


def project(folder: Path, check: str, queries: list[str]) -> None:
    (folder / "data").mkdir(exist_ok=True)
    database = folder / "data/shop.db"
    database.unlink(missing_ok=True)
    with sqlite3.connect(database) as made:
        made.execute(_DDL)
        made.executemany("INSERT INTO orders VALUES (?, ?, ?)", [(1, "kettle", 3), (2, "cup", 0)])
    made.close()
    rows = [
        {"name": f"{number:02}", "sql": text, "file": "data/shop.db", "ddl": _DDL}
        for number, text in enumerate(queries)
    ]
    (folder / "data/asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "r.recipe").write_text(_RECIPE.replace("CHECK", check))
    (folder / "synth.toml").write_text("[functions]\nseconds = 2\n")


def refused(folder: Path) -> list[str]:
    """Why samples were lost, in the order of the rows."""
    found = query(
        folder / "synth.duckdb",
        "SELECT payload FROM events WHERE kind = 'function.done' "
        "AND (payload->>'result' IS NOT NULL OR payload->>'fault' IS NOT NULL) ORDER BY seq",
    )
    payloads = [json.loads(text) for (text,) in found]
    return [each.get("fault") or each["result"] for each in payloads]


def ran(folder: Path) -> int:
    ((count,),) = query(
        folder / "synth.duckdb",
        "SELECT count(DISTINCT payload->>'key') FROM events WHERE kind = 'function.done'",
    )
    return int(count)


def test_a_query_holds_or_is_refused_with_what_sqlite_says(tmp_path: Path) -> None:
    project(tmp_path, "sql_runs(database = row.file)", list(_QUERIES))
    before = (tmp_path / "data/shop.db").read_bytes()
    done = synth("run", "r.recipe", cwd=tmp_path)
    assert done.status in (0, 3), done.err
    assert sorted(refused(tmp_path)) == sorted(said for said in _QUERIES.values() if said is not None)
    assert (tmp_path / "data/shop.db").read_bytes() == before
    assert sorted(each.name for each in (tmp_path / "data").iterdir()) == ["asked.jsonl", "shop.db"]
    assert query(
        tmp_path / "synth.duckdb", "SELECT count(*) FROM events WHERE kind = 'sample.completed'"
    ) == [(4,)]
    ((versions,),) = query(
        tmp_path / "synth.duckdb", "SELECT payload->'versions' FROM events WHERE kind = 'run.started'"
    )
    assert json.loads(versions)["sqlite"] == sqlite3.sqlite_version

    # What is in the log needs no database any more.
    (tmp_path / "data/shop.db").unlink()
    for command in ("materialize r.recipe", "replay r.recipe", "verify out/train --log synth.duckdb"):
        done = synth(*command.split(), cwd=tmp_path)
        assert done.status == 0, done.err


def test_a_schema_is_enough_and_its_tables_may_be_empty(tmp_path: Path) -> None:
    queries = ["SELECT item FROM orders", "SELECT price FROM orders", "SELECT * FROM gone"]
    project(tmp_path, "sql_runs(schema = row.ddl)", queries)
    synth("run", "r.recipe", cwd=tmp_path)
    assert sorted(refused(tmp_path)) == ["no such column: price", "no such table: gone"]


def test_a_query_may_be_asked_to_fit_a_schema_and_give_rows_of_a_database(tmp_path: Path) -> None:
    ddl = tmp_path / "data/new.sql"
    project(tmp_path, 'sql_runs("data/new.sql", "data/shop.db", rows = 2)', [])
    ddl.write_text("CREATE TABLE orders(id, item);")
    queries = ["SELECT item FROM orders", "SELECT days_late FROM orders", "SELECT id FROM orders LIMIT 1"]
    project(tmp_path, 'sql_runs("data/new.sql", "data/shop.db", rows = 2)', queries)
    synth("run", "r.recipe", cwd=tmp_path)
    expected = ["gives 1 row; at least 2 are asked for", "no such column: days_late"]
    assert sorted(refused(tmp_path)) == expected

    # Another schema is another question; the database alone is too.
    asked = ran(tmp_path)
    ddl.write_text(_DDL)
    synth("run", "r.recipe", "--retry-lost", cwd=tmp_path)
    assert sorted(refused(tmp_path))[0] == expected[0]
    assert ran(tmp_path) == asked
    assert query(
        tmp_path / "synth.duckdb", "SELECT count(*) FROM events WHERE kind = 'sample.completed'"
    ) == [(2,)]


def test_what_a_schema_may_not_do_is_told(tmp_path: Path) -> None:
    project(tmp_path, "sql_runs(schema = row.sql)", [f"ATTACH '{tmp_path}/made.db' AS x", "CREATE TABL a(b)"])
    synth("run", "r.recipe", cwd=tmp_path)
    assert sorted(refused(tmp_path)) == [
        "was not run: of its schema sqlite says: it asks for ATTACH, which is not allowed there",
        'was not run: of its schema sqlite says: near "TABL": syntax error',
    ]
    assert not (tmp_path / "made.db").exists()


def test_a_query_is_asked_once_and_anew_where_its_database_changed(tmp_path: Path) -> None:
    text = _RECIPE.replace("turn answer: model = ", "turn answer: model = ").replace("CHECK", "length(1..)")
    text = text.replace(
        "  turn question", "  keep { sql_runs(row.sql, database = row.file) }\n  turn question"
    )
    project(
        tmp_path, "length(1..)", ["SELECT item FROM orders", "SELECT item FROM orders WHERE days_late > 5"]
    )
    (tmp_path / "r.recipe").write_text(text)
    synth("run", "r.recipe", cwd=tmp_path)
    assert refused(tmp_path) == ["gives no row; at least 1 is asked for"]
    count = "SELECT count(*) FROM events WHERE kind = 'function.done'"
    assert query(tmp_path / "synth.duckdb", count) == [(2,)]
    synth("run", "r.recipe", "--retry-lost", cwd=tmp_path)
    assert query(tmp_path / "synth.duckdb", count) == [(2,)]
    with sqlite3.connect(tmp_path / "data/shop.db") as made:
        made.execute("UPDATE orders SET days_late = 9")
    made.close()
    done = synth("run", "r.recipe", "--retry-lost", cwd=tmp_path)
    assert done.status == 0, done.err
    assert query(tmp_path / "synth.duckdb", count) == [(3,)]


def test_rows_of_a_source_are_kept_by_whether_their_queries_run(tmp_path: Path) -> None:
    text = _RECIPE.replace(
        'jsonl("data/asked.jsonl", id = "name")',
        'jsonl("data/asked.jsonl", id = "name") { keep { sql_runs(sql, schema = ddl) } }',
    )
    project(tmp_path, "length(1..)", ["SELECT item FROM orders", "SELECT x FROM orders"])
    (tmp_path / "r.recipe").write_text(text.replace("CHECK", "length(1..)"))
    done = synth("run", "r.recipe", cwd=tmp_path)
    assert done.status == 0, done.err
    assert query(
        tmp_path / "synth.duckdb", "SELECT count(*) FROM events WHERE kind = 'sample.completed'"
    ) == [(1,)]


def test_a_simulation_runs_no_query(tmp_path: Path) -> None:
    project(tmp_path, 'sql_runs(database = "data/gone.db")', ["DROP TABLE orders"])
    done = synth("run", "r.recipe", "--simulate", cwd=tmp_path)
    assert done.status == 0, done.err
    done = synth("run", "r.recipe", cwd=tmp_path)
    assert done.status == 1
    assert done.err.rstrip().endswith("`sql_runs`: there is no file `data/gone.db` below the recipe's folder")
    project(tmp_path, 'sql_runs(database = "../shop.db")', [])
    done = synth("run", "r.recipe", cwd=tmp_path)
    assert done.status == 1
    assert done.err.rstrip().endswith("`sql_runs`: `../shop.db` lies outside the project")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("sql_runs()", "queries run on a `schema` or a `database`, and neither is given"),
        ("sql_runs(database = 3)", "`sql_runs` takes a path, and `3` is a count"),
        ("sql_runs(row.ddl, row.file, 1.., 3)", "`sql_runs` takes no such argument"),
    ],
)
def test_what_makes_no_sense_is_said_by_the_compiler(tmp_path: Path, check: str, said: str) -> None:
    project(tmp_path, check, [])
    done = synth("check", "r.recipe", cwd=tmp_path)
    assert said in done.out + done.err
    assert done.status == 1
