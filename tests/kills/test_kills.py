"""A kill at any write, fsync, rename or unlink loses nothing, pays for nothing twice and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from random import Random

import pytest

from synth.base.leftovers import draft, sweep
from tests.kills.harness import Findings, Kill, Op, Project, Unavailable, When, opened
from tests.kit.servers.openai import OpenAIServer


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("kills")
    (door_folder := folder / "door").mkdir()
    try:
        with OpenAIServer(latency_s=0.002) as server, opened(door_folder) as door:
            yield Project(door, server, folder / "project")
    except Unavailable as reason:
        pytest.skip(str(reason))


# Where the windows are that once lost something: a kind of call, which of those that the command makes
# below its folder, and when the process dies.
KNOWN: dict[str, list[tuple[Op, float, When]]] = {
    # While the log is made: its file is there, and of its tables nothing or half.
    "run": [("write", 0.17, "before"), ("write", 0.22, "half"), ("unlink", 1.0, "after")],
    "materialize": [("rename", 0.4, "before"), ("rename", 0.7, "after"), ("unlink", 1.0, "before")],
    "evaluate": [("rename", 1.0, "before")],
    "forget": [("fsync", 0.9, "before"), ("rename", 1.0, "before"), ("rename", 1.0, "after")],
}
OPS: tuple[Op, ...] = ("write", "fsync", "write", "rename", "write", "unlink")
MOMENTS: tuple[When, ...] = ("before", "half", "after")


def _kills(project: Project, command: str, seed: int, many: int) -> list[Kill]:
    """The known kills first, then others at random.  What a killed command has done it need not do
    again, so those come early in it."""
    counts, random = project.counts[command], Random(f"{command} {seed}")
    ops = [op for op in OPS if counts[op]]
    early = 1.0 if command == "materialize" else 0.4
    known = KNOWN[command] if seed == 0 else []
    kills = [Kill(op, max(1, round(share * counts[op])), when) for op, share, when in known]
    for op in islice(cycle(ops), many - len(kills)):
        when = random.choice(MOMENTS if op == "write" else ("before", "after"))
        kills.append(Kill(op, random.randint(1, max(1, round(early * counts[op]))), when))
    return kills


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_materialize_leaves_the_old_datasets_or_the_new(
    project: Project, tmp_path: Path, seed: int
) -> None:
    findings = Findings()
    kills = _kills(project, "materialize", seed, 10)
    assert project.materialize(kills, findings, tmp_path / "cut", over=seed == 0) >= 9
    assert findings.lines() == []


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_goes_on(project: Project, tmp_path: Path, seed: int) -> None:
    findings = Findings()
    assert project.run(_kills(project, "run", seed, 7), findings, tmp_path / "cut") >= 5
    assert findings.lines() == []


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_evaluation_goes_on(project: Project, tmp_path: Path, seed: int) -> None:
    findings = Findings()
    assert project.evaluate(_kills(project, "evaluate", seed, 6), findings, tmp_path / "cut") >= 4
    assert findings.lines() == []


def test_a_killed_forget_leaves_a_new_log_or_none(project: Project, tmp_path: Path) -> None:
    findings = Findings()
    assert project.forget(_kills(project, "forget", 0, 8), findings, tmp_path / "cut") >= 6
    assert findings.lines() == []


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
    from synth.base.leftovers import write_whole

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
