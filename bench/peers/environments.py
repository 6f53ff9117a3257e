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
    it can go on after a crash; `home` is another peer whose environment it shares; `note` is what
    its figures do not say of it."""

    title: str
    module: str
    packages: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = False
    home: str | None = None
    note: str = ""


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
        note="caches requests and writes chunks of 100 documents, each when the last of it is done.",
    ),
    "distilabel": Peer(
        "distilabel",
        "bench.peers.distilabel",
        ("distilabel[openai]==1.5.3", "requests"),
        # Otherwise it prints a line for each call.
        env={"BENCH_CACHE": "1", "DISTILABEL_LOG_LEVEL": "WARNING"},
        keeps=True,
        note=(
            "passes batches of 256 from step to step.  It notes a batch as sent when a step takes it, and "
            "only a stop that it can answer takes that back: after a kill -9 its second run waits for the "
            "batches that were under way."
        ),
    ),
    "bespokelabs-curator": Peer(
        "Bespoke Curator",
        "bench.peers.curator",
        ("bespokelabs-curator==0.1.31",),
        keeps=True,
        note=(
            "is one dataset after the other, with a barrier between them, and tries again what was spoiled "
            "once all first tries are through, one in a tenth of a second; it keeps each answer in a file."
        ),
    ),
    "data-designer": Peer(
        "NeMo Data Designer",
        "bench.peers.data_designer",
        ("data-designer==0.9.6",),
        keeps=True,
        note=(
            "fills the cells of a table as what they need is there, without a barrier, and keeps groups of "
            "25 rows, each when the last of it is done; its processor is what bounds it."
        ),
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
    if folder.is_symlink():
        # An environment that lies elsewhere is somebody else's.
        folder.unlink()
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
