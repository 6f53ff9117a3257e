"""The other tools that are measured: their environments, and what their scripts do and do not do."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from bench.lib.harness import measured
from bench.lib.server import Server
from bench.peers import environments
from bench.peers.environments import PEERS, Peer, install, python_of
from bench.peers.numbered import numbered_prompt
from bench.suites.orchestration import Cell, Contender, contenders, run_once
from tests.kit.support import ROOT

# What Python itself asks the system for, of each process that a peer starts.
WATCH = """
import json, os, sys

def look(event, arguments):
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        where = arguments[1][0]
    elif event == "socket.getaddrinfo":
        where = arguments[0]
    else:
        return
    with open(os.environ["BENCH_WATCHED"], "a") as file:
        print(json.dumps(str(where)), file=file)

sys.addaudithook(look)
"""


def is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def peer(name: str) -> Contender:
    """A peer as the benchmark runs it, or a skip where it is not installed."""
    if python_of(name) is None:
        pytest.skip(f"{name} is not installed")
    [contender] = [entry for entry in contenders() if entry.name == PEERS[name].title]
    return contender


def test_peers_are_listed_without_being_installed() -> None:
    usage = measured([sys.executable, "-m", "bench.peers"], cwd=ROOT).require()
    assert {line.split(":")[0] for line in usage.out.splitlines()} == set(PEERS)
    assert measured([sys.executable, "-m", "bench.peers", "install", "nonsense"], cwd=ROOT).status == 2


def test_what_pip_installs_is_pinned() -> None:
    for name, pinned in PEERS.items():
        tool = (pinned.home or name).partition("_")[0]
        assert any(package.startswith(tool) and "==" in package for package in pinned.packages), name


@pytest.mark.slow
def test_an_environment_that_lies_elsewhere_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ready").touch()
    monkeypatch.setattr(environments, "VENVS", tmp_path / "venvs")
    # What every environment has from the start, so that nothing is fetched.
    monkeypatch.setitem(PEERS, "tool", Peer("a tool", "tool", ("pip",)))
    (tmp_path / "venvs").mkdir()
    (tmp_path / "venvs" / "tool").symlink_to(elsewhere)
    assert python_of("tool") is None
    python = install("tool")
    assert python_of("tool") == python
    assert measured(
        [python, "-c", "import sys; print(sys.prefix)"], cwd=tmp_path
    ).require().out.strip() == str(tmp_path / "venvs" / "tool")
    assert [path.name for path in elsewhere.iterdir()] == ["ready"]


def test_an_installation_that_broke_off_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "VENVS", tmp_path)
    python = tmp_path / "datatrove" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert python_of("datatrove") is None
    (tmp_path / "datatrove" / "ready").touch()
    assert python_of("datatrove") == python_of("datatrove_checkpoints") == python


def test_prompts_without_a_seed_are_told_apart() -> None:
    assert len({numbered_prompt(number) for number in range(1000)}) == 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("cell", [Cell("p4", 0.01), Cell("r1", 0.01)], ids=str)
def test_a_peer_does_the_work_and_talks_to_the_server_alone(name: str, cell: Cell, tmp_path: Path) -> None:
    contender, watched, home = peer(name), tmp_path / "watched", tmp_path / "home"
    home.mkdir()
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    env = {
        **contender.env,
        "BENCH_WATCHED": str(watched),
        "HOME": str(home),
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    with Server() as server:
        result = run_once(replace(contender, env=env), cell, 24, server, tmp_path)
        spoiled = server.stats()["spoiled"]
    # One that asks what the service can do does so before the work.
    asked_before = 2 if "curator" in name else 0
    least = 96 if cell.workload == "p4" else 24 + spoiled
    assert least <= result.calls <= least + asked_before
    # A file of rows, or a folder of them.
    written = [*tmp_path.glob("*/out.jsonl"), *tmp_path.glob("*/out/rows/*.jsonl")]
    assert sum(len(path.read_text("utf-8").splitlines()) for path in written) == 24
    hosts = {json.loads(line) for line in watched.read_text("utf-8").splitlines()}
    assert hosts
    assert all(is_here(host) for host in hosts), hosts


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_does_one_sample(name: str, tmp_path: Path) -> None:
    """What its start-up is taken from."""
    with Server() as server:
        calls = run_once(peer(name), Cell("p4", 0.0), 1, server, tmp_path).calls
    assert 4 <= calls <= 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bespokelabs-curator", "data-designer"])
def test_a_finished_job_is_not_done_again(name: str, tmp_path: Path) -> None:
    """What a peer keeps is found by a second run of the same job."""
    contender, cell = peer(name), Cell("p4", 0.0)
    with Server() as server:
        server.reset(latency_s=0.0)
        command = contender.command(cell, 30, server.url, tmp_path)
        measured(command, cwd=tmp_path, env=contender.env, timeout_s=60).require()
        first, rows = server.stats()["asked"], (tmp_path / "out.jsonl").read_bytes()
        measured(command, cwd=tmp_path, env=contender.env, timeout_s=60).require()
        # Curator asks for the service's rate limits each time.
        assert server.stats()["asked"] - first <= 1
    assert (tmp_path / "out.jsonl").read_bytes() == rows
