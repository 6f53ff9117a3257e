"""The grammar, and the cache of its tables."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synth.dsl import Source, parse
from synth.dsl.tables import GRAMMAR, build, tables

TEXT = 'edition 1\nx: text = "{{ a | b }}" {\n  y(1..2)\n}\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and no tables in memory before and after."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tables.cache_clear()
    yield tmp_path / "synth" / "tables"
    tables.cache_clear()


def works() -> None:
    tables.cache_clear()
    syntax, found = parse(Source("t", TEXT))
    assert not found
    assert len(syntax.statements) == 2


def stored(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_the_grammar_has_no_conflict() -> None:
    pytest.importorskip("interegular", reason="strict tables need it")
    build(GRAMMAR.read_text("utf-8"), strict=True)


def test_tables_are_kept_for_this_user_alone(cache: Path) -> None:
    works()
    path = stored(cache)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = path.stat()
    works()
    assert stored(cache).stat().st_mtime_ns == kept.st_mtime_ns
    assert path.stat().st_ino == kept.st_ino


def test_loaded_tables_parse_as_built_ones(cache: Path) -> None:
    built = tables()
    tables.cache_clear()
    loaded = tables()
    assert loaded is not built
    for start, text in (("start", TEXT), ("interpolation", "a.b | c(1)")):
        assert loaded.parse(text, start=start) == built.parse(text, start=start)


@pytest.mark.parametrize("change", ["truncate", "flip", "empty", "replace"])
def test_a_damaged_file_is_built_again(cache: Path, change: str) -> None:
    works()
    path = stored(cache)
    good = path.read_bytes()
    bad = {
        "truncate": good[:-10],
        "flip": good[:5000] + bytes([good[5000] ^ 1]) + good[5001:],
        "empty": b"",
        "replace": b"x" * len(good),
    }[change]
    path.write_bytes(bad)
    os.link(path, cache.parent / "damaged")  # so that its inode is not used again
    works()
    assert len(path.read_bytes()) == len(good)
    built = path.stat().st_ino
    works()
    assert path.stat().st_ino == built


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("exploded",))


def test_what_a_file_holds_is_never_run(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    works()
    stored(cache).write_bytes(pickle.dumps(Bomb()))
    works()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707, 0o755])
def test_a_folder_that_others_may_enter_is_not_used(cache: Path, mode: int) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)
    works()
    assert not list(cache.iterdir())


def test_a_folder_behind_a_link_is_not_used(cache: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    cache.parent.mkdir()
    cache.symlink_to(elsewhere)
    works()
    assert not list(elsewhere.iterdir())


def test_a_file_behind_a_link_is_not_used(cache: Path, tmp_path: Path) -> None:
    works()
    path = stored(cache)
    moved = tmp_path / "moved"
    path.rename(moved)
    path.symlink_to(moved)
    works()
    assert not path.is_symlink()


def test_no_place_for_a_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "synth").write_text("a file")
    works()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "synth"))
    works()


def test_importing_the_package_imports_no_parser() -> None:
    code = "import dsl, sys; sys.exit('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
