"""Questions to the log: they read it, and can do nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.kit.support import ROOT, one_sentence, synth


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests/golden/quickstart.duckdb", tmp_path / "synth.duckdb")
    return tmp_path


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("COPY events TO 'stolen.csv'", "is one SELECT"),
        ("EXPORT DATABASE 'stolen'", "is one SELECT"),
        ("ATTACH 'other.duckdb'", "is one SELECT"),
        ("CREATE TEMP TABLE t AS SELECT 1", "is one SELECT"),
        ("SELECT 1; DELETE FROM events", "is one SELECT"),
        ("", "is one SELECT"),
        ("SELECT * FROM read_text('synth.toml')", "something else than the log"),
        ("SELECT * FROM read_csv('synth.toml')", "something else than the log"),
        ("SELECT * FROM glob('*')", "something else than the log"),
        (
            "SELECT nothing FROM events",
            'the query failed: Referenced column "nothing" not found in FROM clause; `events` has seq',
        ),
        ("SELECT paylod FROM events", "did you mean `payload`?"),
        (
            "SELECT * FROM calls",
            "Table with name calls does not exist; its tables are `events` and `batches`",
        ),
        ("SELECT * FROM event", "did you mean `events`?"),
    ],
)
def test_a_question_can_only_read_the_log(question: str, said: str, folder: Path) -> None:
    (folder / "synth.toml").write_text("# a file beside the log\n")
    before = set(os.listdir(folder))
    assert said in one_sentence(synth("sql", question, cwd=folder), 1)
    assert set(os.listdir(folder)) == before


def test_a_question_that_has_no_end_is_ended(folder: Path) -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range * b.range = 7"
    refused = synth("sql", endless, "--seconds", "0.2", cwd=folder)
    assert "took longer than 0.2 seconds" in one_sentence(refused, 1)


def test_the_plan_of_a_question_can_be_asked_for(folder: Path) -> None:
    assert synth("sql", "EXPLAIN SELECT count(*) FROM events", cwd=folder).status == 0
    assert synth("sql", "WITH a AS (FROM events) SELECT count(*) AS n FROM a", "--csv", cwd=folder).out
