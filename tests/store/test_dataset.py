"""Datasets: the same bytes every time, verified against manifest and log, never half written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth as product
from synth.base.errors import ConfigError, Diverged, LogDamaged, LogError, QuotaShort
from synth.store.dataset.materialize import materialize
from synth.store.dataset.verify import read_manifest, verify_against_log, verify_files
from synth.store.log.log import Log
from tests.kit.support import PERSONA, REVISION, one_sentence, rows, synth

PARAMS = {"base_revision": "0000000", "conversations": 60}
ARGUMENTS = (PERSONA, *REVISION, "--set", "conversations=60")
SPLITS = ("train.jsonl", "eval.jsonl")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the log of a simulated run of 60 conversations."""
    folder = tmp_path_factory.mktemp("project")
    product.run(product.compile(PERSONA, **PARAMS), log=folder / "synth.duckdb", simulate=True)
    return folder


@pytest.fixture
def log(project: Path, tmp_path: Path) -> Path:
    """A copy of that log, to be harmed."""
    copy = tmp_path / "synth.duckdb"
    copy.write_bytes((project / "synth.duckdb").read_bytes())
    return copy


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def variant(folder: Path, *changes: tuple[str, str]) -> Path:
    """The persona recipe with some of its text replaced."""
    text = PERSONA.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "variant.recipe"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_same_bytes_whatever_the_threads_and_however_often(
    project: Path, tmp_path: Path, form: str
) -> None:
    recipe = variant(tmp_path, ("split = 95%", f"split = 80%\n  format = {form}"))
    plan = product.compile(recipe, **PARAMS)
    found = []
    for number, threads in enumerate((1, 4, 4)):
        with Log(project / "synth.duckdb") as log:
            (dataset,) = materialize(plan, log, tmp_path / str(number), threads=threads)
        found.append(hashes(dataset.folder))
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {f"train.{form}", f"eval.{form}", "manifest.json", "README.md"}


def test_parquet_says_what_jsonl_says(project: Path, tmp_path: Path) -> None:
    tables: dict[str, list[dict[str, Any]]] = {}
    for form in ("jsonl", "parquet"):
        recipe = variant(tmp_path, ("split = 95%", f"format = {form}"))
        (dataset,) = product.materialize(
            product.compile(recipe, **PARAMS), log=project / "synth.duckdb", out=tmp_path / form
        )
        path = dataset.folder / f"train.{form}"
        if form == "jsonl":
            tables[form] = rows(path)
        else:
            with duckdb.connect() as connection:
                result = connection.execute(f"SELECT * FROM '{path}'")
                names = [column[0] for column in result.description or []]
                tables[form] = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    assert tables["jsonl"] == tables["parquet"]


def test_a_split_keeps_its_rows_as_the_dataset_grows(project: Path, tmp_path: Path) -> None:
    sides: list[dict[str, str]] = []
    for count in (60, 90):
        plan = product.compile(PERSONA, **{**PARAMS, "conversations": count})
        product.run(plan, log=project / "synth.duckdb", simulate=True)
        (dataset,) = product.materialize(plan, log=project / "synth.duckdb", out=tmp_path / str(count))
        sides.append({row["id"]: name for name in SPLITS for row in rows(dataset.folder / name)})
    assert set(sides[0]) <= set(sides[1])
    assert all(sides[1][name] == side for name, side in sides[0].items())


def test_forms_and_roles(project: Path, tmp_path: Path) -> None:
    def rows_of(*changes: tuple[str, str]) -> list[dict[str, Any]]:
        plan = product.compile(variant(tmp_path, *changes), **PARAMS)
        (dataset,) = product.materialize(plan, log=project / "synth.duckdb", out=tmp_path / "forms")
        return rows(dataset.folder / "train.jsonl")

    as_messages = ("export train: prompt_completion", "export train: messages")
    plain = rows_of(("  split = 95%\n", ""), as_messages)
    assert [m["weight"] for m in plain[0]["messages"]] == [0, 0, 0, 1]
    as_model = rows_of(("split = 95%", "roles = model"), as_messages)
    assert [m["role"] for m in as_model[0]["messages"]] == ["user", "model", "user", "model"]
    pairs = rows_of(("  split = 95%\n", ""))
    assert pairs[0]["prompt"] == plain[0]["messages"][:3]
    assert pairs[0]["completion"] == plain[0]["messages"][3:]
    both = rows_of(
        ("  split = 95%\n", ""),
        ("train_on = [answer]", "train_on = [acknowledgment, answer]"),
    )
    assert len(both) == 2 * len(pairs)
    assert [row["id"] for row in both[:2]] == [f"{pairs[0]['id']}-0", f"{pairs[0]['id']}-1"]
    sharegpt = rows_of(("  split = 95%\n", ""), ("train: prompt_completion", "train: sharegpt"))
    assert [turn["from"] for turn in sharegpt[0]["conversations"]] == ["human", "gpt", "human", "gpt"]


