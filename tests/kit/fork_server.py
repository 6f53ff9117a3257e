"""Commands in processes of their own, without importing everything for each of them.

A server imports the product once, compiles a recipe, and forks for every command that it is asked for:
the command has its own working directory, environment, streams and exit status, as `python -m synth` has.
What is read while Python or a module starts is the server's, so a command whose environment changes that
is started afresh (`can_fork`).
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import FileIO
from pathlib import Path
from typing import NoReturn, Self

ROOT = Path(__file__).parents[2]
# Read by Python, its allocator, the loader or a library as it is imported.
_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC", "HF_", "TZ", "OMP_", "VLLM_", "HOME", "XDG_")
# What commands import when they need it.
_WARM = (
    *(f"synth.cli.{each.stem}" for each in (ROOT / "synth" / "cli").glob("*.py") if each.stem[0] != "_"),
    "asyncio",
    "deprecation",
    "difflib",
    "genai_prices",
    "google.genai",
    "jsonschema",
    # Of lancedb what takes long; it itself starts a thread, in every process that is forked after.
    "lance_namespace_urllib3_client.api",
    "markdown_it",
    "openai",
    "overrides",
    "packaging.version",
    "pandas",
    "pyarrow.dataset",
    "regex",
    "rensa",
    "sqlite3",
    "symtable",
    "synth.runtime.engines.hosted.gemini",
    "synth.runtime.engines.hosted.openai",
    "synth.runtime.engines.simulated.engine",
    "synth.runtime.engines.wire.session",
    "synth.runtime.evaluation.evaluate",
    "synth.runtime.retrieval.embedders",
    "synth.runtime.retrieval.ingest",
    "synth.runtime.retrieval.pick",
    "synth.runtime.run.outdated",
    "synth.runtime.run.passages",
    "synth.runtime.run.replay",
    "synth.runtime.run.run",
    "synth.runtime.sources.ingest",
    "synth.runtime.sources.readers.arrow",
    "synth.runtime.sources.readers.csv",
    "synth.runtime.sources.readers.dataset",
    "synth.runtime.sources.readers.parquet",
    "synth.store.dataset.inputs.samples",
    "synth.store.dataset.materialize",
    "synth.store.forget.beside",
    "synth.api",
    "tqdm",
)
# What looking passages up imports: the packaged embedder, and an index.
_EMBEDDER = (
    "lancedb",
    "torch._dynamo",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
)
# What engines import, which takes longer than a tiny model takes to answer.
_ENGINES = (
    "torch._dynamo",
    "transformers.models.auto.modeling_auto",
    "transformers.models.gemma3.modeling_gemma3",
    "vllm.model_executor.layers.quantization.online.base",
    "vllm.model_executor.models.gemma3",
    "vllm.renderers.hf",
    "vllm.v1.attention.backends.cpu_attn",
    "vllm.v1.core.sched.scheduler",
    "vllm.v1.engine.llm_engine",
    "vllm.v1.structured_output.backend_lm_format_enforcer",
    "vllm.v1.worker.cpu_worker",
    "synth.runtime.engines.local.transformers",
    "synth.runtime.engines.local.vllm",
)
_MOST_BYTES = 1 << 20
# What is to be done in the process of each command.
_STARTS: list[Callable[[], object]] = []
BEFORE = "FORK_SERVER_BEFORE"


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a process started now would read at its start what the server has read."""
    changed = {
        name
        for name in {*environment, *os.environ}
        if environment.get(name) != os.environ.get(name) and name.startswith(_AT_START)
    }
    return hasattr(os, "fork") and changed <= {"PYTHONPATH"} and environment.get("PYTHONPATH") == str(ROOT)


