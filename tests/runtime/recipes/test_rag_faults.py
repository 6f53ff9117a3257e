"""What the RAG recipe says of documents that are missing, too few, or change between runs."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.servers.loopback import Asked, Raw
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import Result, one_sentence, query, synth
from tests.runtime.recipes.test_rag import careful, completed, project, served

pytestmark = pytest.mark.embeds

SMALL = ("--set", "teacher_revision=0", "--set", "per_category=4")
TEACHER = (*SMALL, "--model", "teacher=openai:gpt-4o")
NOBODY = {"OPENAI_BASE_URL": "http://127.0.0.1:9", "OPENAI_API_KEY": "k"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project with a search that needs no embedder."""
    project(tmp_path)
    recipe = tmp_path / "recipes/rag.recipe"
    recipe.write_text(recipe.read_text("utf-8").replace('search = "hybrid"', 'search = "text"'), "utf-8")
    return tmp_path


def run(folder: Path, server: OpenAIServer, *extra: str) -> Result:
    return synth("run", "recipes/rag.recipe", *TEACHER, *extra, cwd=folder, env=served(server))


def said(result: Result, status: int) -> str:
    """The one sentence of a refusal, without the note on the smaller quota."""
    lines = [line for line in result.err.splitlines() if not line.startswith("note: ")]
    return one_sentence(Result(result.status, result.out, "\n".join(lines)), status)


@pytest.mark.slow
def test_documents_that_are_not_there_cost_nothing(folder: Path) -> None:
    docs = folder / "recipes/data/unsiq"
    shutil.rmtree(docs)
    arguments = ("run", "recipes/rag.recipe", *TEACHER, "--json")
    missing = synth(*arguments, cwd=folder, env=NOBODY)
    assert said(missing, 1) == "the folder `data/unsiq` does not exist: check the path"
    docs.mkdir()
    empty = synth(*arguments, cwd=folder, env=NOBODY)
    assert said(empty, 1) == "the folder `data/unsiq` holds no files: put documents there, or check the path"
    (docs / "biaya.md").write_text(" \n")
    blank = synth(*arguments, cwd=folder, env=NOBODY)
    assert said(blank, 1) == "no document in `data/unsiq` holds any text: check what is in them"
    (docs / "biaya.md").write_bytes(b"\xff\xfe\x00 Rp1")
    broken = synth(*arguments, cwd=folder, env=NOBODY)
    assert said(broken, 1).startswith("`data/unsiq/biaya.md` ")
    kinds = (
        query(folder / "synth.duckdb", "SELECT DISTINCT kind FROM events")
        if (folder / "synth.duckdb").exists()
        else []
    )
    assert kinds == []


def test_documents_without_folders_have_no_categories(folder: Path) -> None:
    docs = folder / "recipes/data/unsiq"
    for path in docs.glob("*/*.md"):
        path.rename(docs / f"{path.parent.name}-{path.name}")
    with OpenAIServer(answer=careful) as server:
        refused = run(folder, server, "--json")
        assert server.total == 0
    assert "no passage of `docs` has `folder`: " in said(refused, 1)


@pytest.mark.slow
def test_a_category_without_a_passage_leaves_the_quota_short_until_it_has_some(folder: Path) -> None:
    docs = folder / "recipes/data/unsiq"
    shutil.move(docs / "kontak", folder / "kontak")
    with OpenAIServer(answer=careful) as server:
        short = run(folder, server, "--json")
        assert short.status == 3
        report = short.json()
        counts = report["cohorts"]["grounded"]
        lost_there = counts.pop("abandoned")
        assert counts == {"quota": 48, "completed": 44, "found": 0, "open": 0, "pending": 4}
        # With none of the category's samples completed, its cells are not tried to their last loss.
        assert 40 <= lost_there < 100
        reason = "evidence: `docs` has nothing about `alamat, kantor, nomor telepon, jam layanan, pengaduan`"
        assert report["reason"].startswith("`grounded` gave up on category kontak, ")
        assert report["reason"].count(reason) == 3
        assert "; and on 1 other cell; nothing passes there" in report["reason"]
        lost = query(
            folder / "synth.duckdb",
            "SELECT step, payload ->> 'reason', payload ->> '$.cell.category', count(*) FROM events "
            "WHERE kind = 'sample.abandoned' GROUP BY ALL",
        )
        assert [(step, category, n) for step, _, category, n in lost] == [("evidence", "kontak", lost_there)]
        assert lost[0][1] in reason.removeprefix("evidence: ") + " under that filter"
        kept = synth("materialize", "recipes/rag.recipe", *SMALL, cwd=folder)
        assert "`grounded` has 44 of 48 samples" in said(kept, 3)
        replayed = synth("replay", "recipes/rag.recipe", *SMALL, "--json", cwd=folder)
        assert (replayed.status, replayed.json()["pending"]) == (0, 4)
        # The reason was the documents', not the samples': with others they are tried again.
        shutil.move(folder / "kontak", docs / "kontak")
        total = server.total
        repaired = run(folder, server, "--json")
        assert repaired.status == 0, repaired.err
        assert repaired.json()["cohorts"]["grounded"]["found"] == 44
        assert server.total > total
    replayed = synth("replay", "recipes/rag.recipe", *SMALL, "--json", cwd=folder)
    assert (replayed.status, replayed.json()["pending"]) == (0, 0)
    assert synth("materialize", "recipes/rag.recipe", *SMALL, cwd=folder).status == 0


