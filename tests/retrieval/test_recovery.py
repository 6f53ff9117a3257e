"""What crashes, damage and other processes leave of an index."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import ConfigError
from synth.runtime.retrieval.index import Index
from synth.runtime.retrieval.lance import write
from synth.runtime.retrieval.state import FILE_NAME, State
from tests.documents.helpers import lay
from tests.retrieval.helpers import ask, ingest, rows, simulated, source, with_index


class Crash(Exception):
    """Stands for a process that is killed."""


@pytest.mark.parametrize("where", ["write", "tag", "save"])
def test_what_a_crash_leaves_is_taken_back(
    university: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = source("hybrid")
    ingest(university, plan, simulated())
    before = ask(university, plan, "biaya", simulated(), top_k=5)
    lay(university, {"docs/baru.md": "Biaya baru."})
    (university / "docs/biaya/s1.md").unlink()

    async def crash(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        if where == "write":

            async def half(*arguments: Any, **rest: Any) -> Any:
                await write(*arguments, **rest)
                raise Crash

            patch.setattr("synth.runtime.retrieval.ingest.write", half)
        elif where == "tag":
            patch.setattr("synth.runtime.retrieval.ingest.tag", crash)
        else:

            def save(*_: Any) -> None:
                raise Crash

            patch.setattr(State, "save", save)
        with pytest.raises(Crash):
            ingest(university, plan, simulated())

    async def as_it_was(index: Index) -> list[dict[str, Any]]:
        await index.load()
        return await index.retrieve("biaya", top_k=5)

    assert with_index(university, plan, as_it_was, simulated()) == before
    report = ingest(university, plan, simulated())
    assert (report.new, report.removed, report.embedded) == (1, 1, 0)
    fresh = lay(university.parent / "fresh", {"synth.toml": ""})
    shutil.copytree(university / "docs", fresh / "docs")
    for query in ("biaya", "kamar"):
        assert ask(university, plan, query, simulated()) == ask(fresh, plan, query, simulated())


def test_a_crash_while_the_first_table_is_written_leaves_nothing_in_the_way(
    university: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        async def crash(*_: Any) -> None:
            raise Crash

        patch.setattr("synth.runtime.retrieval.ingest.tag", crash)
        with pytest.raises(Crash):
            ingest(university, source())
    assert ingest(university, source()).new == 5
    assert len(rows(university)) == 5


def test_one_process_writes_at_a_time(university: Path) -> None:
    index = university / "index" / "docs"
    index.mkdir(parents=True)
    held = sqlite3.connect(index / "synth.lock", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigError, match="another process is writing to the index"):
        ingest(university, source())
    held.close()
    assert ingest(university, source()).new == 5


def test_a_damaged_or_removed_index_is_said_or_made_again(university: Path) -> None:
    first = ingest(university, source())
    shutil.rmtree(university / "index" / "docs" / "docs.lance")
    again = ingest(university, source())
    assert (again.new, again.digest) == (5, first.digest)
    (university / "index" / "docs" / FILE_NAME).write_bytes(b"nonsense" * 1000)
    with pytest.raises(ConfigError, match="is damaged: remove the index's folder"):
        ingest(university, source())
    shutil.rmtree(university / "index")
    assert ingest(university, source()).digest == first.digest


@pytest.mark.parametrize("kind", ["data", "_indices", "_versions"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damage_to_a_table_is_one_sentence_and_removing_it_mends_it(
    university: Path, kind: str, damage: str
) -> None:
    first = ingest(university, source("hybrid"), simulated())
    for path in (university / "index" / "docs" / "docs.lance" / kind).rglob("*.*"):
        data = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(data[: len(data) // 2] if damage == "cut" else bytes(b ^ 0x55 for b in data))
    if (kind, damage) == ("_versions", "gone"):
        # A table without versions is none, and is made again.
        assert ingest(university, source("hybrid"), simulated()).new == 5
        return
    with pytest.raises(ConfigError, match=r"the index of `docs` .* cannot be used") as caught:
        ask(university, source("hybrid"), "biaya", simulated())
    assert "\n" not in str(caught.value)
    shutil.rmtree(university / "index")
    assert ingest(university, source("hybrid"), simulated()).digest == first.digest
