"""Columns are typed: what they hold, what readers take them for, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from synth.base.errors import ConfigError, RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.outputs import ColumnPlace, ColumnPlan, ExportPlan
from synth.compiler.plan.tables.table_plan import TablePlan
from synth.compiler.plan.value_types import ValueType
from synth.store.dataset.inputs.environment import Record
from synth.store.dataset.materialize import materialize
from synth.store.dataset.output.written import Dataset
from synth.store.dataset.rows.columns import SampleColumns
from synth.store.log.log import Log
from synth.store.log.payloads import EndedEitherWay
from tests.kit.support import rows, synth
from tests.store.log.logs import Story, all_slots, chat
from tests.store.test_readers import loaded

RECIPE = """edition 1
recipe typed { seed = 5 }
model base: model<chat, json> from pocket()
schema Source { name: text, year: count }
schema Card {
  question: text
  quotes: list<text>
  difficulty: count(1..5)
  score: number?
  level: enum<easy, hard>
  right: boolean
  source: Source?
  sources: list<Source>
  grid: list<list<number>>
}
set ways: topic { deep { about = "deeper" }, wide { about = "wider" } }
conversation c over way in ways times 3 {
  draw size from [1, 20]
  step card: json<Card> by base { prompt = "{{ way.about }} {{ size }}" }
  turn ask: user = "{{ card.question }}"
  turn answer: model by base { sees = transcript, check { length(1..90) }, retry = 2 }
}
"""
BODY = """columns {
  way = c.way, about = c.way.about, size = c.size, number = c.nth, quotes = c.card.quotes
  difficulty = c.card.difficulty, score = c.card.score, level = c.card.level, right = c.card.right
  source = c.card.source, year = c.card.source.year, sources = c.card.sources, grid = c.card.grid
}"""
SCHEMA = {
    "way": "VARCHAR",
    "about": "VARCHAR",
    "size": "BIGINT",
    "number": "BIGINT",
    "quotes": "VARCHAR[]",
    "difficulty": "BIGINT",
    "score": "DOUBLE",
    "level": "VARCHAR",
    "right": "BOOLEAN",
    "source": 'STRUCT("name" VARCHAR, "year" BIGINT)',
    "year": "BIGINT",
    "sources": 'STRUCT("name" VARCHAR, "year" BIGINT)[]',
    "grid": "DOUBLE[][]",
}
FULL = {
    "question": "Why?",
    "quotes": ["a", "b"],
    "difficulty": 3,
    "score": 2,
    "level": "hard",
    "right": True,
    "source": {"year": 1999, "name": "N"},
    "sources": [{"name": "M", "year": 1}],
    "grid": [[1, 2.5], []],
}
# What is optional is absent, and every list is empty.
BARE = {**FULL, "quotes": [], "sources": [], "grid": []}
del BARE["score"], BARE["source"]


def plan_of(export: str) -> Plan:
    return compile_text(f"{RECIPE}{export}\n").plan


def made(plan: Plan, folder: Path, card: dict[str, Any]) -> Dataset:
    """The one export of a plan, where each sample of the conversation has the same card."""
    story = Story(plan)
    for slot in all_slots(plan, "c"):
        values = {"card": card, "ask": card["question"], "answer": "So."}
        story.complete(plan.cohort("c"), slot, values, refused={"answer": [("", "length")]})
    folder.mkdir(exist_ok=True)
    with Log(story.write(folder / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, folder)
    return dataset


def faults(export: str) -> list[tuple[str, str, str]]:
    """Code, message and hint of each error."""
    try:
        plan_of(export)
    except RecipeError as error:
        return [(each.code, each.message, each.hint) for each in error.diagnostics]
    return []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("card", [FULL, BARE], ids=["full", "bare"])
def test_readers_take_columns_for_what_they_are(
    form: str, card: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(f'export train: messages from c to "out" {{ {BODY}, format = {form} }}')
    dataset = made(plan, tmp_path, card)
    assert {name: dataset.types[name] for name in SCHEMA} == SCHEMA
    first = next(iter(dataset))
    wanted = {
        **{name: card.get(name) for name in ("quotes", "difficulty", "score", "level", "right", "source")},
        **{name: card[name] for name in ("sources", "grid")},
        "year": card.get("source", {}).get("year"),
    }
    assert {name: first[name] for name in wanted} == wanted
    assert (first["way"], first["about"], first["number"]) == ("deep", "deeper", 1)
    assert [row["size"] for row in dataset] == [int(size) for size in _labels(plan, "size")]
    assert dataset.to_arrow().num_rows == 6
    if form == "parquet":
        read_back = duckdb.execute(f"SELECT * FROM '{dataset.folder}/train.parquet'").description
        assert {name: str(type_) for name, type_, *_ in read_back if name in SCHEMA} == SCHEMA
    from datasets import List, Value

    read = loaded(tmp_path, monkeypatch, path=str(dataset.folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert read.features["size"] == Value("int64")
    assert read.features["score"] == Value("float64")
    assert read.features["right"] == Value("bool")
    assert read.features["quotes"] == List(Value("string"))
    assert read.features["source"] == {"name": Value("string"), "year": Value("int64")}
    assert read.features["sources"] == List({"name": Value("string"), "year": Value("int64")})
    assert read.features["grid"] == List(List(Value("float64")))
    assert {name: read[0][name] for name in wanted} == wanted


def _labels(plan: Plan, name: str) -> list[str]:
    return [dict(slot.cell.labels)[name] for slot in all_slots(plan, "c")]


def test_a_plan_says_types_where_not_all_is_text() -> None:
    plan = plan_of('export train: messages from c to "out" { columns = [c.way, c.answer, c.size] }')
    way, answer, size = plan.exports[0].columns
    assert (way, answer) == ("way", "answer")
    assert isinstance(size, ColumnPlan)
    assert size.type.kind == "count"
    assert Plan.from_json(plan.to_json()) == plan


def test_a_plan_of_before_gives_its_text(tmp_path: Path) -> None:
    plan = plan_of('export train: messages from c to "out" { columns = [c.size, c.card] }')
    export = plan.exports[0].model_copy(update={"columns": ("size", "card")})
    dataset = made(plan.model_copy(update={"exports": (export,)}), tmp_path, BARE)
    row = rows(dataset.folder / "train.jsonl")[0]
    assert row["size"] in ("1", "20")
    assert json.loads(row["card"]) == BARE


@pytest.mark.parametrize("form", ["unpaired", "rejected"])
def test_columns_of_attempts(form: str, tmp_path: Path) -> None:
    plan = plan_of(
        f'export tried: {form} from c to "out" '
        "{ columns { s = c.size, n = c.nth, w = c.way, a = c.way.about } }"
    )
    story = Story(plan)
    slots = all_slots(plan, "c")
    for slot in slots:
        values = {"card": FULL, "ask": "Why?"}
        story.abandon(plan.cohort("c"), slot, {"answer": [("No.", "length")]}, values=values)
        story.complete(
            plan.cohort("c"), slot, {**values, "answer": "So."}, refused={"answer": [("Eh.", "length")]}
        )
    with Log(story.write(tmp_path / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, tmp_path)
    found = list(dataset)
    assert found
    assert {type(row["s"]) for row in found} == {int}
    assert {(row["w"], row["a"]) for row in found} == {("deep", "deeper"), ("wide", "wider")}


def test_a_number_that_no_column_holds_is_said(tmp_path: Path) -> None:
    plan = plan_of('export train: messages from c to "out" { columns = [c.card.sources] }')
    with pytest.raises(ConfigError, match=r"the sample [0-9a-f]{16} has a `sources` that no column"):
        made(plan, tmp_path, {**FULL, "sources": [{"name": "M", "year": 10**30}]})


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ("= [c.card.qoutes]", ("E102", "`c.card` has no `qoutes`", "did you mean `quotes`?")),
        ("= [c.size.about]", ("E102", "`c.size` is a count, which has no fields: it has no `about`", "")),
        ("= [c.card.source.name, c.way.name]", ("E104", "two columns are called `name`", "")),
        ("= [c]", ("E202", "a column is named with its conversation", "for example `c.way`")),
        ("= [rest(c.card)]", ("E202", "`rest(c.card)` is no path, so the column has no name", "")),
        ("{ r = rest(c.card) }", ("E202", "`c.card` is a Card, and only a row has other columns", "")),
        ("{ r = lower(c.card) }", ("E203", "there is no column `lower(..)`", "")),
        ("{ id = c.size }", ("E104", "a row has a column `id` already", "`columns { c_id = c.size }`")),
        ("{ a = [c.size, c.nth] }", ("E104", "`a` has two places in `c`", "")),
        ("{ a = 3 }", ("E202", "a column is named with its conversation", "for example `c.way`")),
        ("{ a = [] }", ("E202", "`a` is a column of nothing", "for example `a = c.way`")),
        ("", ("E202", "`columns` is a list of paths, or a block of names", "")),
        ("= [c.size] { a = c.size }", ("E108", "`columns` is a list, or a block of names, and not both", "")),
    ],
)
def test_columns_that_cannot_be(columns: str, fault: tuple[str, str, str]) -> None:
    found = faults(f'export train: messages from c to "out" {{ columns {columns} }}')
    assert [each[:2] for each in found] == [fault[:2]]
    assert fault[2] in found[0][2]


PAIRED = """
preference p from c {
  turn worse: model by base { prompt = "Worse than {{ c.answer }}" }
  chosen = c.answer, rejected = worse
}
export train: preference from p to "out" { columns { COLUMNS } }
"""


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ("a = c.card.qoutes", ("E102", "`c.card` has no `qoutes`", "did you mean `quotes`?")),
        ("a = p.wrose", ("E102", "`p` has no `wrose`", "did you mean `worse`?")),
        ("a = p.card", ("E102", "`p` has no `card`", "did you mean `c.card`?")),
        ("a = [c.size, p.worse]", ("E202", "`a` has two places in each row of pairs", "of its own")),
        ("rejected = p.worse", ("E104", "a row has a column `rejected` already", "another name")),
        ("a = rest(p.worse)", ("E202", "`p.worse` is text, and only a row has other columns", "")),
    ],
)
def test_columns_that_pairs_cannot_have(columns: str, fault: tuple[str, str, str]) -> None:
    found = faults(PAIRED.replace("COLUMNS", columns))
    assert [each[:2] for each in found] == [fault[:2]]
    assert fault[2] in found[0][2]


@pytest.mark.parametrize("form", ["preference", "sharegpt_preference"])
@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_pairs_have_typed_columns(form: str, format_: str, tmp_path: Path) -> None:
    text = PAIRED.replace("preference from", f"{form} from").replace(
        "{ columns", f"{{ format = {format_}, columns"
    )
    plan = plan_of(text.replace("COLUMNS", "way = c.way, size = c.size, card = c.card.source, why = p.worse"))
    story = Story(plan)
    for slot in all_slots(plan, "c"):
        values = {"card": FULL, "ask": "Why?", "answer": f"Since {slot.position}."}
        story.complete(plan.cohort("c"), slot, values)
        story.pair("p", slot, {"worse": f"Because {slot.position}."})
    with Log(story.write(tmp_path / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, tmp_path)
    table = duckdb.connect().sql(f"SELECT way, size, card.year, why FROM '{dataset.folder}/train.{format_}'")
    assert [str(each) for each in table.types] == ["VARCHAR", "BIGINT", "BIGINT", "VARCHAR"]
    found = table.fetchall()
    assert [each[3] for each in found] == [f"Because {number}." for number in range(6)]
    assert {each[0] for each in found} == {"deep", "wide"}


MIXED = """
source natural: messages from jsonl("n.jsonl")
conversation d times 2 {
  draw size from [1.5, 3.5]
  draw way from ["deep", "high"]
  turn ask: user = "{{ size }}, {{ way }}"
  turn answer: model by base { sees = transcript }
}
mix all { own 80% from [c, d], natural 20% from natural, when_short = shrink }
"""


def test_a_mix_has_columns_of_its_places(tmp_path: Path) -> None:
    plan = plan_of(
        MIXED + 'export train: messages from all to "out" '
        "{ columns { way = [c.way, d.way], size = [c.size, d.size], right = c.card.right } }"
    )
    story = Story(plan)
    for slot in all_slots(plan, "c"):
        story.complete(plan.cohort("c"), slot, {"card": FULL, "ask": "Why?", "answer": "So."})
    for slot in all_slots(plan, "d"):
        story.complete(plan.cohort("d"), slot, {"ask": "Why?", "answer": "So."})
    story.ingest("natural", [chat("Hi", "Hello")] * 2)
    with Log(story.write(tmp_path / "log.duckdb")) as log:
        (dataset,) = materialize(plan, log, tmp_path)
    assert [dataset.types[name] for name in ("way", "size", "right")] == ["VARCHAR", "DOUBLE", "BOOLEAN"]
    by: dict[str, list[dict[str, Any]]] = {}
    for row in dataset:
        by.setdefault(row["source"], []).append(row)
    assert {(row["right"], type(row["size"])) for row in by["c"]} == {(True, float)}
    assert sorted(row["size"] for row in by["d"]) == [1.5, 3.5]
    assert {row["right"] for row in by["d"]} == {None}
    assert {(row["way"], row["size"], row["right"]) for row in by["natural"]} == {(None, None, None)}


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ("{ a = [c.way, d.size] }", ("E202", "`a` is text in `c` and a number in `d`", "")),
        ("= [c.way, d.way]", ("E104", "two columns are called `way`", "`columns { way = [c.way, d.way] }`")),
        ("= [natural.way]", ("E202", "rows of `natural` are messages, and have no columns", "`c.way`")),
        ("= [e.way]", ("E101", "`e` is not what is exported here", "that is `c` and `d`")),
        ("= [all.way]", ("E101", "`all` is not what is exported here", "that is `c` and `d`")),
        ("{ source = c.card.source }", ("E104", "a row has a column `source` already", "")),
    ],
)
def test_columns_that_a_mix_cannot_have(columns: str, fault: tuple[str, str, str]) -> None:
    found = faults(f'{MIXED}export train: messages from all to "out" {{ columns {columns} }}')
    assert [each[:2] for each in found] == [fault[:2]]
    assert fault[2] in found[0][2]


def test_what_is_left_out_is_null(tmp_path: Path) -> None:
    text = (
        "edition 1\nrecipe left { seed = 1 }\nmodel base: model<chat, json> from simulated()\n"
        "schema Note { about: text, marks: list<count> }\n"
        "conversation c times 8 {\n  draw hard from [true, false]\n"
        '  let tone = "Be brief." when hard\n'
        '  step note: json<Note> by base when hard { prompt = "What is hard?" }\n'
        '  turn ask: user = "What?"\n  turn answer: model by base { sees = transcript }\n}\n'
        'export out: messages from c to "out" '
        "{ columns = [c.hard, c.tone, c.note.about, c.note.marks, c.note] }\n"
        'export rows: messages from c to "rows" { columns = [c.tone, c.note], format = parquet }\n'
    )
    (tmp_path / "my.recipe").write_text(text, "utf-8")
    for command in ("run", "materialize"):
        done = synth(command, "my.recipe", "--log", "log.duckdb", cwd=tmp_path)
        assert done.status == 0, done.err
    for row in rows(tmp_path / "out/train.jsonl"):
        if row["hard"]:
            assert row["tone"] == "Be brief."
            assert row["note"] == {"about": row["about"], "marks": row["marks"]}
        else:
            assert [row[name] for name in ("tone", "about", "marks", "note")] == [None] * 4
    found = duckdb.execute(f"SELECT tone, note FROM '{tmp_path}/rows/train.parquet'").fetchall()
    assert sum(each == (None, None) for each in found) == 4


def test_rows_and_parents_are_looked_up_together() -> None:
    kinds = {"id": ValueType(kind="text"), "size": ValueType(kind="count")}
    record = ValueType(kind="record", fields=tuple(kinds.items()))
    paths: dict[str, tuple[ValueType, tuple[str, ...], bool]] = {
        "ticket": (record, ("ticket",), False),
        "size": (kinds["size"], ("ticket", "size"), False),
        "others": (kinds["id"], ("ticket",), True),
        "seed": (kinds["id"], ("parent", "seed"), False),
        "about": (kinds["id"], ("parent", "seed", "about"), False),
    }
    columns = tuple(
        ColumnPlan(name=name, type=type_, places=(ColumnPlace(source="c", path=path),), rest=rest)
        for name, (type_, path, rest) in paths.items()
    )
    export = ExportPlan(name="e", source="c", to="e", columns=columns)
    over = TablePlan(name="ticket", kind="source", table="tickets")
    cohort = CohortPlan(name="c", quota=0, each=True, times=1, rows=over, steps=())
    asked = []

    def rows_of(of: CohortPlan, payloads: Sequence[EndedEitherWay]) -> list[dict[str, Any]]:
        asked.append(len(payloads))
        seed = Record({"about": "x"}, "deep")
        return [
            {
                "ticket": Record({"id": payload["cell"]["ticket"]}, rest={"b": 1, "a": None}),
                "parent": {"seed": seed},
            }
            for payload in payloads
        ]

    ends: list[tuple[str, Any]] = [
        (f"{n}", {"cell": {"ticket": f"t{n}"}, "ordinal": 0, "values": {}}) for n in range(2000)
    ]
    found = [made for _, made in SampleColumns(export, cohort, rows_of).along(ends)]
    assert asked == [1024, 976]
    assert found[1999] == {
        "ticket": {"id": "t1999", "size": None},
        "size": None,
        "others": '{"a":null,"b":1}',
        "seed": "deep",
        "about": "x",
    }