def test_a_technique_that_the_documents_cannot_serve_is_named(folder: Path) -> None:
    """Camouflage compares two documents, and this category has one."""
    one, *others = sorted((folder / "recipes/data/unsiq/pertukaran").iterdir())
    one.write_text("\n".join(path.read_text("utf-8") for path in (one, *others)), "utf-8")
    for path in others:
        path.unlink()
    with OpenAIServer(answer=careful) as server:
        short = run(folder, server, "--json")
    assert short.status == 3
    lost = query(
        folder / "synth.duckdb",
        "SELECT DISTINCT payload ->> '$.cell.technique', payload ->> '$.cell.category', payload ->> 'reason' "
        "FROM events WHERE kind = 'sample.abandoned' AND step = 'evidence'",
    )
    reason = (
        "`docs` has passages about `pertukaran mahasiswa ke luar negeri dan antarkampus` under that filter "
        "in 1 document, and at least 2 are asked for"
    )
    assert lost == [("camouflage", "pertukaran", reason)]
    assert reason in short.json()["reason"]
    done = {(s["cell"]["category"], s["cell"]["technique"]) for s in completed(folder)}
    assert ("pertukaran", "hard_negative") in done or ("pertukaran", "implicit_cot") in done


@pytest.mark.slow
def test_documents_that_go_between_runs_change_only_what_was_not_made_yet(folder: Path) -> None:
    with OpenAIServer(answer=careful) as server:
        first = run(folder, server, "--limit", "24", "--json")
        assert first.status == 0, first.err
        before = {json_id(s): s for s in completed(folder)}
        seen = Counter(p["document"] for s in before.values() for p in s["values"]["evidence"])
        ((gone, _),) = seen.most_common(1)
        (folder / "recipes/data/unsiq" / gone).unlink()
        second = run(folder, server, "--json")
        assert second.status == 0, second.err
    assert second.json()["sources"]["docs"]["documents"] == 47
    after = {json_id(s): s for s in completed(folder)}
    assert len(after) == 48
    assert {name: after[name] for name in before} == before
    used = {name: {p["document"] for p in s["values"]["evidence"]} for name, s in after.items()}
    assert after.keys() - before
    assert not any(gone in used[name] for name in after.keys() - before)
    versions = query(
        folder / "synth.duckdb",
        "SELECT count(DISTINCT payload ->> '$.index.digest') FROM events WHERE kind = 'retrieval.done'",
    )
    assert versions == [(2,)]
    replayed = synth("replay", "recipes/rag.recipe", *SMALL, "--json", cwd=folder)
    assert (replayed.status, replayed.json()["pending"]) == (0, 0)


def json_id(sample: dict[str, object]) -> str:
    return f"{sample['cell']} {sample['ordinal']}"


def test_what_a_service_refuses_for_good_is_replayed_as_refused(folder: Path) -> None:
    def sensitive(asked: Asked) -> str | Raw:
        if int(asked.key[:2], 16) < 40:
            return Raw({"error": {"message": "no", "code": "content_policy_violation"}}, status=400)
        return careful(asked)

    with OpenAIServer(answer=sensitive) as server:
        ran = run(folder, server, "--json")
    assert ran.status == 0, ran.err
    assert ran.json()["cohorts"]["grounded"]["abandoned"] > 0
    replayed = synth("replay", "recipes/rag.recipe", *SMALL, "--json", cwd=folder)
    assert replayed.status == 0, replayed.err
    assert replayed.json()["pending"] == 0


@pytest.mark.slow
def test_who_did_not_finish_looks_up_again_once_the_documents_have_changed(folder: Path) -> None:
    with OpenAIServer(answer=careful) as server:
        cut = run(folder, server, "--max-calls", "20", "--json")
        assert cut.status == 3, cut.err
        finished = {json_id(sample) for sample in completed(folder)}
        ids = {
            name
            for (name,) in query(
                folder / "synth.duckdb", "SELECT sample_id FROM events WHERE kind = 'sample.completed'"
            )
        }
        assert len(finished) == len(ids) <= 20
        for path in (folder / "recipes/data/unsiq").glob("*/*.md"):
            path.write_text(
                f"{path.read_text('utf-8')}\n\n## Tambahan\n\nLoket baru ada di Gedung Z.\n", "utf-8"
            )
        rest = run(folder, server, "--json")
        assert rest.status == 0, rest.err
    looks = dict(
        query(
            folder / "synth.duckdb",
            "SELECT sample_id, count(*) FROM events WHERE kind = 'retrieval.done' GROUP BY sample_id",
        )
    )
    # Who was under way when the first run stopped has both versions in the log, who was finished one.
    assert len(looks) == 48
    assert 2 in looks.values()
    assert all(count == 1 if name in ids else count <= 2 for name, count in looks.items())
    new = [s for s in completed(folder) if json_id(s) not in finished]
    assert any("Loket baru" in passage["text"] for s in new for passage in s["values"]["evidence"])
    replayed = synth("replay", "recipes/rag.recipe", *SMALL, "--json", cwd=folder)
    assert (replayed.status, replayed.json()["pending"]) == (0, 0)
