"""LanceDB stores that somebody else made, read by URI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import ConfigError
from synth.compiler.plan.model import SourcePlan
from synth.compiler.plan.steps import CallPlan
from synth.runtime.documents import Splitter
from tests.documents.helpers import lay
from tests.retrieval.helpers import Counting, ask, ingest, simulated
from tests.retrieval.servers import vectors

ROWS: list[dict[str, Any]] = [
    {"key": 1, "body": "Biaya S1 lima juta.", "page": "biaya", "year": 2024, "tags": ["x"]},
    {"key": 2, "body": "Cicilan biaya tiga kali.", "page": "biaya", "year": 2023, "tags": []},
    {"key": 3, "body": "Kamar asrama bersih.", "page": "asrama", "year": None, "tags": []},
    {"key": 4, "body": "  ", "page": "asrama", "year": None, "tags": []},
]


def store(
    folder: Path, rows: list[dict[str, Any]] = ROWS, table: str = "passages", dimension: int = 0
) -> Path:
    import lancedb
    import pyarrow as pa

    lay(folder, {"synth.toml": ""})
    if dimension:
        embedded = vectors([row["body"] for row in rows])
        rows = [{**row, "vec": vector} for row, vector in zip(rows, embedded, strict=True)]
    data = pa.Table.from_pylist(rows)
    if dimension:
        place = data.schema.get_field_index("vec")
        data = data.set_column(place, "vec", data["vec"].cast(pa.list_(pa.float32(), dimension)))
    lancedb.connect(folder / "store").create_table(table, data, mode="overwrite")
    return folder


def foreign(
    arguments: Mapping[str, Any] | None = None, search: str = "text", split: CallPlan | None = None
) -> SourcePlan:
    named = {"path": "store", "text": "body", "document": "page", "id": "key", **(arguments or {})}
    return SourcePlan(
        name="docs",
        type="chunk",
        reader=CallPlan(name="lancedb", arguments=named),
        split=split,
        index=CallPlan(name="lancedb", arguments={"uri": "index", "search": search}),
    )


def test_rows_are_passages_with_their_columns(tmp_path: Path) -> None:
    folder = store(tmp_path)
    report = ingest(folder, foreign())
    assert (report.documents, report.chunks) == (2, 3)
    assert report.warnings == ("1 document holds no text and is left out: `passages`",)
    passages = ask(folder, foreign(), "biaya", where="year > 2023")
    assert [(passage["document"], passage["text"]) for passage in passages] == [
        ("biaya", "Biaya S1 lima juta.")
    ]
    assert passages[0]["metadata"] == {"year": 2024}
    assert len({p["document"] for p in ask(folder, foreign(), "biaya asrama", documents=(2, None))}) == 2
    assert ingest(folder, foreign()).new == 0


def test_without_a_document_column_each_row_is_one(tmp_path: Path) -> None:
    folder = store(tmp_path)
    passages = ask(folder, foreign({"document": None}), "asrama")
    assert passages[0]["document"] == "passages#3"
    assert passages[0]["metadata"] == {"page": "asrama"}


def test_a_store_that_changed_is_read_again(tmp_path: Path) -> None:
    import lancedb

    folder = store(tmp_path)
    ingest(folder, foreign(search="vector"), Counting())
    table = lancedb.connect(folder / "store").open_table("passages")
    table.add([{"key": 5, "body": "Perpustakaan.", "page": "umum", "year": 2020, "tags": ["y"]}])
    embedder = Counting()
    assert ingest(folder, foreign(search="vector"), embedder).chunks == 4
    assert embedder.texts == ["Perpustakaan."]


def test_vectors_of_the_store_are_taken_over(tmp_path: Path) -> None:
    folder = store(tmp_path, ROWS[:3], dimension=256)
    embedder = Counting()
    passages = ask(folder, foreign({"vector": "vec"}, "hybrid"), "biaya S1", embedder)
    assert embedder.texts == ["biaya S1"]
    assert [p["text"] for p in passages] == [
        p["text"] for p in ask(folder, foreign({}, "hybrid"), "biaya S1", simulated())
    ]


def test_rows_can_be_split(tmp_path: Path) -> None:
    folder = store(tmp_path, [{"key": 1, "body": "satu dua tiga. empat lima enam.", "page": "a"}])
    split = CallPlan(name="by_size", arguments={"max_words": 3, "overlap": 0})
    assert Splitter.of(split).max_words == 3
    assert ingest(folder, foreign(split=split)).chunks == 2
    with pytest.raises(ConfigError, match="split passages need vectors of their own"):
        ingest(folder, foreign({"vector": "vec"}, split=split))


def test_rows_that_are_alike_are_passages_of_their_own(tmp_path: Path) -> None:
    folder = store(tmp_path, [{"key": None, "body": "sama", "page": "a"} for _ in range(3)])
    assert ingest(folder, foreign({"id": None})).chunks == 3
    split = CallPlan(name="by_size", arguments={"max_words": 3, "overlap": 0})
    assert ingest(folder, foreign({"id": None}, split=split)).chunks == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"text": "bod"}, "has no column `bod`: did you mean `body`?"),
        ({"text": "zzz"}, "has no column `zzz`: it has `key`, `body`"),
        ({"text": "year"}, "has no text in `year` at row 1"),
        ({"table": "passage"}, "has no table `passage`: did you mean `passages`?"),
        ({"table": "x"}, "has no table `x`: there is `passages`"),
        ({"path": "nowhere"}, "there is no LanceDB store `nowhere`"),
        ({"path": "docs"}, "is no LanceDB store"),
        ({"path": "../store"}, "outside the project"),
        ({"vector": "year"}, "has no vector in `year` at row 1"),
    ],
)
def test_a_store_that_cannot_be_read_is_said(tmp_path: Path, arguments: dict[str, Any], reason: str) -> None:
    folder = store(tmp_path / "project")
    lay(folder, {"docs/a.md": "text"})
    with pytest.raises(ConfigError) as caught:
        ingest(folder, foreign(arguments, "vector" if "vector" in arguments else "text"), simulated())
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_several_tables_one_is_named(tmp_path: Path) -> None:
    folder = store(tmp_path)
    store(tmp_path, ROWS[:1], "other")
    with pytest.raises(ConfigError, match="has several tables: name the `table` to read; there is `other`"):
        ingest(folder, foreign())
    assert ingest(folder, foreign({"table": "other"})).chunks == 1
