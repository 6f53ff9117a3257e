"""Commands that are killed at a write, an fsync, a rename or an unlink, and what is left of them.

`tests/kills` makes some sixty such kills and `make kills` more: both go by the scenes below.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import duckdb

from tests.kit.fork_server import BEFORE, ForkServer
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import environment

SHIM = Path(__file__).with_name("shim.c")

RECIPE = """edition 1

recipe kills { seed = 3 }

param talks: count = 24

model writer: model<chat> from openai("writer") { max_tokens = 60 }

source notes: messages from jsonl("notes.jsonl")

conversation talk times talks {
  turn ask: user by writer { prompt = "Ask for something, number {{ nth }}." }
  turn answer: model by writer { prompt = "{{ ask }}" }
  train_on = [answer]
}

mix all {
  made 50% from talk
  read 50% from notes
}

export rows: messages from talk to "out/rows" { split = 60% }
export table: messages from talk to "out/table" { format = parquet }
export mixed: messages from all to "out/mixed"

evaluation quality of rows { emoji(at_most = 100%) }
"""
NOTES = 300
EXPORTS = ("rows", "table", "mixed")

Op = Literal["write", "fsync", "rename", "unlink"]
When = Literal["before", "half", "after"]


@dataclass(frozen=True, slots=True)
class Kill:
    """A process dies before its `number`-th call of a kind, when half of it is done, or after it."""

    op: Op
    number: int
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.op} {self.number}"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: `status` is negative where a signal ended it; `counts` are its calls of
    each kind below its folder, empty where it was killed."""

    status: int
    out: str
    err: str
    counts: Mapping[str, int]

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    @property
    def untold(self) -> bool:
        """Whether it failed with more, or with other, than a sentence."""
        return "Traceback" in self.err or "internal error" in self.err


@dataclass(slots=True)
class Findings:
    """What was wrong, a line each."""

    lost: list[str] = field(default_factory=list)
    paid_twice: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [f"{name}: {line}" for name in self.__slots__ for line in getattr(self, name)]


class Unavailable(Exception):
    """Kills cannot be made here."""


class Door:
    """Runs commands of `synth`, some of which are killed.  Raises Unavailable without a C compiler
    or on a system that is not Linux."""

    def __init__(self, folder: Path) -> None:
        if not sys.platform.startswith("linux"):
            raise Unavailable("what kills a process at a system call is loaded with LD_PRELOAD, on Linux")
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if compiler is None:
            raise Unavailable("there is no C compiler to make what kills a process at a system call")
        self._folder = folder
        shim = folder / "shim.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", shim, SHIM, "-ldl"], check=True
        )
        self._shim = shim
        self._server = ForkServer(environment({"LD_PRELOAD": str(shim)}))

    def close(self) -> None:
        self._server.close()

    def __call__(
        self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, kill: Kill | None = None
    ) -> Done:
        counts = self._folder / "counts"
        counts.unlink(missing_ok=True)
        asked = {
            "shim": str(self._shim),
            "below": str(cwd.resolve()),
            "kill": None if kill is None else (kill.op, kill.number, kill.when),
            "counts": str(counts),
        }
        armed = {BEFORE: "tests.kills.arm", "KILLS": json.dumps(asked)}
        around = environment({**(env or {}), **armed})
        status, out, err = self._server.run(("-m", "synth", *arguments), cwd, around, timeout=300)
        seen = json.loads(counts.read_text()) if counts.exists() else {}
        return Done(status, out.decode(), err.decode(), seen)


@contextmanager
def opened(folder: Path) -> Iterator[Door]:
    door = Door(folder)
    try:
        yield door
    finally:
        door.close()


Key = tuple[str, int, tuple[tuple[str, str], ...]]


