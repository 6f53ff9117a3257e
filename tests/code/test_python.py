"""`python_runs`: code runs with its tests where it reaches nothing, only where that is allowed, and once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import synth as library
from synth.runtime.functions.running import confinement
from synth.runtime.functions.running.sandbox import unfit
from tests.code.python_cases import ADD, CASES, TEST
from tests.kit.support import query, synth

pytestmark = pytest.mark.skipif(unfit() is not None, reason=str(unfit()))

_RECIPE = """edition 1

recipe r { seed = 1, losses = 100% }

schema Task { name: text, code: text, tests: text }

source tasks: Task from jsonl("tasks.jsonl", id = "name")

conversation c over task in tasks {
  turn question: user = "{{ task.name }}"
  turn answer: model = "{{ task.code }}" { check { python_runs(TESTS) } }
}

export train: messages from c to "out/train"
"""
_REASON = "coalesce(payload->>'result', payload->>'fault')"


def project(
    folder: Path, cases: list[tuple[str, str]], given: str = "tests = task.tests, seconds = 60"
) -> None:
    rows = [{"name": f"{n:02}", "code": code, "tests": tests} for n, (code, tests) in enumerate(cases)]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "r.recipe").write_text(_RECIPE.replace("TESTS", given))
    (folder / "synth.toml").write_text("")


def reasons(folder: Path) -> list[str]:
    found = query(
        folder / "synth.duckdb", f"SELECT {_REASON} FROM events WHERE kind = 'function.done' ORDER BY 1"
    )
    return [str(reason) for (reason,) in found if reason is not None]


def test_code_passes_its_tests_or_is_refused_with_its_reason(tmp_path: Path) -> None:
    project(tmp_path, [(code, tests) for code, tests, _ in CASES])
    done = synth("run", "r.recipe", "--allow-code", cwd=tmp_path)
    assert done.status in (0, 3), done.err
    assert reasons(tmp_path) == sorted(said for _, _, said in CASES if said is not None)
    assert not Path("/tmp/made-by-an-answer").exists()
    ((versions, allowed),) = query(
        tmp_path / "synth.duckdb",
        "SELECT payload->'versions', payload->'options'->>'allow_code' FROM events "
        "WHERE kind = 'run.started'",
    )
    assert json.loads(versions)["confinement"].startswith("seccomp, landlock ")
    assert allowed == "true"

    # What is in the log runs nothing and needs no leave; a run that goes on runs nothing twice.
    for command in (
        ["materialize", "r.recipe"],
        ["replay", "r.recipe"],
        ["verify", "out/train", "--log", "synth.duckdb"],
    ):
        done = synth(*command, cwd=tmp_path)
        assert done.status == 0, done.err
    count = "SELECT count(*) FROM events WHERE kind = 'function.done'"
    before = query(tmp_path / "synth.duckdb", count)
    synth("run", "r.recipe", "--allow-code", cwd=tmp_path)
    assert query(tmp_path / "synth.duckdb", count) == before


def test_what_hangs_is_ended(tmp_path: Path) -> None:
    hanging = [
        "while True: pass",
        "import time\ntime.sleep(99)",
        "import os\nos.write(3, b'x' * 100)\nwhile True: pass",
    ]
    project(tmp_path, [(code, TEST) for code in hanging], "tests = task.tests, seconds = 0.4")
    synth("run", "r.recipe", "--allow-code", cwd=tmp_path)
    assert reasons(tmp_path) == ["took longer than 0.4 s"] * 3


def test_tests_of_a_file_are_part_of_what_is_asked(tmp_path: Path) -> None:
    project(tmp_path, [(ADD, "")], 'tests = "add.py"')
    (tmp_path / "add.py").write_text("assert f(1) == 3\n")
    synth("run", "r.recipe", "--allow-code", cwd=tmp_path)
    assert reasons(tmp_path) == ["fails its tests: AssertionError at line 1 of the tests: assert f(1) == 3"]
    (tmp_path / "add.py").write_text("assert f(1) == 2\n")
    done = synth("run", "r.recipe", "--allow-code", "--retry-lost", cwd=tmp_path)
    assert done.status == 0, done.err


def test_code_runs_only_where_that_is_allowed(tmp_path: Path) -> None:
    project(tmp_path, [(ADD, TEST)])
    done = synth("run", "r.recipe", cwd=tmp_path)
    assert done.status == 1
    assert "`python_runs` runs code that models wrote: allow it with `--allow-code`" in done.err
    assert not (tmp_path / "synth.duckdb").exists()
    plan = library.compile(tmp_path / "r.recipe")
    with pytest.raises(library.SynthError, match="allow_code=True"):
        library.run(plan, log=tmp_path / "l.duckdb")
    report = library.run(plan, log=tmp_path / "l.duckdb", allow_code=True)
    assert report.outcome == "finished"
    done = synth("run", "r.recipe", "--simulate", "--log", "simulated.duckdb", cwd=tmp_path)
    assert done.status == 0, done.err


_BARE = """
import importlib.util, json, os, socket, sys
spec = importlib.util.spec_from_file_location("confinement", sys.argv[1])
confinement = importlib.util.module_from_spec(spec)
spec.loader.exec_module(confinement)
reply = os.dup(1)
why = confinement.confine({"folder": sys.argv[2], "memory": 512, "seconds": 9}, reply)

