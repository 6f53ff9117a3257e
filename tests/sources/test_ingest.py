"""Rows on their way into the log: once, in order, each version of a file apart."""

from __future__ import annotations

import json
import tracemalloc
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.canonical import digest
from synth.base.errors import QuotaShort
from synth.compiler.compile import compile_text
from synth.runtime.sources.ingest import IngestedSource
from synth.store.dataset.inputs.sources import RowChanges, reader_digest, source_of, source_rows
from synth.store.log.log import Log
from tests.kit.support import query
from tests.sources.helpers import (
    READER,
    contents,
    ingest,
    kinds,
    logged,
    numbered,
    pair,
    plan_for,
    turns,
    write_csv,
    write_lines,
)


def test_what_the_log_says_of_a_row(tmp_path: Path, log: Path) -> None:
    rows = [pair(), "", pair("Why?", "So."), pair()]
    path = write_lines(tmp_path / "data/chat.jsonl", rows)
    plan = plan_for(tmp_path, 'jsonl("data/chat.jsonl")')
    found = ingest(plan, log)["natural"]
    assert (found.name, found.shape, found.rows, found.new, found.complete) == (
        "natural", "prompt_response", 3, 3, True,
    )  # fmt: skip
    why = turns("Why?", "So.")
    first, second, third = logged(plan, log)
    assert second[1] == {
        "source": "natural",
        "version": found.version,
        "row": 1,
        "file": "data/chat.jsonl",
        "line": 3,
        "hash": digest(why),
        "messages": why,
    }
    assert first[0] == digest(["natural", digest(turns("Who are you?", "Codex.")), 0])[:16]
    assert third[0] == digest(["natural", digest(turns("Who are you?", "Codex.")), 1])[:16]
    ((payload,),) = query(log, "SELECT payload FROM events WHERE kind = 'source.completed'")
    assert json.loads(payload) == {
        "source": "natural",
        "reader": reader_digest(plan, plan.sources[0]),
        "version": found.version,
        "rows": 3,
        "shape": "prompt_response",
        "files": [
            {
                "path": "data/chat.jsonl",
                "bytes": path.stat().st_size,
                "sha256": sha256(path.read_bytes()).hexdigest(),
            }
        ],
        "reading": 4,
        "first": 0,
    }


def test_a_file_that_did_not_change_is_not_logged_again(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(700))
    plan = plan_for(tmp_path, READER)
    first = ingest(plan, log)["natural"]
    before = kinds(log)
    assert before == [("source.completed", 1), ("source.ingested", 700)]
    again = ingest(plan, log)["natural"]
    assert again == IngestedSource(
        "natural", first.version, first.shape, 700, 0, changes=RowChanges(same=700)
    )
    assert kinds(log) == before


def test_a_file_that_changed_is_another_version(tmp_path: Path, log: Path) -> None:
    plan = plan_for(tmp_path, READER)
    write_lines(tmp_path / "chat.jsonl", numbered(3))
    first = ingest(plan, log)["natural"]
    with Log(log) as opened:
        position = opened.next_seq
    write_lines(tmp_path / "chat.jsonl", [pair("new", "new"), *numbered(3)])
    second = ingest(plan, log)["natural"]
    assert second.version != first.version
    assert contents(plan, log) == ["new", "question 0", "question 1", "question 2"]
    assert contents(plan, log, position) == ["question 0", "question 1", "question 2"]
    ids = [row_id for row_id, _ in logged(plan, log)]
    assert ids[1:] == [row_id for row_id, _ in logged(plan, log, position)]


def test_a_file_that_changed_back_is_what_counts(tmp_path: Path, log: Path) -> None:
    """The version that was read last counts, without its rows being logged once more."""
    plan = plan_for(tmp_path, READER)
    for rows in (numbered(3), numbered(2, 10), numbered(3)):
        write_lines(tmp_path / "chat.jsonl", rows)
        last = ingest(plan, log)["natural"]
    assert (last.rows, last.new) == (3, 0)
    assert kinds(log) == [("source.completed", 3), ("source.ingested", 5)]
    assert contents(plan, log) == ["question 0", "question 1", "question 2"]
    assert ingest(plan, log)["natural"].new == 0
    assert kinds(log) == [("source.completed", 3), ("source.ingested", 5)]


def test_what_is_kept_does_not_change_what_is_read(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(3))
    plan = plan_for(tmp_path, READER)
    ingest(plan, log)
    kept = plan_for(tmp_path, READER + " { keep { turns(2..12) } }")
    assert kept.sources[0].keep
    assert ingest(kept, log)["natural"].new == 0
    assert contents(kept, log) == contents(plan, log)


