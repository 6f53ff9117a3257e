"""Ctrl-C, SIGTERM, and standard streams that are closed, full or not read: what was asked for is done
or cleanly given up, in one sentence, with an honest exit status."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synth.store.log.log import Log
from tests.kit.support import QUICKSTART, ROOT, command, environment

INTERRUPTED = "synth: interrupted by Ctrl-C; give the same command again\n"
# Each command with something that takes long, given by a hook: its first reading of a recipe or a log.
SLOW = """
import sys, time
from pathlib import Path

def slow(*_, **__):
    Path("begun").touch()
    time.sleep(60)

import {module} as module
module.{name} = slow
from synth.cli import main
main()
"""
COMMANDS = {
    "check": (["check", "quickstart.recipe"], "synth.compiler.compile", "diagnose"),
    "compile": (["compile", "quickstart.recipe"], "synth.runtime.run.preview", "estimate"),
    "fmt": (["fmt", "quickstart.recipe"], "synth.dsl.format", "format_source"),
    "run": (["run", "quickstart.recipe", "--simulate"], "synth.store.log.log", "Log.__enter__"),
    "materialize": (["materialize", "quickstart.recipe"], "synth.store.dataset.materialize", "materialize"),
    "evaluate": (["evaluate", "measured.recipe"], "synth.runtime.evaluation.evaluate", "evaluate"),
    "replay": (["replay", "quickstart.recipe"], "synth.runtime.run.replay", "replay"),
    "verify": (["verify", "out/quickstart"], "synth.store.dataset.verify", "read_manifest"),
    "status": (["status"], "synth.store.log.log", "Log.__enter__"),
    "show": (["show", "4c5c"], "synth.store.log.log", "Log.__enter__"),
    "sql": (["sql", "SELECT 1"], "synth.store.log.log", "Log.__enter__"),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests/golden/quickstart.duckdb", tmp_path / "synth.duckdb")
    recipe = QUICKSTART.read_text("utf-8")
    (tmp_path / "quickstart.recipe").write_text(recipe)
    (tmp_path / "measured.recipe").write_text(
        recipe + "evaluation quality of train { emoji(at_most = 0%) }\n"
    )
    return tmp_path


def interrupted(folder: Path, script: str, *arguments: str) -> subprocess.Popen[str]:
    """A script that was sent Ctrl-C once it had made the file `begun`."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (folder / "begun").exists():
        time.sleep(0.01)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    return process


@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_ends_every_command_in_one_sentence(project: Path, name: str) -> None:
    arguments, module, slow = COMMANDS[name]
    script = SLOW.format(module=module, name=slow)
    process = interrupted(project, script, *arguments)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    said = [line for line in err.splitlines(keepends=True) if not line.startswith("warning: ")]
    assert said == [INTERRUPTED]


def test_a_question_that_takes_long_is_interrupted_by_either_signal(project: Path) -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range * b.range = 7"
    for number, told in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
        process = subprocess.Popen(
            command("sql", endless), cwd=project, env=environment(), stderr=subprocess.PIPE, text=True
        )
        wait_for_import(process, "duckdb")
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (130, INTERRUPTED.replace("Ctrl-C", told))


def wait_for_import(process: subprocess.Popen[str], library: str) -> None:
    """Until a process has a library in its memory."""
    maps = Path(f"/proc/{process.pid}/maps")
    if not maps.exists():
        pytest.skip("the system does not say what a process has loaded")
    while library not in maps.read_text():
        time.sleep(0.01)
        assert process.poll() is None


def test_a_signal_during_imports_is_a_sentence_as_well(project: Path) -> None:
    """A module that a command imports takes long."""
    script = (
        "import sys, time, types, pathlib\n"
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click':\n"
        "            pathlib.Path('begun').touch()\n"
        "            time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "sys.argv = ['synth', 'status']\n"
        "from synth.cli import main\n"
        "main()\n"
    )
    process = interrupted(project, script)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, INTERRUPTED)


def test_a_second_signal_ends_what_does_not_heed_the_first(project: Path) -> None:
    script = (
        "import time, pathlib\n"
        "import synth.store.log.log\n"
        "def deaf(*_, **__):\n"
        "    try:\n"
        "        pathlib.Path('begun').touch()\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        pathlib.Path('first').touch()\n"
        "        time.sleep(60)\n"
        "synth.store.log.log.Log.__enter__ = deaf\n"
        "import sys\n"
        "sys.argv = ['synth', 'status']\n"
        "from synth.cli import main\n"
        "main()\n"
    )
    process = interrupted(project, script)
    while not (project / "first").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, INTERRUPTED)


def test_a_signal_that_a_finalizer_swallows_comes_again_while_the_command_waits(project: Path) -> None:
    script = (
        "import signal, time\n"
        "import synth.store.log.log\n"
        "class Late:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "def slow(*_, **__):\n"
        "    Late()\n"
        "    time.sleep(60)\n"
        "synth.store.log.log.Log.__enter__ = slow\n"
        "import sys\n"
        "sys.argv = ['synth', 'status']\n"
        "from synth.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (130, INTERRUPTED)


# Streams ---------------------------------------------------------------------------------------


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    synth = " ".join(command())
    return subprocess.run(
        ["bash", "-c", line.replace("synth ", f"{synth} ")],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


FULL = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="the system has no device that is always full"
)


@pytest.mark.parametrize(
    ("redirected", "status"),
    [
        (">&- 2>&- <&-", 0),
        ("| head -c 0; exit ${PIPESTATUS[0]}", 0),
        pytest.param("2>/dev/full", 0, marks=FULL),
        pytest.param(">/dev/full", 1, marks=FULL),
    ],
)
def test_a_run_goes_on_whatever_becomes_of_its_streams(tmp_path: Path, redirected: str, status: int) -> None:
    shutil.copy(QUICKSTART, tmp_path / "q.recipe")
    done = shell(f"synth run q.recipe --simulate --set conversations=6 {redirected}", tmp_path)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    if status:
        assert "synth: standard output takes nothing (No space left on device)" in done.stderr
    # A log that was opened in a closed stream's place would have been written into.
    with Log(tmp_path / "synth.duckdb") as log:
        kinds = "SELECT kind, count(*) FROM events GROUP BY kind"
        found = dict(log.cursor().execute(kinds).fetchall())
    assert (found["sample.completed"], found["run.stopped"]) == (6, 1)


@pytest.mark.parametrize("asked", ["status --json", "explain turns"])
def test_questions_are_honest_about_what_they_could_not_print(project: Path, asked: str) -> None:
    done = shell(f"synth {asked} | head -c 1; exit ${{PIPESTATUS[0]}}", project)
    assert (done.returncode, done.stderr) == (0, "")
    if Path("/dev/full").exists():
        done = shell(f"synth {asked} >/dev/full", project)
        assert done.returncode == 1
        assert done.stderr.startswith("synth: standard output takes nothing (No space left on device)")
        assert done.stderr.count("\n") == 1