def test_verify_finds_a_changed_file_and_a_changed_manifest(project: Path, tmp_path: Path) -> None:
    plan = product.compile(PERSONA, **PARAMS)
    (dataset,) = product.materialize(plan, log=project / "synth.duckdb", out=tmp_path)
    folder = dataset.folder
    with Log(project / "synth.duckdb") as log:
        verify_files(folder, read_manifest(folder))
        verify_against_log(folder, read_manifest(folder), log)
        original = (folder / "manifest.json").read_text()

        changed = json.loads(original)
        changed["counts"]["temper"]["plain"] += 1
        (folder / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(Diverged, match="its `counts` is not"):
            verify_against_log(folder, read_manifest(folder), log)

        train = folder / "train.jsonl"
        train.write_bytes(train.read_bytes().replace(b"the", b"teh", 1) + b"\n")
        with pytest.raises(Diverged, match="was changed after it was written"):
            verify_files(folder, json.loads(original))
        # A manifest that was changed to match does not help: the log knows.
        changed = json.loads(original)
        changed["files"]["train.jsonl"]["sha256"] = sha256(train.read_bytes()).hexdigest()
        verify_files(folder, {**changed, "files": {"train.jsonl": changed["files"]["train.jsonl"]}})
        with pytest.raises(Diverged, match="is not what"):
            verify_against_log(folder, changed, log)
        train.unlink()
        with pytest.raises(Diverged, match="is missing"):
            verify_files(folder, changed)


def test_a_payload_altered_by_hand_is_named_by_verify_replay_and_run(log: Path, tmp_path: Path) -> None:
    assert synth("materialize", *ARGUMENTS, cwd=tmp_path).status == 0
    assert synth("verify", "out/persona", "--log", log, cwd=tmp_path).status == 0
    with duckdb.connect(str(log)) as connection:
        ((seq, batch),) = connection.execute(
            "SELECT seq, batch_id FROM events WHERE kind = 'call.completed' ORDER BY seq LIMIT 1 OFFSET 100"
        ).fetchall()
        connection.execute(
            """UPDATE events SET payload = json_merge_patch(payload, '{"text": "forged"}') WHERE seq = ?""",
            [seq],
        )
    for arguments in (
        ("verify", "out/persona", "--log", log),
        ("run", *ARGUMENTS, "--simulate"),
        ("replay", *ARGUMENTS),
        ("materialize", *ARGUMENTS),
    ):
        sentence = one_sentence(synth(*arguments, cwd=tmp_path), 5)
        assert f"batch {batch} does not hold: its events were altered" in sentence


def test_as_of_goes_back_in_the_log(project: Path, tmp_path: Path) -> None:
    plan = product.compile(PERSONA, **PARAMS)
    path = project / "synth.duckdb"
    with Log(path) as log:
        (now,) = materialize(plan, log, tmp_path / "now")
        last = now.manifest["log"]["events"] - 1
        (same,) = materialize(plan, log, tmp_path / "same", as_of=last)
        assert hashes(now.folder) == hashes(same.folder)
        ((middle,),) = (
            log.cursor()
            .execute("SELECT seq FROM events WHERE kind = 'sample.completed' ORDER BY seq LIMIT 1 OFFSET 9")
            .fetchall()
        )
        with pytest.raises(QuotaShort, match="has 10 of 60 samples"):
            materialize(plan, log, tmp_path / "then", as_of=middle)
        (then,) = materialize(plan, log, tmp_path / "then", as_of=middle, partial=True)
        assert sum(then.rows.values()) == 10
        for beyond in (log.next_seq, 10**9):
            with pytest.raises(LogError, match="has no event"):
                materialize(plan, log, tmp_path / "then", as_of=beyond)
    old = {row["id"] for name in SPLITS for row in rows(then.folder / name)}
    new = {row["id"] for name in SPLITS for row in rows(now.folder / name)}
    assert old <= new


def test_simulated_rows_never_mix_with_real_ones(tmp_path: Path, log: Path) -> None:
    """Other models, other lineage: a dataset is of the last run's models alone."""
    recipe = variant(tmp_path)
    (tmp_path / "synth.toml").write_text(
        '[models.author]\nbackend = "simulated"\nid = "other"\n'
        '[models.base]\nbackend = "simulated"\nid = "b"\n'
    )
    arguments = (recipe, *REVISION, "--set", "conversations=60")
    assert synth("run", *arguments, "--limit", "5", cwd=tmp_path).status == 0
    sentence = one_sentence(synth("materialize", *arguments, cwd=tmp_path), 3)
    assert "`identity` has 5 of 60 samples" in sentence


def test_a_folder_that_is_not_ours_is_left_alone(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out/persona"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    plan = product.compile(PERSONA, **PARAMS)
    with pytest.raises(ConfigError, match="holds no dataset of ours"):
        product.materialize(plan, log=project / "synth.duckdb", out=tmp_path)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    (folder / "thesis.txt").unlink()
    product.materialize(plan, log=project / "synth.duckdb", out=tmp_path)
    product.materialize(plan, log=project / "synth.duckdb", out=tmp_path)
    assert sorted(os.listdir(tmp_path / "out")) == ["persona"], "no work folder is left behind"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", '{"name": "my web app", "files": {}}'),
        ("manifest.json", "not JSON"),
        (".git/HEAD", "ref: refs/heads/main"),
        ("notes.md", "what I found in these rows"),
        ("train.jsonl", "a row of my own"),
        ("train.jsonl", "a letter of my own"),
    ],
    ids=["another manifest", "no manifest", "a repository", "notes", "rows", "a row"],
)
def test_what_synth_did_not_write_is_never_replaced(
    name: str, content: str, project: Path, tmp_path: Path
) -> None:
    plan, log = product.compile(PERSONA, **PARAMS), project / "synth.duckdb"
    folder = tmp_path / "out/persona"
    if name == "manifest.json":
        folder.mkdir(parents=True)
    else:
        product.materialize(plan, log=log, out=tmp_path)
    (folder / name).parent.mkdir(exist_ok=True)
    if content.startswith("a letter"):
        # Of the same size, and not newer than its manifest.
        path, when = folder / name, os.stat(folder / "manifest.json").st_mtime_ns
        path.write_bytes(path.read_bytes().replace(b"e", b"E", 1))
        os.utime(path, ns=(when, when))
    else:
        (folder / name).write_text(content)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"move it away.*, or choose another --out"):
        product.materialize(plan, log=log, out=tmp_path)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert os.listdir(tmp_path / "out") == ["persona"]


