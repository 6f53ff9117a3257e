"""Rows of a schema: read by the names of its fields, converted, named, refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import ConfigError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.store.dataset.inputs.filter import keep
from synth.store.dataset.inputs.sources import source_of, source_rows
from synth.store.log.log import Log
from tests.kit.support import query, synth
from tests.sources import helpers
from tests.sources.helpers import ingest, kinds, write_csv, write_lines, write_parquet

TICKET = """
schema Author { name: text, age: count? }
schema Ticket {
  body: text(1..20)
  category: enum<billing, other>
  stars: count(1..5)?
  price: number?
  share: ratio?
  open: boolean?
  tags: list<text(1..8)>(0..3)?
  author: Author?
  chat: messages?
}
"""
GOOD = {"body": "Late parcel", "category": "billing"}


def typed(folder: Path, reader: str, schema: str = TICKET, body: str = "", row: str = "Ticket") -> Plan:
    """A plan with one source of rows, `rows`."""
    source = f"source rows: {row} from {reader} {{ {body} }}"
    text = f"edition 1\n\nrecipe example {{ seed = 1 }}\n\n{schema}\n{source}\n"
    return compile_text(text).plan.below(folder)


def logged(plan: Plan, log: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(name, {**payload}) for name, payload in helpers.logged(plan, log)]


def read(plan: Plan, log: Path) -> list[dict[str, Any]]:
    ingest(plan, log)
    return [payload for _, payload in logged(plan, log)]


def values(plan: Plan, log: Path) -> list[dict[str, Any]]:
    return [row["values"] for row in read(plan, log)]


def refused(plan: Plan, log: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        ingest(plan, log)
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert kinds(log) == []
    return sentence


FULL = {
    **GOOD,
    "stars": 4,
    "price": 2.5,
    "share": 60,
    "open": True,
    "tags": ["a", "b"],
    "author": {"name": "Ana"},
    "chat": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}],
}
READ = {**FULL, "chat": [{"role": "user", "content": "Hi"}, {"role": "model", "content": "Yes"}]}


def test_json_lines_are_read_by_the_names_of_fields(tmp_path: Path, log: Path) -> None:
    write_lines(
        tmp_path / "t.jsonl", [{**FULL, "by": 7, "gone": None}, {**GOOD, "stars": None, "price": 3.0}]
    )
    first, second = read(typed(tmp_path, 'jsonl("t.jsonl")'), log)
    assert first["values"] == READ
    assert first["rest"] == {"by": 7}
    assert (first["file"], first["line"], first["row"]) == ("t.jsonl", 1, 0)
    assert second["values"] == {**GOOD, "price": 3}
    assert isinstance(second["values"]["price"], int)
    assert not {"rest", "name", "messages"} & second.keys()


def test_the_same_rows_have_the_same_names_in_every_format(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [FULL, with_(body="Two", stars=1), GOOD, GOOD]
    write_lines(tmp_path / "t.jsonl", rows)
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / "held.json").write_text(json.dumps({"version": {"a": [1]}, "data": rows, "n": 4}, indent=1))
    cells = [["" if row.get(n) is None else _cell(row[n]) for n in FULL] for row in rows]
    write_csv(tmp_path / "t.csv", list(FULL), cells)
    found: dict[str, list[tuple[str, Any]]] = {}
    for reader in ('jsonl("t.jsonl")', 'json("list.json")', 'json("held.json")', 'csv("t.csv")'):
        plan, log = typed(tmp_path, reader), tmp_path / f"{len(found)}.duckdb"
        ingest(plan, log)
        found[reader] = [(name, payload["values"]) for name, payload in logged(plan, log)]
    assert len({json.dumps(each) for each in found.values()}) == 1
    names = [name for name, _ in found['csv("t.csv")']]
    assert len(set(names)) == 4


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def test_parquet_gives_its_types(tmp_path: Path, log: Path) -> None:
    schema = "schema Row { n: count, x: number?, day: text, ok: boolean?, tags: list<text>?, in: Inner? }\n"
    schema = "schema Inner { a: count }\n" + schema
    types = (
        'n DOUBLE, x DOUBLE, day DATE, ok BOOLEAN, tags VARCHAR[], "in" STRUCT(a BIGINT), '
        "paid DECIMAL(9,2), raw BLOB"
    )
    write_parquet(
        tmp_path / "t.parquet",
        [
            {
                "n": 2.0,
                "x": float("nan"),
                "day": "2024-02-29",
                "ok": True,
                "tags": ["é"],
                "in": {"a": 1},
                "p": "1.50",
                "r": b"\x00",
            },
            {
                "n": 3.0,
                "x": 1e300,
                "day": "2024-03-01",
                "ok": None,
                "tags": None,
                "in": None,
                "p": None,
                "r": None,
            },
        ],
        types,
    )
    first, second = read(typed(tmp_path, 'parquet("t.parquet")', schema, row="Row"), log)
    assert first["values"] == {"n": 2, "day": "2024-02-29", "ok": True, "tags": ["é"], "in": {"a": 1}}
    assert first["rest"]["paid"] == 1.5
    assert second["values"] == {"n": 3, "x": 1e300, "day": "2024-03-01"}


def test_a_saved_dataset_is_read(tmp_path: Path, log: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list([GOOD, {**GOOD, "body": "Two"}]).save_to_disk(tmp_path / "saved")
    assert values(typed(tmp_path, 'dataset("saved")'), log) == [GOOD, {**GOOD, "body": "Two"}]


def with_(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


# A row that does not fit, and what is said of it.
MISFITS: list[tuple[object, str]] = [
    (with_(body=5), "has a `body` that is no text (it is 5)"),
    (with_(body="x" * 21), "has a `body` outside 1..20 characters (it has 21)"),
    (with_(body=""), "has a `body` outside 1..20 characters (it has 0)"),
    ({"category": "other"}, "has no `body` (its columns are `category`)"),
    ({"bodi": "a", "category": "other"}, "has no `body` (did you mean `bodi`?)"),
    (with_(body=None), "has no `body` (it is null)"),
    (with_(category="Other"), "has a `category` that is none of billing, other (it is `Other`)"),
    (with_(stars=True), "has a `stars` that is no count (it is true)"),
    (with_(stars=1.5), "has a `stars` that is no count (it is 1.5)"),
    (with_(stars="4"), "has a `stars` that is no count (it is `4`)"),
    (with_(stars=6), "has a `stars` outside 1..5 (it is 6)"),
    (with_(stars=10**80), "has a `stars` that is no count (it is a number of 266 bits)"),
    ('{"body": "a", "category": "other", "price": Infinity}', "has a `price` that is no number (it is inf)"),
    (with_(open=1), "has a `open` that is neither true nor false (it is 1)"),
    (with_(tags="a"), "has a `tags` that is no list (it is `a`)"),
    (with_(tags=["a", None]), "has an item of `tags` that is no text (it is null)"),
    (with_(tags=list("abcd")), "has a `tags` outside 0..3 items (it has 4)"),
    (with_(author=[]), "has a `author` that is no object (it is a list)"),
    (with_(author={"age": 1}), "has no `author.name`"),
    (with_(author={"name": "A", "age": "x"}), "has a `author.age` that is no count (it is `x`)"),
    (
        with_(chat=[{"role": "wizard", "content": "x"}]),
        "has an unknown role (`wizard` in message 1; roles are system, user and assistant)",
    ),
    ('{"body": "\\ud800", "category": "other"}', "has half of a character (U+D800 in `body`)"),
    (with_(by="a\0b"), "has a NUL character (in `by`)"),
    ("[" * 100_000, "is not JSON (it holds what is too long or too deep to be read)"),
    ("[1]", "is no object (it is a list)"),
]


@pytest.mark.parametrize("part", [0, 1])
def test_rows_that_do_not_fit_are_left_out_and_told_of(tmp_path: Path, log: Path, part: int) -> None:
    cases = MISFITS[part * 13 : part * 13 + 13]
    write_lines(tmp_path / "t.jsonl", [GOOD, *(row for row, _ in cases), GOOD])
    plan = typed(tmp_path, 'jsonl("t.jsonl")', body="bad_rows = skip")
    assert values(plan, log) == [GOOD, GOOD]
    ((left_out,),) = query(log, "SELECT payload -> 'left_out' FROM events WHERE kind = 'source.completed'")
    found = json.loads(left_out)
    assert found["rows"] == len(cases)
    assert [(each["line"], each["reason"]) for each in found["first"]] == [
        (line, fault) for line, (_, fault) in enumerate(cases, 2)
    ]


def test_a_row_that_does_not_fit_is_one_sentence(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "t.jsonl", [GOOD, with_(stars="4"), GOOD])
    assert refused(typed(tmp_path, 'jsonl("t.jsonl")'), log) == (
        "t.jsonl: 1 of 3 lines has a `stars` that is no count, line 2 (it is `4`): mend or remove it, or say "
        "`bad_rows = skip`"
    )


def test_cells_that_do_not_fit(tmp_path: Path, log: Path) -> None:
    header = ["body", "category", "stars", "tags", "open"]
    write_csv(
        tmp_path / "t.csv", header,
        [
            ["a", "other", "4.0", "", "no"],
            ["b", "other", "four", "", ""],
            ["c", "other", "", "[a]", ""],
            ["d", "other", "", "", "maybe"],
        ],
    )  # fmt: skip
    sentence = refused(typed(tmp_path, 'csv("t.csv")'), log)
    assert sentence == (
        "t.csv: 1 of 4 rows has a `stars` that is no count, line 3 (it is `four`); 1 has a `tags` that is no "
        "list as JSON, line 4 (it is `[a]`); 1 has a `open` that is neither true nor false, line 5 (it is "
        "`maybe`): mend or remove them, or say `bad_rows = skip`"
    )
    log.unlink()
    assert values(typed(tmp_path, 'csv("t.csv")', body="bad_rows = skip"), log) == [
        {"body": "a", "category": "other", "stars": 4, "open": False}
    ]


def test_ids_name_rows(tmp_path: Path) -> None:
    log = tmp_path / "synth.duckdb"
    write_lines(tmp_path / "t.jsonl", [{**GOOD, "key": 7}, {**GOOD, "key": "8"}])
    plan = typed(tmp_path, 'jsonl("t.jsonl", id = "key")')
    ingest(plan, log)
    before = logged(plan, log)
    assert [payload["name"] for _, payload in before] == ["7", "8"]
    write_lines(tmp_path / "t.jsonl", [{**GOOD, "body": "new", "key": "8"}, {**GOOD, "key": "7"}])
    ingest(plan, log)
    assert [name for name, _ in logged(plan, log)] == [before[1][0], before[0][0]]
    shown = synth("show", before[1][0], cwd=tmp_path).out
    assert '  id 8\n  | body: Late parcel\n  | category: billing\n  | rest: {"key":"8"}\n' in shown
    assert "read from t.jsonl, line 2" in shown
    assert "read from t.jsonl, line 1" in shown


def test_an_id_that_is_there_twice_names_both_places(tmp_path: Path, log: Path) -> None:
    write_lines(
        tmp_path / "t.jsonl", [{**GOOD, "id": "a"}, {**GOOD, "id": "b"}, {**GOOD, "body": "x", "id": "a"}]
    )
    assert refused(typed(tmp_path, 'jsonl("t.jsonl", id = "id")'), log) == (
        "t.jsonl: 1 of 3 lines has an id that is there before, line 3 (`a`, as on line 1): mend or remove "
        "it, or say `bad_rows = skip`"
    )
    log.unlink()
    plan = typed(tmp_path, 'jsonl("t.jsonl", id = "id")', body="bad_rows = skip")
    assert [row["name"] for row in read(plan, log)] == ["a", "b"]


def test_files_that_hold_no_such_rows(tmp_path: Path, log: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("body,category\n")
    (tmp_path / "other.csv").write_text("bodi,category\na,other\n")
    wide = ",".join(["body", "category", *(f"c{i}" for i in range(9_998))])
    (tmp_path / "wide.csv").write_text(f"{wide}\na,other{',1' * 9_998}\n")
    (tmp_path / "lists.json").write_text('{"a": [], "b": []}')
    (tmp_path / "none.json").write_text('{"a": 1}')
    (tmp_path / "lines.json").write_text('{"a": 1}\n{"a": 2}\n')
    for reader, sentence in {
        'csv("empty.csv")': "empty.csv is empty: write rows into it, or leave the source out",
        'csv("header.csv")': "header.csv has no rows: write some into it, or leave the source out",
        'csv("other.csv")': "other.csv has no column `body` (did you mean `bodi`?): name it so there, or "
        "make the field optional: `body: ...?`",
        'csv("header.csv", id = "key")': "header.csv has no column `key` (its columns are `body`, "
        "`category`): name one that every row has",
        'csv("wide.csv")': "wide.csv has 10,000 columns, and a source reads at most 2,000: write a file "
        "with those that are needed",
        'json("lists.json")': "lists.json holds several lists, `a` and `b`: write the rows alone, as one "
        "list",
        'json("none.json")': "none.json holds no list of rows: write them as a list of objects",
        'json("lines.json")': "lines.json holds more than one object: an object on each line is read by "
        "`jsonl`",
    }.items():
        assert refused(typed(tmp_path, reader), log) == sentence


def test_a_limit_ends_a_source(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "t.jsonl", [GOOD, {**GOOD, "body": "b"}, "broken"])
    assert len(read(typed(tmp_path, 'jsonl("t.jsonl", limit = 2)'), log)) == 2


def test_what_a_column_holds_besides_is_json(tmp_path: Path, log: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(
        b'\xef\xbb\xbf{"body": "a", "category": "other", "stars": NaN, "x": NaN, '
        b'"y": [-Infinity, 1], "z": "\\\\u0000"}\r\n'
    )
    (row,) = read(typed(tmp_path, 'jsonl("t.jsonl")'), log)
    assert row["values"] == {"body": "a", "category": "other"}
    assert row["rest"] == {"x": "NaN", "y": ["-Infinity", 1], "z": "\\u0000"}
    numbers = [
        {**GOOD, "x": "inf", "y": "nan"},
        {**GOOD, "x": "1.5", "y": "nan"},
        {**GOOD, "x": "nan", "y": "nan"},
    ]
    write_parquet(tmp_path / "t.parquet", numbers, "body VARCHAR, category VARCHAR, x DOUBLE, y DOUBLE")
    rows = read(typed(tmp_path, 'parquet("t.parquet")'), tmp_path / "p.duckdb")
    assert [row.get("rest") for row in rows] == [{"x": "Infinity"}, {"x": 1.5}, {"x": "NaN"}]


def test_a_number_beyond_all_is_refused_by_its_column(tmp_path: Path, log: Path) -> None:
    good = json.dumps({**GOOD, "beside": "Infinity"})
    (tmp_path / "t.jsonl").write_text(f'{good}\n{good[:-1]}, "score": [1e999]}}\n')
    assert refused(typed(tmp_path, 'jsonl("t.jsonl")'), log) == (
        "t.jsonl: 1 of 2 lines has a number that is too large, line 2 (in `score`): mend or remove it, "
        "or say `bad_rows = skip`"
    )


def test_a_word_that_an_enum_lacks_is_told_with_the_enum(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "t.jsonl", [GOOD, *(with_(category=word) for word in ("refund", "praise"))])
    assert refused(typed(tmp_path, 'jsonl("t.jsonl")'), log) == (
        "t.jsonl: 2 of 3 lines have a `category` that is none of billing, other, the first is line 2 (it is "
        "`refund`): add what is missing to the enum of `category` or make it `text`; else mend or remove "
        "them, or say `bad_rows = skip`"
    )


def test_rows_are_logged_once_and_gone_on_with(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "t.jsonl", [{**GOOD, "n": i} for i in range(700)])
    plan = typed(tmp_path, 'jsonl("t.jsonl")')
    left = iter([False, False, False, True])
    stopped = ingest(plan, log, stopping=lambda: next(left, True))["rows"]
    assert (stopped.complete, stopped.new) == (False, 512)
    found = ingest(plan, log)["rows"]
    assert (found.rows, found.new, found.complete) == (700, 700 - stopped.new, True)
    assert ingest(plan, log)["rows"].new == 0
    assert [payload["rest"]["n"] for _, payload in logged(plan, log)] == list(range(700))


def test_keep_goes_by_fields(tmp_path: Path, log: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"body": "The parcel came late.", "note": "x", "tags": ["fine"]},
        {"body": "short", "note": "x", "tags": []},
        {"body": "The parcel came  late.", "note": "x", "tags": ["fine"]},
        {"body": "A refund is what I want.", "note": "x", "tags": ["fine", "as an AI"]},
        {"body": "What is said is said.", "note": "What is said is said!"},
        {"body": "Nothing was delivered at all.", "note": "x"},
    ]
    write_lines(tmp_path / "t.jsonl", rows)
    schema = 'let body = ["AI"]\nschema Row { body: text, note: text, tags: list<text>? }'
    plan = typed(
        tmp_path, 'jsonl("t.jsonl")', schema, row="Row",
        body='keep { length(body, 10..), no_words(tags, "AI"), differs_from(body, note), distinct(body) }',
    )  # fmt: skip
    ingest(plan, log)
    with Log(log) as opened:
        version = source_of(plan, plan.sources[0], opened.cursor(), opened.next_seq)
        kept = keep(plan.sources[0], version, opened.cursor())
        read: Any = list(source_rows(opened.cursor(), version))
    found = [payload["values"]["body"] for seq, _, payload in read if seq in kept.seqs]
    assert found == [rows[0]["body"], rows[5]["body"]]
    assert kept.dropped == {"length": 1, "no_words": 1, "differs_from": 1, "distinct": 1}