class Project:
    """A recipe with a source, two conversations' worth of exports and an evaluation, made to the end
    once; killed commands start from copies of it."""

    def __init__(self, door: Door, server: OpenAIServer, folder: Path) -> None:
        self.door = door
        self.server = server
        self._folder = folder
        self.whole = folder / "whole"
        self._env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k", "COLUMNS": "100"}
        self.bare(self.whole)
        self.counts = {}
        self.counts["run"] = self._must("run", "kills.recipe").counts
        (old := folder / "old").mkdir()
        self.old = self.bare(old / "made")
        few = ("kills.recipe", "--set", "talks=8")
        shutil.copy(self.whole / "synth.duckdb", self.old)
        self._do(self.old, "run", *few)
        self._do(self.old, "materialize", *few)
        self.ran = Path(shutil.copytree(self.whole, folder / "ran"))
        self.counts["materialize"] = self._must("materialize", "kills.recipe").counts
        (sample,) = _query(self.ran / "synth.duckdb", "SELECT min(sample_id) FROM events WHERE step = 'ask'")[
            0
        ]
        self.forgetting = ("forget", "--sample", str(sample), "-o", "new.duckdb")
        self.counts["forget"] = self._do(
            Path(shutil.copytree(self.ran, folder / "forgot")), *self.forgetting
        ).counts
        self.materialized = Path(shutil.copytree(self.whole, folder / "materialized"))
        self.counts["evaluate"] = self._must(*EVALUATE).counts

    def bare(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "kills.recipe").write_text(RECIPE)
        notes = (
            [
                {"role": "user", "content": f"Note {number}?"},
                {"role": "assistant", "content": f"Noted {number}."},
            ]
            for number in range(NOTES)
        )
        lines = "".join(json.dumps({"messages": messages}) + "\n" for messages in notes)
        (folder / "notes.jsonl").write_text(lines)
        return folder

    def do(self, cwd: Path, *arguments: str, kill: Kill | None = None) -> Done:
        return self.door(*arguments, cwd=cwd, env=self._env, kill=kill)

    def _do(self, cwd: Path, *arguments: str) -> Done:
        done = self.do(cwd, *arguments)
        assert done.status == 0, done.err
        return done

    def _must(self, *arguments: str) -> Done:
        return self._do(self.whole, *arguments)

    # The scenes.

    def run(self, kills: Sequence[Kill], findings: Findings, folder: Path) -> int:
        """A run from nothing, killed again and again; how many of the kills it came to."""
        self.bare(folder)
        killed = self._killed_run(kills, findings, folder, ("run", "kills.recipe"))
        done = self.do(folder, "materialize", "kills.recipe")
        self._ended(done, f"run {listed(kills)}", findings)
        for name in ("rows/train.jsonl", "rows/eval.jsonl", "mixed/train.jsonl"):
            there, whole = (root / "out" / name for root in (folder, self.materialized))
            if not there.exists() or there.read_bytes() != whole.read_bytes():
                findings.missing.append(f"run {listed(kills)}: {name} has other rows")
        _look_for_leftovers(f"run {listed(kills)}", folder, self.materialized, findings)
        return killed

    def evaluate(self, kills: Sequence[Kill], findings: Findings, folder: Path) -> int:
        """The same of an evaluation of a student."""
        shutil.copytree(self.materialized, folder)
        killed = self._killed_run(kills, findings, folder, EVALUATE)
        report, whole = folder / "report.json", self.whole / "report.json"
        if not report.exists() or _measured(report) != _measured(whole):
            findings.missing.append(f"evaluate {listed(kills)}: the report is another")
        _look_for_leftovers(f"evaluate {listed(kills)}", folder, self.whole, findings)
        return killed

    def materialize(self, kills: Sequence[Kill], findings: Findings, folder: Path, *, over: bool) -> int:
        """The same of datasets from nothing, or `over` older ones."""
        shutil.copytree(self.ran, folder)
        if over:
            shutil.copytree(self.old / "out", folder / "out")
        killed = 0
        for kill in kills:
            killed += self.do(folder, "materialize", "kills.recipe", kill=kill).killed
            for name in EXPORTS:
                place = folder / "out" / name
                states = [_files(root / "out" / name) for root in (self.materialized, self.old)]
                if not place.exists() and over:
                    findings.missing.append(f"materialize {kill}: {name} is gone")
                elif place.exists() and _files(place) not in states:
                    findings.missing.append(f"materialize {kill}: {name} is no whole dataset")
        self._ended(self.do(folder, "materialize", "kills.recipe"), f"materialize {listed(kills)}", findings)
        for name in EXPORTS:
            if _files(folder / "out" / name) != _files(self.materialized / "out" / name):
                findings.missing.append(f"materialize {listed(kills)}: {name} is not as it is to be")
        _look_for_leftovers(f"materialize {listed(kills)}", folder, self.materialized, findings)
        return killed

    def forget(self, kills: Sequence[Kill], findings: Findings, folder: Path) -> int:
        """The same of a log that is written anew: it is there whole or not at all, and the old one stays."""
        shutil.copytree(self.ran, folder)
        before, new, killed = (folder / "synth.duckdb").read_bytes(), folder / "new.duckdb", 0
        for kill in kills:
            killed += self.do(folder, *self.forgetting, kill=kill).killed
            if new.exists():
                self._ended(self.do(folder, "materialize", *NEW), f"forget {kill}", findings)
                new.unlink()
                new.with_name("new.duckdb.witness").unlink(missing_ok=True)
        self._ended(self.do(folder, *self.forgetting), f"forget {listed(kills)}", findings)
        self._ended(self.do(folder, "materialize", *NEW), f"forget {listed(kills)}", findings)
        if (folder / "synth.duckdb").read_bytes() != before:
            findings.lost.append(f"forget {listed(kills)}: the old log is another one")
        self._look(f"forget {listed(kills)}", folder, {"new.duckdb", "new.duckdb.witness"}, findings)
        return killed

    def _look(self, what: str, folder: Path, more: set[str], findings: Findings) -> None:
        if left := _tree(folder) - _tree(self.materialized) - more:
            findings.leftovers.append(f"{what}: {sorted(left)}")

    def _killed_run(
        self, kills: Sequence[Kill], findings: Findings, folder: Path, command: tuple[str, ...]
    ) -> int:
        log, progress = folder / "synth.duckdb", folder / "progress.json"
        known, killed = committed(log), 0
        for kill in (*kills, None):
            progress.unlink(missing_ok=True)
            before = len(self.server.received)
            done = self.do(folder, *command, kill=kill)
            what = f"{command[0]} {kill or listed(kills)}"
            killed += done.killed
            if kill is None:
                self._ended(done, what, findings)
            acknowledged = json.loads(progress.read_text())["next_seq"] if progress.exists() else 0
            try:
                logged, events = committed(log), count(log)
            except duckdb.Error as error:
                # A log that was killed while it was made holds nothing that was acknowledged.
                logged, events = set(), 0
                if acknowledged or known:
                    findings.lost.append(f"{what}: the log cannot be read: {error}")
            if events < acknowledged or not known <= logged:
                findings.lost.append(f"{what}: {acknowledged} events were acknowledged, {events} are there")
            life = {asked(received.body) for received in self.server.received[before:]}
            if twice := life & known:
                findings.paid_twice.append(f"{what}: {len(twice)} logged calls were made again")
            known = logged
        return killed

    def _ended(self, done: Done, what: str, findings: Findings) -> None:
        if done.untold:
            findings.tracebacks.append(f"again after {what}: {done.err.strip()}")
        elif done.status != 0:
            findings.refused.append(f"again after {what}: {done.err.strip()}")