def test_how_a_source_is_read_makes_its_own_version(tmp_path: Path, log: Path) -> None:
    rows = [{"prompt": "a", "response": "b", "q": "c", "a": "d"}]
    write_lines(tmp_path / "chat.jsonl", rows)
    plan = plan_for(tmp_path, READER)
    named = plan_for(tmp_path, 'jsonl("chat.jsonl", prompt = "q", response = "a")')
    ingest(plan, log)
    with pytest.raises(QuotaShort) as raised:
        logged(named, log)
    assert str(raised.value) == (
        "the log has no rows of the source `natural` of `example` as this recipe reads it: "
        "`synth run` it first"
    )
    ingest(named, log)
    assert contents(named, log) == ["c"]
    assert contents(plan, log) == ["a"]


def test_two_recipes_may_read_different_files_by_one_path(tmp_path: Path, log: Path) -> None:
    plans = []
    for name in ("one", "two"):
        write_lines(tmp_path / name / "chat.jsonl", [pair(name)])
        plans.append(plan_for(tmp_path / name, READER, recipe=name))
        ingest(plans[-1], log)
    assert [contents(plan, log) for plan in plans] == [["one"], ["two"]]


def test_two_sources_of_one_file(tmp_path: Path, log: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", numbered(2))
    text = f"edition 1\n\nrecipe example {{ seed = 1 }}\n\nsource a: messages from {READER}\n"
    plan = compile_text(text + f"source b: messages from {READER}\n").plan.below(tmp_path)
    found = ingest(plan, log)
    assert {name: each.new for name, each in found.items()} == {"a": 2, "b": 2}
    with Log(log) as opened:
        cursor = opened.cursor()
        ids = []
        for source in plan.sources:
            version = source_of(plan, source, cursor, opened.next_seq)
            rows = list(source_rows(cursor, version))
            assert [payload["source"] for _, _, payload in rows] == [source.name] * 2
            ids += [row_id for _, row_id, _ in rows]
    assert len(set(ids)) == 4


small = st.integers(0, 3)


@settings(max_examples=20, deadline=None)
@given(st.lists(small, min_size=1, max_size=8), st.lists(small, max_size=8), st.randoms())
def test_ids_do_not_depend_on_other_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], others: list[int], random: Any
) -> None:
    """Rows that stand among others, in whatever order, keep their ids; no two rows share one."""
    folder = tmp_path_factory.mktemp("ids")
    plan = plan_for(folder, READER)

    def ids(numbers: list[int]) -> dict[str, int]:
        write_lines(folder / "chat.jsonl", [pair(f"question {n}") for n in numbers])
        (folder / "log.duckdb").unlink(missing_ok=True)
        ingest(plan, folder / "log.duckdb")
        found = logged(plan, folder / "log.duckdb")
        assert len({row_id for row_id, _ in found}) == len(numbers)
        return {row_id: int(payload["messages"][0]["content"].split()[1]) for row_id, payload in found}

    more = [*rows, *others]
    random.shuffle(more)
    assert ids(rows).items() <= ids(more).items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "count"),
    [
        ('jsonl("chat.jsonl")', 14_000),
        pytest.param('csv("chat.csv")', 14_000, marks=pytest.mark.soak),
        pytest.param('parquet("chat.parquet")', 14_000, marks=pytest.mark.soak),
    ],
)
def test_memory_does_not_grow_with_the_rows(reader: str, count: int, tmp_path: Path, log: Path) -> None:
    """Of the rows, whose texts take 10 KB each in memory, a few are held at a time."""
    texts = ((f"سؤال {i} " * 240, f"answer {i} " * 240) for i in range(count))
    if "csv" in reader:
        write_csv(tmp_path / "chat.csv", ["prompt", "response"], texts)
    else:
        write_lines(tmp_path / "chat.jsonl", (pair(*each) for each in texts))
    if "parquet" in reader:
        with duckdb.connect() as connection:
            connection.execute(f"COPY (FROM '{tmp_path}/chat.jsonl') TO '{tmp_path}/chat.parquet'")
    plan = plan_for(tmp_path, reader)
    tracemalloc.start()
    try:
        assert ingest(plan, log)["natural"].new == count
        with Log(log, deep=False) as opened:
            cursor = opened.cursor()
            version = source_of(plan, plan.sources[0], cursor, opened.next_seq)
            assert sum(1 for _ in source_rows(cursor, version)) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 120_000_000
