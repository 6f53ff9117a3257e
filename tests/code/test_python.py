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
from tests.kit.support import query, synth

pytestmark = pytest.mark.skipif(unfit() is not None, reason=str(unfit()))

_ADD = "def f(a):\n    return a + 1\n"
_TEST = "assert f(1) == 2"
_UNIT = "import unittest\nclass T(unittest.TestCase):\n  def test_f(self):\n    self.assertEqual(f(1), 2)"
# Code, its tests, and what it is refused with; None where it passes.
_CASES: list[tuple[str, str, str | None]] = [
    (_ADD, _TEST, None),
    (f"Here:\n\n```python\n{_ADD}```\n", _TEST, None),
    (_ADD, _UNIT + "\nif __name__ == '__main__':\n  unittest.main()", None),
    (_ADD, "from solution import f\ndef test_f():\n  assert f(1) == 2", None),
    (_ADD, "class TestF:\n  def test_f(self):\n    assert f(1) == 2", None),
    (
        "from collections import namedtuple\nimport dataclasses, enum, traceback\nP = namedtuple('P', 'a')\n"
        "@dataclasses.dataclass\nclass D:\n  a: int\ndef f(a):\n  try: 1 / 0\n"
        "  except Exception: traceback.format_exc()\n"
        "  return P(D(2)).a.a",
        _TEST,
        None,
    ),
    (
        "import asyncio, threading, sqlite3, zoneinfo\n"
        "async def g(): return 2\ndef f(a): return asyncio.run(g())",
        _TEST,
        None,
    ),
    (
        "import tempfile, pathlib\ndef f(a):\n  with tempfile.TemporaryDirectory() as d:\n"
        "    pathlib.Path(d, 'x').write_text('2')\n    return int(pathlib.Path(d, 'x').read_text())",
        _TEST,
        None,
    ),
    (
        "def f(a): return a",
        f"f(0)\n{_TEST}",
        "fails its tests: AssertionError at line 2 of the tests: assert f(1) == 2",
    ),
    (
        "def f(a): return a",
        _UNIT,
        "fails its tests: AssertionError: 1 != 2 at line 4 of the tests: self.assertEqual(f(1), 2)",
    ),
    (
        "def f(a): return a",
        "def test_f():\n  assert f(1) == 2",
        "fails its tests: AssertionError at line 2 of the tests: assert f(1) == 2",
    ),
    ("x = 1\nraise ValueError('no')", _TEST, "raises ValueError: no at line 2"),
    ("def f(:", _TEST, "is no Python: SyntaxError: invalid syntax (<answer>, line 1)"),
    (
        _ADD,
        "def check(f):\n  assert f(1) == 2",
        "was not run: its tests check nothing, since they only define",
    ),
    (
        _ADD,
        "assert f(",
        "was not run: its tests are no Python: SyntaxError: '(' was never closed (<tests>, line 1)",
    ),
    ("import numpy", _TEST, "raises ModuleNotFoundError: No module named 'numpy' at line 1"),
    # It begins processes.
    ("import os\nos.fork()", _TEST, "begins a process"),
    ("import os\ntry: os.fork()\nexcept Exception: pass\n" + _ADD, _TEST, "begins a process"),
    ("import subprocess\nsubprocess.run(['true'])", _TEST, "begins a process"),
    # It dials out.
    ("import socket\nsocket.create_connection(('127.0.0.1', 1))", _TEST, "uses the network"),
    ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1')", _TEST, "uses the network"),
    # It reaches for files.
    ("open('/tmp/made-by-an-answer', 'w')", _TEST, "writes outside its folder, to `/tmp/made-by-an-answer`"),
    (
        "open('/etc/passwd')",
        _TEST,
        "raises PermissionError: [Errno 13] Permission denied: '/etc/passwd' at line 1",
    ),
    (
        "import os\nos.listdir('/')",
        _TEST,
        "raises PermissionError: [Errno 13] Permission denied: '/' at line 2",
    ),
    ("import os\nos.chmod('/tmp', 0o777)", _TEST, "changes what a file says of itself"),
    (
        "n = 0\nwhile True:\n  open(str(n), 'w').write('x' * 1_000_000)\n  n += 1",
        _TEST,
        "writes more than its folder may hold",
    ),
    # It takes too much.
    ("x = 'a' * (1 << 33)", _TEST, "takes more memory than it is given"),
    (
        "def f(a): return f(a)",
        _TEST,
        "fails its tests: RecursionError: maximum recursion depth exceeded at line 1 of the "
        "tests: assert f(1) == 2",
    ),
    ("while True: print('x' * 1000)", _TEST, "prints or writes more than 1 MiB"),
    (
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
        _TEST,
        "raises RuntimeError: can't start new thread at line 2",
    ),
    # It ends early, or looks as if it had ended well.
    ("import sys\nsys.exit(0)", _TEST, "exits before its tests end"),
    ("def f(a): raise SystemExit", _TEST, "exits before its tests end"),
    ("import os\ndef f(a): os._exit(0)", _TEST, "ends its process with status 0 before its tests end"),
    (
        "import os\nfor n in range(64):\n  try: os.write(n, b'+' * 64)\n  except OSError: pass\nos._exit(0)",
        _TEST,
        "ends its process with status 0 before its tests end",
    ),
    # It changes what tests it, or looks into it.
    (
        "import builtins\nbuiltins.abs = lambda a: 2\ndef f(a): return 1",
        "assert abs(f(1)) == 2",
        "changes `builtins.abs`, which its tests go by",
    ),
    (
        "import unittest\nunittest.TestCase.assertEqual = lambda *_: None\ndef f(a): return 0",
        _UNIT,
        "changes `unittest.TestCase.assertEqual`, which its tests go by",
    ),
    ("import sys\ndef f(a): return sys._getframe(2).f_locals", _TEST, "looks into what tests it"),
    ("import gc\ndef f(a): return gc.get_objects()", _TEST, "looks into what tests it"),
    ("import __main__\n__main__._changed = lambda *_: None\n" + _ADD, _TEST, None),
    ("import ctypes\nctypes.CDLL(None)", _TEST, "reaches below Python"),
    ("import os\nos.kill(os.getppid(), 9)", _TEST, "sends a signal"),
]
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
    project(tmp_path, [(code, tests) for code, tests, _ in _CASES])
    done = synth("run", "r.recipe", "--allow-code", cwd=tmp_path)
    assert done.status in (0, 3), done.err
    assert reasons(tmp_path) == sorted(said for _, _, said in _CASES if said is not None)
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
    project(tmp_path, [(code, _TEST) for code in hanging], "tests = task.tests, seconds = 0.4")
    synth("run", "r.recipe", "--allow-code", cwd=tmp_path)
    assert reasons(tmp_path) == ["took longer than 0.4 s"] * 3


def test_tests_of_a_file_are_part_of_what_is_asked(tmp_path: Path) -> None:
    project(tmp_path, [(_ADD, "")], 'tests = "add.py"')
    (tmp_path / "add.py").write_text("assert f(1) == 3\n")
    synth("run", "r.recipe", "--allow-code", cwd=tmp_path)
    assert reasons(tmp_path) == ["fails its tests: AssertionError at line 1 of the tests: assert f(1) == 3"]
    (tmp_path / "add.py").write_text("assert f(1) == 2\n")
    done = synth("run", "r.recipe", "--allow-code", "--retry-lost", cwd=tmp_path)
    assert done.status == 0, done.err


def test_code_runs_only_where_that_is_allowed(tmp_path: Path) -> None:
    project(tmp_path, [(_ADD, _TEST)])
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