def tried(work):
    try:
        return str(work())
    except BaseException as fault:
        return type(fault).__name__

left, right = socket.socketpair()
found = [
    tried(os.fork), tried(lambda: socket.socket()), tried(lambda: socket.socket(socket.AF_UNIX)),
    tried(lambda: os.kill(1, 0)), tried(lambda: os.kill(os.getpid(), 0)),
    tried(lambda: os.chmod(sys.argv[2], 0o700)),
    tried(lambda: os.execv("/bin/true", ["true"])), tried(lambda: os.listdir("/")),
    tried(lambda: open("/etc/hostname")),
    tried(lambda: open(sys.argv[2] + "/../beside", "w")), tried(lambda: open("inside", "w").write("x")),
    tried(lambda: os.truncate(sys.argv[3], 0)), tried(lambda: os.rename("inside", sys.argv[2] + "/../moved")),
    tried(lambda: os.symlink("/etc", "etc") or os.listdir("etc")), tried(lambda: left.send(b"x")),
    tried(lambda: __import__("resource").setrlimit(7, (9, 9))), tried(lambda: os.setuid(1)),
    tried(lambda: os.utime(sys.argv[3])), tried(lambda: os.unlink(sys.argv[3])),
]
os.write(reply, json.dumps([why, *found]).encode())
"""


def test_the_system_itself_refuses_what_is_refused(tmp_path: Path) -> None:
    """Without what notices it in Python."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "kept").write_text("kept")
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _BARE,
            confinement.__file__,
            tmp_path / "folder",
            tmp_path / "kept",
        ],
        capture_output=True,
        check=True,
    )
    denied = "PermissionError"
    assert json.loads(done.stdout) == [
        None,
        *(denied, denied, denied),
        *(denied, "None", denied),
        *(denied, denied, denied),
        *(denied, "1"),
        *(denied, denied),
        *(denied, "1"),
        *("ValueError", denied),
        *(denied, denied),
    ]
    assert (tmp_path / "kept").read_text() == "kept"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "kept"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "`python_runs` needs `tests`"),
        ("tests = task.tests, seconds = 0", "code runs for more than 0 and at most 600 seconds"),
        ("tests = task.tests, memory = 1", "code has from 64 to 65,536 MiB of memory"),
    ],
)
def test_what_makes_no_sense_is_said_by_the_compiler(tmp_path: Path, given: str, said: str) -> None:
    project(tmp_path, [], given)
    done = synth("check", "r.recipe", cwd=tmp_path)
    assert said in done.err
    assert done.status == 1


def test_json_is_not_run(tmp_path: Path) -> None:
    project(tmp_path, [])
    text = (
        (tmp_path / "r.recipe")
        .read_text()
        .replace(
            "  turn question",
            '  step made: json<Task> by m { prompt = "{{ Task | json_schema }}", '
            'check { python_runs(made, "t.py") } }\n'
            "  turn question",
        )
    )
    (tmp_path / "r.recipe").write_text(
        text.replace("schema Task", "model m: model<chat, json> from simulated()\nschema Task")
    )
    done = synth("check", "r.recipe", cwd=tmp_path)
    assert "`python_runs` checks text, and `made` is a json<Task>" in done.err
