"""Where each peer lives, and how it gets there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

VENVS = Path(__file__).parent / ".venvs"


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool of the field: what it is called, its script here, what pip installs.  `keeps` says that
    it can go on after a crash; `home` is another peer whose environment it shares."""

    title: str
    module: str
    packages: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = False
    home: str | None = None


# datatrove's extra for inference wants a GPU's packages, which an endpoint does not need.
_DATATROVE = ("datatrove==0.10.1", "aiofiles", "aiosqlite", "httpx", "orjson", "xxhash")

PEERS = {
    "datatrove": Peer("datatrove", "bench.peers.datatrove", _DATATROVE),
    "datatrove_checkpoints": Peer(
        "datatrove, checkpoints",
        "bench.peers.datatrove",
        _DATATROVE,
        env={"BENCH_CHECKPOINTS": "1"},
        keeps=True,
        home="datatrove",
    ),
    "distilabel": Peer(
        "distilabel",
        "bench.peers.distilabel",
        ("distilabel[openai]==1.5.3", "requests"),
        env={"BENCH_CACHE": "1"},
        keeps=True,
    ),
}


def python_of(name: str) -> Path | None:
    """The interpreter of a peer's environment, or None where it is not installed."""
    folder = VENVS / (PEERS[name].home or name)
    python = folder / "bin" / "python"
    return python if (folder / "ready").exists() and python.exists() else None


def install(name: str) -> Path:
    """Makes a peer's environment; raises CalledProcessError when pip cannot."""
    folder = VENVS / (PEERS[name].home or name)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS[name].packages], check=True)
    # Written last: an environment whose installation broke off does not count.
    (folder / "ready").touch()
    return python


def main() -> int:
    """`install NAME...`; without names, what is there."""
    match sys.argv[1:]:
        case ["install", *names] if names and all(name in PEERS for name in names):
            for name in names:
                print(f"{PEERS[name].title}: {install(name)}")
            return 0
        case []:
            for name in PEERS:
                print(f"{name}: {python_of(name) or 'not installed'}")
            return 0
    print(f"usage: python -m bench.peers install NAME..., of {', '.join(PEERS)}", file=sys.stderr)
    return 2
