"""How many rows are taken, and which: whoever is refused, killed or late."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.kit.support import SOAK, query
from tests.rows.project import (
    DRAWN,
    HEAD,
    PLAIN,
    SLOW_AT_TIMES,
    Project,
    counted,
    kill_runs,
    numbered,
    server,
)

KILLS = 20 if SOAK else 3
ROWS = 500
REFUSED = {f"t{number}" for number in range(3, ROWS, 25)}


def test_each_row_is_there_but_for_those_that_are_named_as_lost(tmp_path: Path) -> None:
    project = Project(tmp_path, HEAD + PLAIN, map(numbered, range(ROWS)))
    with server() as at:
        done = project.run(at)
        assert done.status == 0, done.err
        assert "refused 20" in done.out
        project.materialize()
        asked, before = at.total, project.digests()
        assert project.foreseen() == 0
        assert project.ran(at) == 0
        assert at.total == asked
        project.materialize()
    assert project.digests() == before
    there = [row["ticket"] for row in project.rows()]
    assert there == [f"t{number}" for number in range(ROWS) if f"t{number}" not in REFUSED], (
        "in the file's order"
    )
    source = project.manifest()["source"]
    assert (source["rows"], source["samples"], source["lost"]) == (ROWS, ROWS - 20, 20)
    lost = query(
        project.log, "SELECT DISTINCT payload ->> 'reason' FROM events WHERE kind = 'sample.abandoned'"
    )
    assert len(lost) == 1
    assert str(lost[0][0]).startswith("refused")
    project.holds()


@pytest.mark.parametrize(
    "recipe", [pytest.param(PLAIN, id="plain", marks=pytest.mark.soak), pytest.param(DRAWN, id="drawn")]
)
def test_a_count_takes_the_same_rows_whatever_happens(recipe: str, tmp_path: Path) -> None:
    found = []
    text = HEAD + counted(recipe, 150)
    for name in ("whole", "killed"):
        project = Project(tmp_path / name, text, map(numbered, range(200)))
        with server() if name == "whole" else server(faults=SLOW_AT_TIMES, latency_s=0.01) as at:
            if name == "killed":
                kill_runs(project, at, KILLS, 160, seed=7)
            project.ran(at)
            project.materialize("--threads", "1" if name == "whole" else "4")
            found.append(project.digests())
            asked = at.total
            project.ran(at)
            assert at.total == asked
        assert len(project.rows()) == 150
        assert not {row["ticket"] for row in project.rows()} & REFUSED
    project.holds()
    assert found[0] == found[1]
    if recipe is DRAWN:
        assert sorted(Counter(row["mood"] for row in project.rows()).values()) == [50, 50, 50]


def test_a_count_beyond_the_rows_says_what_to_do(tmp_path: Path) -> None:
    project = Project(tmp_path, HEAD + counted(DRAWN, 30), map(numbered, range(30)))
    with server() as at:
        done = project.run(at)
        assert done.status == 3
        assert "28 of 30" in done.out
        assert "add rows, or lower its count by 2" in done.out
        asked = at.total
        assert project.run(at).status == 3
        assert at.total == asked
    done = project.synth("materialize", "rows.recipe")
    assert done.status == 3
    assert "28 of 30" in done.err
    assert "all 30 rows were tried: add rows" in done.err
    project.materialize("--partial")
    assert len(project.rows()) == 28
