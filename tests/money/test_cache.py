"""The user's cache folder: nobody else's files are read, and what is damaged is not there."""

from __future__ import annotations

import os
import pickle
import stat
from pathlib import Path

import pytest

from synth.base.cache import load, store

PLAIN = {"a": (1, None, ["b"]), "c": "d" * 100}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache's files of a kind are; the folder is not made yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "synth" / "kind"


def kept() -> bool:
    """Whether what is stored is there afterwards."""
    store("kind", "name", PLAIN)
    return load("kind", "name") == PLAIN


def test_files_are_this_users_alone(cache: Path) -> None:
    assert load("kind", "name") is None
    assert kept()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()] == [0o600]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("change", ["truncate", "flip", "empty", "replace", "pickle"])
def test_a_damaged_file_is_not_there(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kept()
    good = (cache / "name").read_bytes()
    bad = {
        "truncate": good[:-10],
        "flip": good[:50] + bytes([good[50] ^ 1]) + good[51:],
        "empty": b"",
        "replace": b"x" * len(good),
        "pickle": pickle.dumps(Bomb()),
    }[change]
    (cache / "name").write_bytes(bad)
    assert load("kind", "name") is None
    assert kept()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707, 0o755])
def test_a_folder_that_others_may_enter_is_not_used(cache: Path, mode: int) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)
    assert not kept()
    assert not list(cache.iterdir())


def test_a_folder_behind_a_link_is_not_used(cache: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    cache.parent.mkdir()
    cache.symlink_to(elsewhere)
    assert not kept()
    assert not list(elsewhere.iterdir())


def test_a_file_behind_a_link_is_not_used(cache: Path, tmp_path: Path) -> None:
    assert kept()
    moved = (cache / "name").rename(tmp_path / "moved")
    (cache / "name").symlink_to(moved)
    assert load("kind", "name") is None
    assert kept()
    assert not (cache / "name").is_symlink()


def test_no_place_for_a_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "synth").write_text("a file")
    assert not kept()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "synth"))
    assert not kept()
