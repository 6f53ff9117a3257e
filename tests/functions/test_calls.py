"""Python functions in runs: what they give, what each fault costs, and what runs no code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.support import Result, query, rows, synth

_LIB = """
import os, signal, sys, time
from pathlib import Path


def _ran(name: str) -> None:
    with open(Path(__file__).parent / "ran", "a") as file:
        file.write(name + "\\n")


def give(kind: str) -> str:
    _ran(kind)
    if kind == "prints":
        print("x" * 100_000, flush=True)
        os.write(2, b"y")
        assert not sys.stdin.read()
    if kind == "forks":
        os.fork() or time.sleep(60)
    if kind == "looks":
        found = {*os.environ} & {"OPENAI_API_KEY", "SYNTH_SECRET"}
        return f"{found or 'no'} key, {len(os.listdir())} files"
    faults = {
        "raises": lambda: 1 / 0,
        "exits": lambda: sys.exit(3),
        "ends": lambda: os._exit(3),
        "kills": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "hangs": lambda: time.sleep(60),
        "nests": lambda: _nested(),
        "recurses": lambda: faults["recurses"](),
        "nan": lambda: float("nan"),
        "half": lambda: "\\ud800",
        "much": lambda: "z" * (1 << 21),
        "wrong": lambda: 3,
        "object": lambda: object(),
    }
    return faults.get(kind, lambda: f"fine, {kind}")()


def _nested():
    found = []
    found.append(found)
    return found


def judge(text: str, kind: str) -> str | None:
    _ran(f"judge {kind}")
    return f"is no {kind}" if kind == "poor" else None
"""
_FAULTS = {
    "raises": "raised ZeroDivisionError: division by zero",
    "exits": "raised SystemExit: 3",
    "ends": "ended its process with status 3",
    "kills": "ended its process",
    "hangs": "took longer than 0.4 s",
    "nests": "gives what holds itself, or nests too deeply",
    "recurses": "raised RecursionError: maximum recursion depth exceeded",
    "nan": "gives nan, which is no number",
    "half": "gives text with half a character in it, which is no text",
    "much": "gives 2,097,154 bytes of JSON, and 1 MiB is the most",
    "wrong": "gives 3, and its type says text",
    "object": "gives a value of the type object, which JSON does not have",
}
_FINE = ("prints", "forks", "looks", "plain")


def project(folder: Path, kinds: tuple[str, ...], *, check: bool = False) -> Path:
    (folder / "lib").mkdir(exist_ok=True)
    (folder / "lib/lib.py").write_text(_LIB)
    (folder / "synth.toml").write_text("[functions]\nseconds = 0.4\nworkers = 2\n")
    listed = ", ".join(f'"{kind}"' for kind in kinds)
    asked = ", check { lib.judge(kind) }, retry = 1" if check else ""
    (folder / "r.recipe").write_text(f"""edition 1

recipe r {{ seed = 1, losses = 0% }}

use lib from "lib/lib.py"

model m: model<chat> from simulated()

conversation c times {len(kinds)} {{
  draw kind from [{listed}]
  let made = lib.give(kind)
  turn ask: user = "{{{{ made }}}}"
  turn answer: model by m {{ sees = transcript{asked} }}
}}