def test_a_link_is_followed_below_out_and_nowhere_else(project: Path, tmp_path: Path) -> None:
    plan, log = product.compile(PERSONA, **PARAMS), project / "synth.duckdb"
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "datasets"
    elsewhere.mkdir()
    (out / "out").mkdir(parents=True)
    (out / "out/persona").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="is not below"):
        product.materialize(plan, log=log, out=out)
    assert os.listdir(elsewhere) == []
    (out / "out/persona").unlink()
    (out / "out/persona").symlink_to("../kept")
    for _ in range(2):
        product.materialize(plan, log=log, out=out)
    assert (out / "out/persona").is_symlink()
    assert sorted(os.listdir(out)) == ["kept", "out"]
    assert "train.jsonl" in os.listdir(out / "kept")


def test_what_a_killed_process_left_is_swept(project: Path, tmp_path: Path) -> None:
    plan, log = product.compile(PERSONA, **PARAMS), project / "synth.duckdb"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f"out/.persona.synth-{gone.pid}"
    left.mkdir(parents=True)
    (left / "train.jsonl").write_text("half of it")
    product.materialize(plan, log=log, out=tmp_path)
    assert os.listdir(tmp_path / "out") == ["persona"]


def test_a_dataset_set_aside_by_a_killed_process_is_put_back(project: Path, tmp_path: Path) -> None:
    plan, log = product.compile(PERSONA, **PARAMS), project / "synth.duckdb"
    product.materialize(plan, log=log, out=tmp_path)
    folder = tmp_path / "out/persona"
    folder.rename(tmp_path / "out/.persona.synth-old")
    (tmp_path / "out/.persona.synth-old/notes.md").write_text("kept")
    with pytest.raises(ConfigError, match=r"notes\.md"):
        product.materialize(plan, log=log, out=tmp_path)
    assert (folder / "notes.md").read_text() == "kept"
    (folder / "notes.md").unlink()
    product.materialize(plan, log=log, out=tmp_path)
    assert os.listdir(tmp_path / "out") == ["persona"]


def test_what_only_has_the_name_of_a_dataset_set_aside_stays(project: Path, tmp_path: Path) -> None:
    plan, log = product.compile(PERSONA, **PARAMS), project / "synth.duckdb"
    other = tmp_path / "out/.persona.synth-old"
    for _ in range(2):
        other.mkdir(parents=True, exist_ok=True)
        (other / "notes.md").write_text("kept")
        product.materialize(plan, log=log, out=tmp_path)
        assert (other / "notes.md").read_text() == "kept"
    # Nor is one of ours that somebody has put something into.
    shutil.copytree(tmp_path / "out/persona", other, dirs_exist_ok=True)
    product.materialize(plan, log=log, out=tmp_path)
    assert (other / "notes.md").read_text() == "kept"
    (other / "notes.md").unlink()
    product.materialize(plan, log=log, out=tmp_path)
    assert os.listdir(tmp_path / "out") == ["persona"]


def test_a_dataset_that_cannot_be_written_leaves_nothing(project: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match="cannot be written"):
        product.materialize(product.compile(PERSONA, **PARAMS), log=project / "synth.duckdb", out=tmp_path)
    assert os.listdir(tmp_path) == ["out"]


def test_a_log_without_this_recipe_says_so(project: Path, tmp_path: Path) -> None:
    plan = product.compile(PERSONA, **PARAMS).model_copy(update={"seed": 12})
    with pytest.raises(QuotaShort, match="`synth run` it first"), Log(project / "synth.duckdb") as log:
        materialize(plan, log, tmp_path)


def test_damage_outside_events_is_found_too(log: Path) -> None:
    with duckdb.connect(str(log)) as connection:
        connection.execute("UPDATE batches SET n = n + 1 WHERE batch_id = 1")
    with pytest.raises(LogDamaged, match="batch 1 does not hold"):
        Log(log)
