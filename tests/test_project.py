"""What holds of the project itself: licences, no telemetry, and nobody who is told of a run."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from synth.base.telemetry import OFF
from tests.kit.servers.openai import OpenAIServer
from tests.kit.support import QUICKSTART, ROOT, environment
from tests.runtime.test_run import served

LICENCES = runpy.run_path(str(ROOT / "scripts/licences.py"))


def test_every_direct_dependency_has_a_licence_that_is_allowed() -> None:
    listed = (ROOT / "THIRD_PARTY.md").read_text("utf-8")
    found = {}
    for names in LICENCES["direct"]().values():
        for name in names:
            package = LICENCES["installed"](name)
            if package is not None:
                found[name] = LICENCES["licence"](package)
            assert f"| {name} | " in listed, "`make licences` lists it"
    assert {name: said for name, said in found.items() if not LICENCES["is_allowed"](said)} == {}
    assert len(found) > 20


def test_a_licence_that_says_more_than_is_allowed_is_not() -> None:
    allowed = LICENCES["is_allowed"]
    assert allowed("Apache-2.0 WITH LLVM-exception AND (MIT OR BSD-3-Clause)")
    assert not allowed("MIT AND GPL-3.0-only")
    assert not allowed("not said")


def test_telemetry_is_off_before_any_library_is_imported() -> None:
    """Whatever the environment says."""
    script = (
        "import sys, synth\n"
        "from synth.models import Simulated\n"
        "import synth.runtime.run.run, os\n"
        "assert not {'huggingface_hub', 'vllm', 'transformers', 'ray'} & set(sys.modules)\n"
        "print(*(f'{name}={os.environ.get(name)}' for name in sys.argv[1:]))\n"
        "from huggingface_hub import constants\n"
        "print(constants.HF_HUB_DISABLE_TELEMETRY)\n"
    )
    asked = dict.fromkeys(OFF, "0") | {"RAY_USAGE_STATS_ENABLED": "1", "HF_XET_TELEMETRY_ENABLED": "1"}
    pytest.importorskip("huggingface_hub")
    done = subprocess.run(
        [sys.executable, "-c", script, *OFF],
        env=environment(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    told, hub = done.stdout.splitlines()
    assert dict(each.split("=") for each in told.split()) == OFF
    assert hub == "True"


RECIPE_END = "\nevaluation quality of train { emoji(at_most = 100%) }\n"


def test_a_run_and_what_is_made_of_it_tell_nobody_else(tmp_path: Path, openai_server: OpenAIServer) -> None:
    """Traced at the system's level: the service that is asked, and this machine's own sockets."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    (tmp_path / "q.recipe").write_text(QUICKSTART.read_text("utf-8") + RECIPE_END)
    synth = f"{sys.executable} -m synth"
    script = (
        f"{synth} run q.recipe --model base=openai:small --set conversations=6 && "
        f"{synth} materialize q.recipe --set conversations=6 && "
        f"{synth} evaluate q.recipe --set conversations=6 && "
        f"{synth} run q.recipe --simulate --set conversations=6 --log s.duckdb"
    )
    # A proxy would be asked by whoever honours one.
    env = environment({**served(openai_server), "HTTPS_PROXY": "", "HTTP_PROXY": ""})
    done = subprocess.run(
        [ROOT / "scripts/trace-connections", "bash", "-c", script],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("the system lets nobody be traced")
    assert done.returncode == 0, done.stderr
    assert f'htons({openai_server.port}), sin_addr=inet_addr("127.0.0.1")' in done.stdout


def test_a_connection_beyond_this_machine_is_found(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    # An address that is nobody's, and by UDP, which sends nothing until it is told to.
    reach = 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))'
    done = subprocess.run(
        [ROOT / "scripts/trace-connections", sys.executable, "-c", reach],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("the system lets nobody be traced")
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr
    alone = subprocess.run([ROOT / "scripts/trace-connections", "sh", "-c", "exit 3"], check=False)
    assert alone.returncode == 3


def test_the_policy_names_what_is_protected() -> None:
    policy = (ROOT / "SECURITY.md").read_text("utf-8")
    for word in (
        "report",
        "redirect",
        "pickle",
        "trust_remote_code",
        "telemetry",
        "THIRD_PARTY.md",
        "make audit",
    ):
        assert word in policy
