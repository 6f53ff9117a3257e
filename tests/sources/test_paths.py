"""Where a recipe may read, and what is said of what is not there, before anything is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from synth.base.errors import ConfigError
from synth.runtime.sources.ingest import check_sources
from tests.sources.helpers import Messages, ingest, logged, pair, plan_for, refusal, turns, write_lines

ROW = [pair()]
CODEX = turns("Who are you?", "Codex.")
RELATIVE = "paths are relative to the recipe"
READ_IT = "read it with `jsonl`, `csv` or `parquet`"


def checked(folder: Path, reader: str, allowed: Sequence[Path] = ()) -> str:
    """What `check_sources` and a run both say of a source."""
    with pytest.raises(ConfigError) as raised:
        check_sources(plan_for(folder, reader), allowed)
    assert str(raised.value) == refusal(folder, reader, allowed)
    return str(raised.value)


def read(folder: Path, reader: str, allowed: Sequence[Path] = ()) -> list[Messages]:
    plan = plan_for(folder, reader)
    check_sources(plan, allowed)
    ingest(plan, folder / "log.duckdb", allowed)
    return [[*map(dict, payload["messages"])] for _, payload in logged(plan, folder / "log.duckdb")]


@pytest.mark.parametrize(
    ("reader", "expected"),
    [
        ('jsonl("data/chat.jsonl")', "there is no file `data/chat.jsonl`: did you mean `data/chats.jsonl`?"),
        ('jsonl("date/chats.jsonl")', "there is no folder `date`: " + RELATIVE),
        ('jsonl("data/other.txt")', "there is no file `data/other.txt`: check the path"),
        ('jsonl("data/chats.jsonl/x")', "there is no folder `data/chats.jsonl`: " + RELATIVE),
        ('jsonl("data")', 'data is a folder: name a file in it, or read it with dataset("data")'),
        ('jsonl("")', '. is a folder: name a file in it, or read it with dataset(".")'),
        ('dataset("dat")', "there is no file `dat`: did you mean `data`?"),
        ('dataset("data/chats.jsonl")', "data/chats.jsonl is a file: " + READ_IT),
        (f'jsonl("{"x" * 300}")', f"`{'x' * 199}…` cannot be read (File name too long): check it"),
    ],
)  # fmt: skip
def test_what_is_not_there(reader: str, expected: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "data/chats.jsonl", ROW)
    assert checked(tmp_path, reader) == f"source `natural`: {expected}"


def test_a_path_by_way_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    write_lines(tmp_path / "chat.jsonl", ROW)
    assert read(tmp_path, 'jsonl("./data/../chat.jsonl")') == [CODEX]


def outside(project: Path, found: Path, allow: Path) -> str:
    return (
        f"source `natural`: `{found}` lies outside the project (`{project.name}/`, where the recipe or its "
        f"synth.toml is): move it there, or run with --allow {allow}"
    )


def test_a_recipe_reads_in_its_own_folder(tmp_path: Path) -> None:
    project = tmp_path / "project"
    path = write_lines(tmp_path / "data/chat.jsonl", ROW)
    project.mkdir()
    for written in ("../data/chat.jsonl", str(path)):
        assert checked(project, f'jsonl("{written}")') == outside(project, path, path.parent)
    folder = checked(project, 'dataset("../data")')
    assert folder == outside(project, path.parent, path.parent)


def test_what_lies_outside_is_not_told_from_what_is_not_there(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    assert checked(project, 'jsonl("../none.jsonl")') == outside(project, tmp_path / "none.jsonl", tmp_path)


def test_a_project_file_makes_the_project_larger(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "data/chat.jsonl", ROW)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (tmp_path / "synth.toml").touch()
    assert read(recipes, 'jsonl("../data/chat.jsonl")') == [CODEX]
    (recipes / "synth.toml").touch()
    (recipes / "log.duckdb").unlink()
    assert checked(recipes, 'jsonl("../data/chat.jsonl")') == outside(recipes, path, path.parent)


def test_allowed_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    path = write_lines(tmp_path / "data/deep/chat.jsonl", ROW)
    project.mkdir()
    reader = 'jsonl("../data/deep/chat.jsonl")'
    assert read(project, reader, [tmp_path / "elsewhere", tmp_path / "data"]) == [CODEX]
    monkeypatch.chdir(tmp_path)
    assert read(project, reader, [Path("data")]) == [CODEX]
    sibling = tmp_path / "dat"
    sibling.mkdir()
    (project / "log.duckdb").unlink()
    assert checked(project, reader, [sibling]) == outside(project, path, path.parent)


def test_links_are_followed_before_they_are_judged(tmp_path: Path) -> None:
    project = tmp_path / "project"
    path = write_lines(tmp_path / "data/train.jsonl", ROW)
    (project / "folder").mkdir(parents=True)
    (project / "chat.jsonl").symlink_to(path)
    (project / "folder/train.jsonl").symlink_to(path)
    assert checked(project, 'jsonl("chat.jsonl")') == outside(project, path, path.parent)
    assert checked(project, 'dataset("folder")') == outside(project, path, path.parent)
    assert read(project, 'dataset("folder")', [tmp_path / "data"]) == [CODEX]


def test_a_saved_dataset_cannot_lead_outside(tmp_path: Path) -> None:
    project = tmp_path / "project"
    path = write_lines(tmp_path / "secret.arrow", ["x"])
    write_lines(project / "data/state.json", [{"_data_files": [{"filename": "../../secret.arrow"}]}])
    assert checked(project, 'dataset("data")') == outside(project, path, tmp_path)


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "b.jsonl")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    sentence = checked(tmp_path, 'jsonl("a.jsonl")')
    assert sentence.startswith("source `natural`: `")
    assert "cannot be read" in sentence


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "chat.jsonl")
    expected = "chat.jsonl is no regular file: copy what it gives into one"
    assert checked(tmp_path, 'jsonl("chat.jsonl")') == expected
