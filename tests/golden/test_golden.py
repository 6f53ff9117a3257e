"""Logs and datasets of version 0.1.0: they materialize to the same rows, replay and verify, for ever.

The recipes beside them are as they were then; those in `recipes/` go on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from synth.base.files import file_hash
from synth.compiler.compile import compile_file
from tests.kit.support import one_sentence, synth

HERE = Path(__file__).parent
PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "quickstart": {},
    "persona": {"conversations": "60", "base_revision": "abc"},
    "pillars": {"variations": "4"},
    "rag": {"teacher_revision": "abc", "per_category": "4"},
    "rag_turns": {"teacher_revision": "abc", "per_category": "3"},
}
SUMS = {line[66:]: line[:64] for line in (HERE / "SHA256SUMS").read_text("utf-8").splitlines()}
# How plans are named since 0.2.0: a field that a later version adds must not change it.
PLAN_HASHES = json.loads((HERE / "plan_hashes.json").read_text("utf-8"))

golden = pytest.mark.parametrize("name", PARAMETERS)
datasets = pytest.mark.parametrize(
    "dataset",
    sorted(path.parent.relative_to(HERE / "datasets") for path in HERE.rglob("manifest.json")),
    ids=str,
)


def recipe(name: str) -> list[str]:
    """A recipe with the values of its parameters, as arguments."""
    values = [f"{parameter}={value}" for parameter, value in PARAMETERS[name].items()]
    return [
        str(HERE / "recipes" / f"{name}.recipe"),
        *(part for value in values for part in ("--set", value)),
    ]


@pytest.fixture
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a golden log, since opening one may write beside it."""
    name = request.node.callspec.params.get("name") or request.node.callspec.params["dataset"].parts[0]
    return Path(shutil.copy(HERE / f"{name}.duckdb", tmp_path / "golden.duckdb"))


@golden
def test_a_golden_log_materializes_to_its_bytes_and_replays(name: str, log: Path, tmp_path: Path) -> None:
    written = synth("materialize", *recipe(name), "--log", log, "--out", tmp_path / name, cwd=tmp_path)
    assert written.status == 0, written.err
    wanted = {file: sha for file, sha in SUMS.items() if file.startswith(f"{name}/")}
    assert wanted
    assert {file: file_hash(tmp_path / file) for file in wanted} == wanted

    replayed = synth("replay", *recipe(name), "--log", log, cwd=tmp_path)
    assert replayed.status == 0, replayed.err


@golden
def test_the_hash_of_a_golden_plan_stays(name: str) -> None:
    plan = compile_file(HERE / "recipes" / f"{name}.recipe", PARAMETERS[name]).plan
    assert plan.plan_hash == PLAN_HASHES[name]


@datasets
def test_a_dataset_of_an_earlier_version_holds_against_its_log(
    dataset: Path, log: Path, tmp_path: Path
) -> None:
    folder = HERE / "datasets" / dataset
    held = synth("verify", folder, "--log", log, cwd=tmp_path)
    assert held.status == 0, held.err
    assert "is what the first" in held.out
    by_recipe = synth("verify", folder, "--log", log, "--recipe", *recipe(dataset.parts[0]), cwd=tmp_path)
    assert by_recipe.status == 0, by_recipe.err


@pytest.mark.parametrize(
    ("dataset", "said"),
    [(Path("pillars/out/pillars"), "pillars"), (Path("quickstart/out/quickstart"), "quickstart")],
    ids=str,
)
def test_a_changed_count_in_an_earlier_versions_manifest_is_found(
    dataset: Path, said: str, log: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(HERE / "datasets" / dataset, tmp_path / said)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    part = manifest["source"].get("parts", [manifest["source"]])[0]
    part["rows" if "rows" in part else "samples"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    differs = synth("verify", folder, "--log", log, cwd=tmp_path)
    assert "its `source` is not what" in one_sentence(differs, 4)


def test_a_dataset_of_an_earlier_version_is_not_that_of_another_recipe(tmp_path: Path) -> None:
    log = shutil.copy(HERE / "persona.duckdb", tmp_path / "golden.duckdb")
    file, *values = recipe("persona")
    text = Path(file).read_text("utf-8")
    assert "split = 95%" in text
    other = tmp_path / "persona.recipe"
    other.write_text(text.replace("split = 95%", "split = 50%"), "utf-8")
    folder = HERE / "datasets/persona/out/persona"
    differs = synth("verify", folder, "--log", log, "--recipe", other, *values, cwd=tmp_path)
    assert "is not what" in one_sentence(differs, 4)
