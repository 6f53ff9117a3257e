"""A file whose rows change, are added and go: what is asked for, and what the dataset has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.kit.servers.faults import FaultPlan
from tests.kit.servers.openai import OpenAIServer
from tests.rows.project import DRAWN, HEAD, PLAIN, Project, numbered, server

ROWS = 500


def later() -> list[dict[str, Any]]:
    """The table with 100 rows changed, which are served then, and 50 new ones."""
    served = [number for number in range(ROWS) if number % 25 != 3]
    changed = set(Random(1).sample(served, 100))
    table = [numbered(number) for number in range(ROWS)]
    for number in changed:
        table[number]["body"] = f"another parcel than {number}"
    return table + [numbered(number, body=f"a new parcel {number}") for number in range(2000, 2050)]


@pytest.mark.parametrize(("recipe", "more"), [(PLAIN, 0), (DRAWN, 11)], ids=["plain", "drawn"])
def test_what_changed_is_asked_for_and_nothing_else(recipe: str, more: int, tmp_path: Path) -> None:
    project = Project(tmp_path, HEAD + recipe, map(numbered, range(ROWS)))
    with server(faults=FaultPlan()) as at:
        assert project.ran(at) == ROWS - 20
        table = later()
        project.table(table)
        assert 150 <= asked_for(project, at) <= 150 + more
        project.materialize()
        assert len(project.rows()) == ROWS + 50 - 20
        if recipe is DRAWN:
            # Exact over all places, of which 20 are lost.
            moods = Counter(row["mood"] for row in project.rows())
            assert max(moods.values()) <= 184
            assert min(moods.values()) >= 163

        # What is only exported is asked of nobody, and is as it is now.
        table = [{**row, "licence": "mit"} for row in table]
        project.table(table)
        assert asked_for(project, at) == 0
        project.materialize()
        assert {row["licence"] for row in project.rows()} == {"mit"}
        whole = project.digests()

        # Rows that are gone leave the dataset, and come back.
        project.table(table[:300])
        assert asked_for(project, at) <= more
        project.materialize()
        assert {row["ticket"] for row in project.rows()} <= {f"t{number}" for number in range(300)}
        assert len(project.rows()) == 300 - 12
        project.table(table)
        assert asked_for(project, at) == 0
        project.materialize()
        assert project.digests() == whole
        project.holds()


def asked_for(project: Project, at: OpenAIServer) -> int:
    """How many calls a run makes, after checking that they were foreseen and each made once."""
    foreseen, before = project.foreseen(), at.total
    made = project.ran(at)
    assert made == foreseen == at.total - before
    return made
