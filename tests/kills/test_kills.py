"""A kill at any write, fsync, rename or unlink loses nothing, pays for nothing twice and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dsl.leftovers import draft, sweep
from tests.kills.harness import Found, Kill, Op, Project, Unavailable, When, opened
from tests.servers.openai import OpenAIServer


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("kills")
    (door_folder := folder / "door").mkdir()
    try:
        with OpenAIServer(latency_s=0.002) as server, opened(door_folder) as door:
            yield Project(door, server, folder / "project")
    except Unavailable as reason:
        pytest.skip(str(reason))


# A kind of call, which of those that the command makes below its folder, and when the process dies.
MATERIALIZE: list[tuple[Op, float, When]] = [
    *(("write", 0.5, "half"), ("fsync", 1.0, "before"), ("rename", 0.4, "before")),
    *(("rename", 0.7, "after"), ("unlink", 1.0, "before")),
]
RUN: list[tuple[Op, float, When]] = [
    # While the log is made: its file is there, and of its tables nothing or half.
    *(("write", 0.17, "before"), ("write", 0.22, "half")),
    ("write", 0.4, "half"),
    ("fsync", 0.6, "after"),
    ("rename", 0.5, "before"),
    ("unlink", 1.0, "after"),
]
EVALUATE: list[tuple[Op, float, When]] = [
    ("write", 0.5, "half"),
    ("fsync", 0.5, "before"),
    ("rename", 1.0, "before"),
]

FORGET: list[tuple[Op, float, When]] = [
    *(("write", 0.6, "half"), ("fsync", 0.9, "before"), ("rename", 1.0, "before"), ("rename", 1.0, "after")),
]


def _kills(project: Project, command: str, at: Sequence[tuple[Op, float, When]]) -> list[Kill]:
    counts = project.counts[command]
    return [Kill(op, max(1, round(share * counts[op])), when) for op, share, when in at]


def test_a_killed_materialize_leaves_the_old_datasets_or_the_new(project: Project, tmp_path: Path) -> None:
    found = Found()
    kills = _kills(project, "materialize", MATERIALIZE)
    assert project.materialize(kills, found, tmp_path / "cut", over=True) == len(kills)
    assert found.lines() == []


def test_a_killed_run_goes_on(project: Project, tmp_path: Path) -> None:
    found = Found()
    assert project.run(_kills(project, "run", RUN), found, tmp_path / "cut") >= len(RUN) - 1
    assert found.lines() == []


def test_a_killed_evaluation_goes_on(project: Project, tmp_path: Path) -> None:
    found = Found()
    assert project.evaluate(_kills(project, "evaluate", EVALUATE), found, tmp_path / "cut") >= 2
    assert found.lines() == []


def test_a_killed_forget_leaves_a_new_log_or_none(project: Project, tmp_path: Path) -> None:
    found = Found()
    kills = _kills(project, "forget", FORGET)
    assert project.forget(kills, found, tmp_path / "cut") == len(kills)
    assert found.lines() == []


def test_what_a_live_neighbour_writes_stays(tmp_path: Path) -> None:
    place = tmp_path / "data[1]*"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as neighbour:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        lives, gone = (
            draft(place).with_name(f".data[1]*.synth-{pid}{more}")
            for pid, more in ((neighbour.pid, ""), (dead.pid, ""))
        )
        several = gone.with_name(f"{gone.name}-x1")
        others = [tmp_path / ".data1.synth-1x", tmp_path / f".data.synth-{dead.pid}", tmp_path / "data[1]*"]
        for folder in (lives, gone):
            folder.mkdir()
            (folder / "train.jsonl").write_text("a row")
        for file in (several, *others):
            file.write_text("mine")
        sweep(place)
        assert lives.exists()
        assert not gone.exists()
        assert not several.exists()
        assert all(other.exists() for other in others)
        neighbour.communicate(b"\n")


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path: Path) -> None:
    from dsl.leftovers import write_whole

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        write_whole(pipe, b"through")
        assert reader.communicate()[0] == b"through"
    plan = tmp_path / "plan.json"
    plan.write_text("old")
    plan.chmod(0o640)
    (link := tmp_path / "link.json").symlink_to(plan)
    write_whole(link, b"new")
    assert plan.read_bytes() == b"new"
    assert plan.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "pipe", "plan.json"]