export train: messages from c to "out/train"
""")
    return folder / "r.recipe"


def run(folder: Path, *options: str, status: int = 0, log: str = "l.duckdb") -> Result:
    done = synth("run", "r.recipe", "--log", log, *options, cwd=folder)
    assert done.status == status, done.err
    return done


def events(folder: Path, kind: str, log: str = "l.duckdb") -> list[dict[str, Any]]:
    found = query(folder / log, "SELECT payload FROM events WHERE kind = ? ORDER BY seq", [kind])
    return [json.loads(payload) for (payload,) in found]


def ran(folder: Path) -> list[str]:
    path = folder / "lib/ran"
    return sorted(path.read_text().split("\n")[:-1]) if path.exists() else []


def _below(folder: Path) -> Iterator[str]:
    """Processes whose own folder lies below one."""
    for process in Path("/proc").glob("[0-9]*/cwd"):
        try:
            where = process.readlink()
        except OSError:
            continue
        if where.is_relative_to(folder):
            yield str(process)


def test_each_fault_costs_its_sample_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("SYNTH_SECRET", "s")
    monkeypatch.setenv("OPENAI_API_KEY", "s")
    project(tmp_path, (*_FAULTS, *_FINE))
    run(tmp_path, status=3)
    lost = {str(each["cell"]["kind"]): each["reason"] for each in events(tmp_path, "sample.abandoned")}
    assert lost == {kind: f"lib.give: {said}" for kind, said in _FAULTS.items()}
    made = {each["cell"]["kind"]: each["values"]["made"] for each in events(tmp_path, "sample.completed")}
    expected = {kind: f"fine, {kind}" for kind in _FINE} | {"looks": "no key, 0 files"}
    assert made == expected
    assert ran(tmp_path) == sorted([*_FAULTS, *_FINE])
    assert list(_below(tmp_path / "tmp")) == []
    assert [each.name for each in (tmp_path / "tmp").iterdir() if "functions" in each.name] == []
    assert not (tmp_path / "lib/__pycache__").exists()


def test_a_function_runs_once_and_nothing_else_runs_it(tmp_path: Path) -> None:
    project(tmp_path, ("a", "b", "poor"), check=True)
    recipe = (tmp_path / "r.recipe").read_text().replace("times 3", "times 6")
    (tmp_path / "r.recipe").write_text(recipe)
    run(tmp_path, status=3)
    first = ran(tmp_path)
    # Two samples of each kind: the same arguments are the same call.
    assert [each for each in first if "judge" not in each] == ["a", "b", "poor"]
    refused = events(tmp_path, "step.rejected")
    assert {(each["check"], each["reason"]) for each in refused} == {("lib.judge", "is no poor")}
    again = run(tmp_path, status=3)
    assert "0 answers" not in again.err
    assert ran(tmp_path) == first
    told = synth("status", "--log", "l.duckdb", "--json", cwd=tmp_path).json()["runs"]
    assert [each["functions"] for each in told] == [len(first), 0]
    assert "functions" in synth("status", "--log", "l.duckdb", cwd=tmp_path).out
    replayed = synth("replay", "r.recipe", "--log", "l.duckdb", cwd=tmp_path)
    assert (replayed.status, replayed.err) == (0, "")
    assert ran(tmp_path) == first
    assert synth("materialize", "r.recipe", "--log", "l.duckdb", "--partial", cwd=tmp_path).status == 0
    assert len(rows(tmp_path / "out/train/train.jsonl")) == 4
    lib = tmp_path / "lib/lib.py"
    lib.unlink()
    assert synth("verify", "out/train", "--log", "l.duckdb", cwd=tmp_path).status == 0
    before = (tmp_path / "out/train/train.jsonl").read_bytes()
    replayed = synth("replay", "r.recipe", "--log", "l.duckdb", cwd=tmp_path)
    assert (replayed.status, replayed.out.split(" ")[1:4]) == (0, ["samples", "came", "out"])
    assert "lib/lib.py cannot be read: the plan is the one that l.duckdb registered last" in replayed.err
    written = synth("materialize", "r.recipe", "--log", "l.duckdb", "--partial", "--out", "o", cwd=tmp_path)
    assert written.status == 0, written.err
    assert (tmp_path / "o/out/train/train.jsonl").read_bytes() == before
    # A comment is nothing new; a line is, and what depends on it is made again.
    lib.write_text(_LIB + "# more\n")
    run(tmp_path, status=3)
    assert ran(tmp_path) == first
    lib.write_text(_LIB.replace("is no {kind}", "is a {kind}"))
    run(tmp_path, status=3)
    assert len(ran(tmp_path)) == 2 * len(first)
    assert events(tmp_path, "step.rejected")[-1]["reason"] == "is a poor"


def test_a_simulation_runs_no_function_and_is_no_run(tmp_path: Path) -> None:
    project(tmp_path, ("raises", "plain"), check=True)
    run(tmp_path, "--simulate")
    assert ran(tmp_path) == []
    assert {each["simulated"] for each in events(tmp_path, "function.done")} == {True}
    assert synth("replay", "r.recipe", "--log", "l.duckdb", cwd=tmp_path).status == 0
    run(tmp_path, status=3)
    assert ran(tmp_path) == ["judge plain", "plain", "raises"]
    assert synth("replay", "r.recipe", "--log", "l.duckdb", cwd=tmp_path).status == 0


def test_a_path_is_a_file_of_the_project_and_its_content_counts(tmp_path: Path) -> None:
    project(tmp_path, ("data/a.txt", "data/none.txt", "../outside.txt"))
    (tmp_path.parent / "outside.txt").write_text("secret")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("one")
    (tmp_path / "lib/lib.py").write_text(
        "from pathlib import Path\n\n\ndef give(kind: Path) -> str:\n    return kind.read_text()\n"
    )
    run(tmp_path, status=3)
    lost = sorted(str(each["reason"]) for each in events(tmp_path, "sample.abandoned"))
    assert lost == [
        "lib.give: was not called: `../outside.txt` lies outside the project",
        "lib.give: was not called: there is no file `data/none.txt`",
    ]
    (sample,) = events(tmp_path, "sample.completed")
    assert sample["values"]["made"] == "one"
    (tmp_path / "data/a.txt").write_text("two")
    run(tmp_path, status=3, log="l.duckdb")
    # What stands in the log stands; another log has what the file holds now.
    assert len(events(tmp_path, "sample.completed")) == 1
    run(tmp_path, status=3, log="m.duckdb")
    assert events(tmp_path, "sample.completed", "m.duckdb")[0]["values"]["made"] == "two"


def test_a_file_that_cannot_be_imported_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    project(tmp_path, ("a",))
    (tmp_path / "lib/lib.py").write_text("import nowhere_at_all\n" + _LIB)
    done = run(tmp_path, status=1)
    assert "`lib/lib.py` cannot be used: ModuleNotFoundError: No module named 'nowhere_at_all'" in done.err
