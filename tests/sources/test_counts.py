"""How many rows a source has, as far as that is known without a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.compiler.plan.model import Plan
from synth.runtime.sources import counts
from synth.runtime.sources.counts import RowCount, count_rows
from tests.sources.helpers import ingest, write_lines, write_parquet
from tests.sources.test_rows import GOOD, typed, with_


def test_rows_are_counted_without_reading_a_large_file(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_lines(tmp_path / "t.jsonl", [GOOD, with_(body="b"), with_(body="c")])
    write_parquet(tmp_path / "t.parquet", [GOOD, with_(body="b")], "body VARCHAR, category VARCHAR")
    lines = typed(tmp_path, 'jsonl("t.jsonl")')
    table = typed(tmp_path, 'parquet("t.parquet", limit = 1)')
    bad = with_(category="none", body="no row")
    write_lines(tmp_path / "some.jsonl", [GOOD, with_(body="b"), bad, GOOD])
    some = typed(tmp_path, 'jsonl("some.jsonl")', body="bad_rows = skip, keep { distinct(body) }")
    assert counted(lines) == 3
    assert counted(table) == 1
    # What the others are is said.
    assert count_rows(some, some.sources[0]) == RowCount(
        2, "1 row that does not fit left out; 1 of 3 fell to its `keep`: distinct 1"
    )
    monkeypatch.setattr(counts, "MOST_BYTES", 0)
    assert counted(lines) is None
    assert counted(table) == 1
    ingest(lines, log)
    assert counted(lines) == 3
    write_lines(tmp_path / "t.jsonl", [GOOD])
    assert counted(lines) is None


def counted(plan: Plan) -> int | None:
    return count_rows(plan, plan.sources[0]).rows