NEW = ("kills.recipe", "--log", "new.duckdb")
EVALUATE = ("evaluate", "kills.recipe", "--student", "openai:tuned", "-o", "report.json")


def listed(kills: Sequence[Kill]) -> str:
    return ", ".join(map(str, kills))


def _look_for_leftovers(what: str, folder: Path, whole: Path, findings: Findings) -> None:
    there, expected = (_tree(root) for root in (folder, whole))
    if there - expected:
        findings.leftovers.append(f"{what}: {sorted(there - expected)}")


def _measured(report: Path) -> Any:
    return json.loads(report.read_text("utf-8"))["evaluations"]


def asked(body: Mapping[str, Any]) -> Key:
    """What a request asks, in terms that a log has as well."""
    messages = (
        (message["role"].replace("assistant", "model"), message["content"]) for message in body["messages"]
    )
    return body["model"], body["seed"], tuple(messages)


def committed(log: Path) -> set[Key]:
    """What a log has answers to."""
    if not log.exists():
        return set()
    payloads = [
        json.loads(row[0]) for row in _query(log, "SELECT payload FROM events WHERE kind = 'call.completed'")
    ]
    return {asked({"model": payload["identity"]["id"], **payload}) for payload in payloads}


def count(log: Path) -> int:
    return int(_query(log, "SELECT count(*) FROM events")[0][0]) if log.exists() else 0


def _query(log: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(log), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def _tree(folder: Path) -> set[str]:
    # A write-ahead log that the next reader folds in is part of the log.
    return {
        str(Path(root, name).relative_to(folder))
        for root, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if not name.endswith(".wal")
    }
