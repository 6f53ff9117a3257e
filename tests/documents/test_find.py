"""Which files of a folder are read, and the sentences for folders that cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synth.base.errors import ConfigError
from synth.runtime.documents import MAX_BYTES, find_files
from synth.runtime.documents.glob import compile_glob
from synth.runtime.documents.paths import inside_project
from tests.documents.helpers import lay, refusal


def listed(folder: Path, glob: str = "**/*") -> list[str]:
    return [file.name for file in find_files(folder, glob, "docs").files]


@pytest.mark.parametrize(
    ("glob", "matched"),
    [
        ("**/*.md", ["a.md", "deep/er/c.md", "fees/b.md"]),
        ("*.md", ["a.md"]),
        ("**/*.{md,txt}", ["a.md", "deep/er/c.md", "fees/b.md", "fees/d.txt"]),
        ("fees/*", ["fees/b.md", "fees/d.txt"]),
        ("**/[bc].md", ["deep/er/c.md", "fees/b.md"]),
        ("**/[!bc].md", ["a.md"]),
        ("**/?.md", ["a.md", "deep/er/c.md", "fees/b.md"]),
        ("deep/**", ["deep/er/c.md"]),
        (".hidden/*.md", [".hidden/e.md"]),
        ("./fees//b.md", ["fees/b.md"]),
    ],
)
def test_a_glob_matches_as_in_a_shell(tmp_path: Path, glob: str, matched: list[str]) -> None:
    names = ("a.md", "fees/b.md", "fees/d.txt", "deep/er/c.md", ".hidden/e.md")
    lay(tmp_path, dict.fromkeys(names, "text"))
    assert listed(tmp_path, glob) == matched


@pytest.mark.parametrize("glob", ["", "/etc/*", "../*.md", "a/../../b", "[z-a].md", "x\0"])
def test_a_glob_that_leaves_the_folder_or_is_none_is_refused(glob: str) -> None:
    with pytest.raises(ConfigError, match="the glob"):
        compile_glob(glob)


def test_a_star_does_not_take_time_without_end() -> None:
    assert not compile_glob("*" * 200 + "b")("a" * 5000)


def test_files_of_other_kinds_are_counted(tmp_path: Path) -> None:
    lay(tmp_path, {"a.MD": "text", "b.png": b"\x89PNG", "c.docx": b"PK", "d.png": b"x"})
    files = find_files(tmp_path, "**/*", "docs")
    assert [file.name for file in files.files] == ["a.MD"]
    assert files.passed_over == {".png": 2, ".docx": 1}


def test_nothing_to_read_says_what_there_is(tmp_path: Path) -> None:
    assert "holds no files" in refusal(tmp_path)
    lay(tmp_path, {"a.txt": "text", "b.txt": "text", "c": "text"})
    assert "2 .txt, 1 without a suffix" in refusal(tmp_path, "**/*.md")
    lay(tmp_path / "other", {"a.docx": b"PK"})
    assert "1 .docx" in refusal(tmp_path / "other")
    assert "does not exist" in refusal(tmp_path / "nowhere")
    assert "is a file" in refusal(tmp_path / "a.txt")


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    lay(tmp_path, {"a.md": "text"})
    with (tmp_path / "big.txt").open("wb") as file:
        # A hole: nothing of it is on disk, and to read it would take its whole size in memory.
        file.truncate(200 * 1024 * 1024)
    assert MAX_BYTES < 200 * 1024 * 1024
    assert "docs/big.txt` has 200 MiB, and a document may have 64: split it" in refusal(tmp_path)


@pytest.mark.parametrize(
    "names", [("Fees.md", "fees.md"), ("fees.md", "fees.html"), ("caf\u00e9.md", "cafe\u0301.md")]
)
def test_two_documents_of_one_name_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    lay(tmp_path, dict.fromkeys(names, "text"))
    if len(os.listdir(tmp_path)) == 1:
        pytest.skip("the file system takes the two names for one")
    assert "has the name of" in refusal(tmp_path)


def test_one_stem_in_two_folders_is_two_documents(tmp_path: Path) -> None:
    lay(tmp_path, {"a/fees.md": "text", "b/fees.md": "text"})
    assert listed(tmp_path) == ["a/fees.md", "b/fees.md"]


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    docs = lay(tmp_path / "docs", {"a.md": "text"})
    outside = lay(tmp_path / "outside", {"b.md": "secret"})
    (docs / "b.md").symlink_to(outside / "b.md")
    assert "docs/b.md` is a link to a file outside" in refusal(docs)
    assert [file.name for file in find_files(docs, "**/*", "docs", [outside]).files] == ["a.md", "b.md"]
    (docs / "b.md").unlink()
    (docs / "more").symlink_to(outside)
    assert "docs/more` is a link to a folder outside" in refusal(docs)


def test_links_within_the_folder_are_read_once_as_folders_and_as_files(tmp_path: Path) -> None:
    docs = lay(tmp_path / "docs", {"real/a.md": "text"})
    (docs / "link").symlink_to(docs / "real")
    (docs / "b.md").symlink_to(docs / "real" / "a.md")
    (docs / "loop").symlink_to(docs)
    assert listed(docs) == ["b.md", "real/a.md"]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, {"a.md": "text"})
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    sentence = refusal(tmp_path)
    assert "docs/gone.md` is a link that leads nowhere" in sentence
    assert sentence.endswith("; 1 more file has a fault")
    (tmp_path / "gone.md").unlink()
    assert "docs/pipe.md` is no regular file" in refusal(tmp_path)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md")).write_text("text")
    except OSError:
        pytest.skip("the file system takes no such name")
    assert "has a name that is not UTF-8" in refusal(tmp_path)


@pytest.mark.parametrize("written", ["../elsewhere", "/etc", "a/../../b", "link", "x\0y"])
def test_a_path_outside_the_project_needs_leave(tmp_path: Path, written: str) -> None:
    project = lay(tmp_path / "project", {"synth.toml": ""})
    (project / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match=r"source `docs`: .*(outside the project|NUL)"):
        inside_project(project, written, (), "source `docs`")


def test_a_path_in_the_project_or_allowed_is_taken(tmp_path: Path) -> None:
    project = lay(tmp_path / "project", {"synth.toml": "", "recipes/a.recipe": "", "docs/a.md": "x"})
    below = project / "recipes"
    assert inside_project(below, "../docs", (), "source") == project / "docs"
    assert inside_project(below, "not/there", (), "source") == below / "not" / "there"
    assert inside_project(project, "../other", [tmp_path / "other"], "source") == tmp_path / "other"