class Started:
    """A command that goes on by itself: a process whose parent tells how it ends."""

    def __init__(self, arguments: Sequence[str], told: FileIO) -> None:
        self._arguments = arguments
        self._told = told
        self._status: int | None = None
        self.pid = int(told.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._told.close()

    def poll(self) -> int | None:
        """Its exit status, negative for a signal as of `subprocess`, or None while it runs."""
        return self._within(0)

    def wait(self, timeout: float) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        status = self._within(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(["python", *self._arguments], timeout)
        return status

    def kill(self) -> None:
        """Ends it with -9, and returns once it is gone."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._within(None)

    def _within(self, timeout: float | None) -> int | None:
        if self._status is None and select.select([self._told], [], [], timeout)[0]:
            self._status = int(self._told.readline())
        return self._status


class ForkServer:
    """A server of its own, for commands that `environment` is to hold for from the start; with `more`
    modules that they need."""

    def __init__(self, environment: Mapping[str, str], more: Sequence[str] = ()) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._requests, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_BYTES)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kit.fork_server", str(theirs.fileno()), *more],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**environment, "PYTHONPATH": str(ROOT)},
            )

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> tuple[int, bytes, bytes]:
        """Exit status (negative for a signal, as of `subprocess`), stdout and stderr of `python ARGUMENTS`,
        which begin with `-m` or `-c`.

        The module that FORK_SERVER_BEFORE names in the environment is imported in the process first.
        Raises `subprocess.TimeoutExpired`.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with self._start(arguments, cwd, environment, out.fileno(), err.fileno()) as started:
                status = started.wait(timeout)
            out.seek(0)
            err.seek(0)
            return status, out.read(), err.read()

    def start(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Started:
        """The same without waiting for its end; what it says is lost."""
        with open(os.devnull, "wb") as nowhere:
            return self._start(arguments, cwd, environment, nowhere.fileno(), nowhere.fileno())

    def _start(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], out: int, err: int
    ) -> Started:
        request = json.dumps([list(arguments), str(cwd), dict(environment)]).encode()
        told, tell = os.pipe()
        with open(os.devnull, "rb") as nothing:
            socket.send_fds(self._requests, [request], [nothing.fileno(), out, err, tell])
        os.close(tell)
        return Started(arguments, open(told, "rb", buffering=0))

    def close(self) -> None:
        self._requests.close()
        self._process.wait()


@cache
def fork_server() -> ForkServer:
    """The one that a process of tests shares."""
    return ForkServer(os.environ)


@cache
def engine_server() -> ForkServer:
    """The same for commands that load models: what engines import is imported."""
    return ForkServer({**os.environ, "VLLM_LOGGING_LEVEL": "CRITICAL"}, _installed(_ENGINES))


@cache
def embedder_server() -> ForkServer:
    """The same for commands that search by meaning."""
    return ForkServer(os.environ, _installed(_EMBEDDER))


def _installed(modules: Sequence[str]) -> list[str]:
    return [name for name in modules if find_spec(name.partition(".")[0])]


def _serve(requests: socket.socket, more: Sequence[str]) -> None:
    """Forks for each request, and returns in the process that is to run it; ends with its client."""
    for module in (*_installed(_WARM), *more):
        import_module(module)
    if "vllm" in sys.modules:
        from tests.kit.models.calls import prepare_vllm

        prepare_vllm()
    if "lancedb" in sys.modules:
        _hold_loop()
    from synth.compiler.compile import compile_text

    # The parser's tables and all else that the first recipe makes for those after it.
    compile_text((ROOT / "recipes" / "quickstart.recipe").read_text("utf-8"))
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, streams, _, _ = socket.recv_fds(requests, _MOST_BYTES, 4)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            _begin(request, streams)
            return
        for stream in streams:
            os.close(stream)


def _hold_loop() -> None:
    """Let the thread of lancedb be started in the process of a command, and in none before it."""
    from lancedb import background_loop

    background_loop._FORK_WARNED = True
    start = background_loop.LOOP._start
    background_loop.LOOP._start = lambda: None
    _STARTS.append(start)


def _begin(request: bytes, streams: Sequence[int]) -> None:
    """Returns in the command's process; its parent tells the client how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, tell = streams
    if pid := os.fork():
        os.write(tell, b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(tell, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(tell)
    for number, stream in enumerate(standard):
        os.dup2(stream, number)
        os.close(stream)
    arguments, cwd, environment = json.loads(request)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    sys.path[0] = cwd
    sys.argv[1:] = arguments
    for start in _STARTS:
        start()


def _run() -> int:
    """Runs what follows `-m` or `-c`."""
    kind, what, *sys.argv[1:] = sys.argv[1:]
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _exit(status: int) -> NoReturn:
    """Ends as Python does, but for taking every module apart, which costs more than most commands."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    if BEFORE in os.environ:
        import_module(os.environ[BEFORE])
    _exit(_run())
