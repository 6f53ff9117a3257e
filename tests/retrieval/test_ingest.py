"""Bringing an index up to date: what is done again, what is not, and what a crash leaves."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from synth.base.errors import CallFailed, ConfigError, EngineError
from synth.compiler.plan.steps import CallPlan, CheckPlan
from synth.runtime.retrieval.index import Index, open_index
from synth.runtime.retrieval.spool import Spool
from tests.documents.helpers import encrypted_pdf, lay, pdf
from tests.retrieval.helpers import Counting, ask, ingest, rows, run, simulated, source, with_index


def versions(folder: Path) -> int:
    import lancedb

    return int(lancedb.connect(folder / "index" / "docs").open_table("docs").version)


def test_a_second_ingestion_does_nothing(university: Path) -> None:
    embedder = Counting()
    first = ingest(university, source("hybrid"), embedder)
    assert (first.documents, first.chunks, first.new, first.unchanged, first.removed) == (5, 5, 5, 0, 0)
    assert first.embedded == len(embedder.texts) == 5
    before = versions(university)
    again = Counting()
    second = ingest(university, source("hybrid"), again)
    assert (second.new, second.unchanged, second.removed, second.embedded) == (0, 5, 0, 0)
    assert (second.version, second.digest) == (first.version, first.digest)
    assert versions(university) == before == first.version
    assert again.asked == []
    assert again.started == again.closed == 0


def test_only_what_changed_is_done_again(university: Path) -> None:
    ingest(university, source("hybrid"), Counting())
    before = rows(university)
    lay(
        university,
        {
            "docs/biaya/s1.md": "# Biaya kuliah\n\nEnam juta.",
            "docs/baru.txt": "Perpustakaan buka setiap hari.",
        },
    )
    (university / "docs/asrama/kamar.md").unlink()
    embedder = Counting()
    report = ingest(university, source("hybrid"), embedder)
    assert (report.documents, report.new, report.unchanged, report.removed) == (5, 2, 3, 1)
    assert sorted(embedder.texts) == ["Biaya kuliah\n\nEnam juta.", "Perpustakaan buka setiap hari."]
    after = rows(university)
    same = [id_ for id_, row in before.items() if row["document"] not in ("biaya/s1.md", "asrama/kamar.md")]
    assert {id_: after[id_] for id_ in same} == {id_: before[id_] for id_ in same}
    assert {row["document"] for row in after.values()} == {
        *("biaya/s1.md", "biaya/cicilan.md", "beasiswa/tahfidz.md", "umum.md", "baru.txt")
    }


def test_a_document_that_comes_back_is_not_embedded_again(university: Path) -> None:
    path = university / "docs/asrama/kamar.md"
    content = path.read_text()
    first = ingest(university, source("vector"), Counting())
    path.unlink()
    ingest(university, source("vector"), Counting())
    path.write_text(content)
    embedder = Counting()
    report = ingest(university, source("vector"), embedder)
    assert (report.new, report.embedded, embedder.asked) == (1, 0, [])
    assert report.digest == first.digest
    assert report.version > first.version


def test_how_a_table_came_about_does_not_show(tmp_path: Path) -> None:
    """The same files give the same answers, whether they were there at once or came and went."""
    files = {f"docs/{n}.md": f"# Judul {n}\n\nbiaya kuliah {'asrama ' * (n % 3)} {n}" for n in range(12)}
    at_once = lay(tmp_path / "a", {"synth.toml": "", **files})
    step_by_step = lay(tmp_path / "b", {"synth.toml": "", "docs/x.md": "biaya biaya", "docs/3.md": "lain"})
    ingest(step_by_step, source("hybrid"), simulated())
    lay(step_by_step, dict(list(files.items())[6:]))
    ingest(step_by_step, source("hybrid"), simulated())
    lay(step_by_step, files)
    (step_by_step / "docs/x.md").unlink()
    for query in ("biaya", "asrama 3", "judul"):
        rankings = [
            ask(folder, source("hybrid"), query, simulated(), top_k=9) for folder in (at_once, step_by_step)
        ]
        assert rankings[0] == rankings[1]
        assert len(rankings[0]) == 9


@pytest.mark.parametrize(
    "change",
    [
        {"split": CallPlan(name="by_size", arguments={"max_words": 5, "overlap": 1})},
        {"keep": [CheckPlan(name="length", arguments={"characters": [30, None]})]},
        {"search": "hybrid"},
    ],
)
def test_other_settings_make_the_index_anew(university: Path, change: Mapping[str, Any]) -> None:
    first = ingest(university, source())
    plan = source(**change)
    second = ingest(university, plan, simulated())
    assert second.new == 5
    assert second.digest != first.digest
    assert ingest(university, plan, simulated()).new == 0


def test_another_embedder_makes_the_vectors_anew(university: Path) -> None:
    ingest(university, source("vector"), Counting("one"))
    other = Counting("two")
    assert ingest(university, source("vector"), other).embedded == 5
    back = Counting("one")
    assert ingest(university, source("vector"), back).embedded == 0


def test_keep_leaves_passages_out(university: Path) -> None:
    plan = source(keep=[CheckPlan(name="no_words", arguments={"words": ["juta"]})])
    report = ingest(university, plan)
    assert (report.documents, report.chunks) == (5, 4)
    assert all("juta" not in row["text"] for row in rows(university).values())
    with pytest.raises(ConfigError, match="`keep` leaves no passage"):
        ingest(university, source(keep=[CheckPlan(name="length", arguments={"characters": [9999, None]})]))


def test_distinct_keeps_the_first_of_near_duplicates_and_brings_back_the_next(tmp_path: Path) -> None:
    folder = lay(
        tmp_path,
        {
            "synth.toml": "",
            "docs/a.md": "Biaya kuliah lima juta rupiah per semester di kampus.",
            "docs/b.md": "Biaya kuliah lima juta rupiah per semester di kampus!",
            "docs/c.md": "Asrama aman dan bersih.",
        },
    )
    plan = source(keep=[CheckPlan(name="distinct", arguments={"similarity": 0.8})])
    assert ingest(folder, plan).chunks == 2
    assert {row["document"] for row in rows(folder).values()} == {"a.md", "c.md"}
    assert ingest(folder, plan).new == 0
    (folder / "docs/a.md").unlink()
    ingest(folder, plan)
    assert {row["document"] for row in rows(folder).values()} == {"b.md", "c.md"}


def test_faults_are_found_before_anything_is_embedded_or_written(university: Path) -> None:
    ingest(university, source("hybrid"), Counting())
    before = rows(university)
    lay(university, {"docs/new.md": "Baru.", "docs/z.pdf": encrypted_pdf("x"), "docs/y.pdf": pdf("")})
    embedder = Counting()
    with pytest.raises(ConfigError, match=r"docs/y.pdf` holds no text .*; 1 more file has a fault"):
        ingest(university, source("hybrid"), embedder)
    assert embedder.asked == []
    assert rows(university) == before


def test_empty_documents_are_left_out_and_said(university: Path) -> None:
    lay(university, {"docs/a-empty.md": "", "docs/blank.txt": " \n\n\t", "docs/front.md": "---\na: b\n---\n"})
    report = ingest(university, source())
    assert report.documents == 5
    assert report.warnings == ("3 documents hold no text and are left out: the first in `a-empty.md`",)
    assert ingest(university, source()).warnings == report.warnings
    lay(university, {"docs/a.png": b"x"})
    assert ingest(university, source()).warnings[0] == (
        "1 file in `docs` is of no kind that is read, and left out: 1 .png"
    )


def test_a_folder_without_any_text_is_refused(tmp_path: Path) -> None:
    folder = lay(tmp_path, {"synth.toml": "", "docs/a.md": "", "docs/b.md": "\n"})
    with pytest.raises(ConfigError, match="no document in `docs` holds any text"):
        ingest(folder, source())


def test_rows_of_jsonl_are_documents(tmp_path: Path) -> None:
    folder = lay(
        tmp_path,
        {
            "synth.toml": "",
            "docs/a.jsonl": '{"text": "satu", "id": "x", "unit": "BAK"}\n{"text": "dua"}\n{"text": ""}\n',
        },
    )
    report = ingest(folder, source("hybrid"), Counting())
    assert (report.documents, report.chunks, report.new) == (2, 2, 2)
    lay(folder, {"docs/a.jsonl": '{"text": "nol", "id": "y"}\n{"text": "satu", "id": "x", "unit": "BAK"}\n'})
    embedder = Counting()
    before = rows(folder)
    report = ingest(folder, source("hybrid"), embedder)
    assert embedder.texts == ["nol"]
    kept = {row["id"] for row in rows(folder).values() if row["document"] == "a.jsonl#x"}
    assert kept < before.keys()


def test_vectors_made_before_a_fault_are_kept(university: Path) -> None:
    def fault(asked: int) -> Exception | None:
        return CallFailed("bad_request", "no", retryable=False) if asked == 2 else None

    failing = Counting(fault=fault)
    with pytest.raises(EngineError, match=r"refused a call \(bad_request: no\)"):
        ingest(university, source("vector"), failing)
    embedder = Counting()
    assert ingest(university, source("vector"), embedder).embedded == 1
    assert sorted([*failing.asked[0], *embedder.texts]) == sorted(
        row["text"] for row in rows(university).values()
    )


def test_an_ingestion_can_be_cancelled_and_goes_on(tmp_path: Path) -> None:
    folder = lay(tmp_path, {"synth.toml": "", **{f"docs/{n}.md": f"Teks {n}." for n in range(40)}})
    reports: list[tuple[int, int]] = []

    async def go() -> None:
        embedder = Counting()
        index = open_index(source("vector"), folder, (), embedder)
        task: asyncio.Task[Any]

        def progress(done: int, total: int) -> None:
            reports.append((done, total))
            if done:
                task.cancel()

        task = asyncio.ensure_future(index.ingest(progress))
        with pytest.raises(asyncio.CancelledError):
            await task
        await index.close()
        assert embedder.closed == 1

    run(go())
    assert reports[0] == (0, 40)
    rest = ingest(folder, source("vector"), Counting())
    assert rest.chunks == 40
    assert rest.embedded < 40


def test_a_table_that_is_none_of_ours_is_left_alone(university: Path) -> None:
    import lancedb
    import pyarrow as pa

    store = lancedb.connect(university / "index" / "docs")
    store.create_table("docs", pa.table({"mine": [1]}))
    with pytest.raises(ConfigError, match="a table of that name which is none of its own"):
        ingest(university, source())
    assert store.open_table("docs").to_arrow().to_pydict() == {"mine": [1]}


def test_two_sources_share_a_store(university: Path) -> None:
    lay(university, {"more/a.md": "Lain sekali."})
    other = source(name="more", path="more")
    assert ingest(university, source()).chunks == 5
    assert ingest(university, other).chunks == 1
    assert ingest(university, source()).new == ingest(university, other).new == 0
    assert ask(university, other, "lain")[0]["document"] == "a.md"


def test_places_where_no_index_can_be_are_refused(university: Path) -> None:
    lay(university, {"index/docs": "a file"})
    with pytest.raises(ConfigError, match="is a file"):
        ingest(university, source())
    with pytest.raises(ConfigError, match="outside the project"):
        ingest(university, source(uri="../elsewhere"))
    with pytest.raises(ConfigError, match="outside the project"):
        ingest(university, source(path=".."))
    assert not (university.parent / "elsewhere").exists()


def test_without_an_index_the_passages_are_held_in_memory(university: Path) -> None:
    plan = source(uri=None)
    assert ask(university, plan, "kamar")[0]["document"] == "asrama/kamar.md"
    assert not (university / "index").exists()


def test_an_index_is_asked_for_only_once_it_is_made(university: Path) -> None:
    async def load(index: Index) -> None:
        await index.load()

    with pytest.raises(ConfigError, match="has not been made yet"):
        with_index(university, source(), load)
    assert not (university / "index").exists()
    ingest(university, source())

    async def missing(index: Index) -> None:
        await index.load(99)

    with pytest.raises(ConfigError, match="has no version 99"):
        with_index(university, source(), missing)


def test_an_earlier_version_answers_as_it_did(university: Path) -> None:
    plan = source("hybrid")

    async def first(index: Index) -> tuple[int, Any]:
        await index.ingest()
        return index.version, await index.retrieve("biaya", top_k=5)

    version, answer = with_index(university, plan, first, simulated())
    for number in range(3):
        lay(university, {f"docs/baru{number}.md": f"Biaya biaya {number}."})
        shutil.rmtree(university / "docs/beasiswa", ignore_errors=True)
        ingest(university, plan, simulated())

    async def then(index: Index) -> Any:
        await index.load(version)
        return await index.retrieve("biaya", top_k=5)

    assert with_index(university, plan, then, simulated()) == answer
    assert ask(university, plan, "biaya", simulated(), top_k=5) != answer


def test_versions_that_are_runs_have_a_tag(university: Path) -> None:
    import lancedb

    report = ingest(university, source())
    tags = lancedb.connect(university / "index" / "docs").open_table("docs").tags.list()
    assert {name: tag["version"] for name, tag in tags.items()} == {f"synth-{report.digest}": report.version}


def test_the_spool_gives_passages_in_the_order_of_ids(university: Path) -> None:
    with Spool() as spool:
        assert list(spool.texts()) == []
        assert spool.dimension() is None
    ingest(university, source())
    import lancedb

    ids = lancedb.connect(university / "index" / "docs").open_table("docs").to_arrow()["id"].to_pylist()
    assert ids == sorted(ids)
