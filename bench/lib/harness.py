"""What every benchmark shares: clocks, medians, child processes and the facts of the machine."""

from __future__ import annotations

import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bench"

_POLL_S = 0.01

T = TypeVar("T")


class Unavailable(Exception):
    """A benchmark cannot run here: something it needs is not installed."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a benchmark is asked to run.  `quick` is sizes that say only that it works, `full` the
    sizes that take minutes, `gpu` what needs one; `work` is a folder for what it leaves behind."""

    work: Path
    quick: bool = False
    full: bool = False
    gpu: bool = False

    def pick(self, quick: Any, normal: Any, full: Any = None) -> Any:
        """The size that was asked for."""
        if self.quick:
            return quick
        return full if self.full and full is not None else normal


# Time ---------------------------------------------------------------------------------


def median_seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The median of some runs, after one that does not count."""
    work()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def median_by(items: Sequence[T], key: Callable[[T], float]) -> T:
    """The item in the middle: a run that happened, not a mixture of several."""
    return sorted(items, key=key)[len(items) // 2]


def repeat(work: Callable[[], T], *, runs: int, within_s: float) -> list[T]:
    """Results of up to `runs` runs; the first always, more only while they fit into `within_s`."""
    results: list[T] = []
    began = time.perf_counter()
    while len(results) < runs:
        results.append(work())
        spent = time.perf_counter() - began
        if spent + spent / len(results) > within_s:
            break
    return results


# Child processes ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took.  `cpu_s` is of all its threads and of the children it waited for;
    `peak_mib` is the most memory it had resident, `written_mib` what it gave the disk to write,
    both 0 where the system does not say."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    written_mib: float
    status: int
    out: str
    err: str

    def require(self, *statuses: int) -> Self:
        """The same, or RuntimeError with what the process printed when it ended otherwise."""
        if self.status not in (statuses or (0,)):
            raise RuntimeError(f"exit status {self.status}: {self.err[-2000:] or self.out[-2000:]}")
        return self


class Child:
    """A process under measurement.  As a context manager it is killed when the block is left."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None):
        # Files, since a pipe that nobody reads would stop the process; `wait` closes them.
        self._out: Any = tempfile.TemporaryFile()  # noqa: SIM115
        self._err: Any = tempfile.TemporaryFile()  # noqa: SIM115
        self._peak_kib = self._written = 0
        self._usage: Usage | None = None
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._usage is None:
            self.kill()
            self.wait()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._usage is None and not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def kill(self) -> None:
        """kill -9, for the process and those it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def wait(self, timeout_s: float = 600.0) -> Usage:
        """Its usage, once it has ended.  Raises TimeoutError after killing it."""
        if self._usage is not None:
            return self._usage
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,), daemon=True)
        watcher.start()
        late = threading.Event()

        def expire() -> None:
            # Said first: the timer's thread may still run when the child is gone.
            late.set()
            self.kill()

        timer = threading.Timer(timeout_s, expire)
        timer.start()
        try:
            # The kernel's own count of the child: exact however short it lived.
            _, status, spent = os.wait4(self.pid, 0)
        except BaseException:
            self.kill()
            raise
        finally:
            wall = time.perf_counter() - self._began
            timer.cancel()
            ended.set()
            watcher.join()
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._usage = Usage(
            wall_s=wall,
            cpu_s=spent.ru_utime + spent.ru_stime,
            peak_mib=(self._peak_kib or _maxrss_kib(spent.ru_maxrss)) / 1024,
            written_mib=self._written / 2**20,
            status=self._process.returncode,
            out=_text(self._out),
            err=_text(self._err),
        )
        if late.is_set():
            raise TimeoutError(f"a benchmark's process was killed after {timeout_s:g} s")
        return self._usage

    def _watch(self, ended: threading.Event) -> None:
        # The kernel's `ru_maxrss` of a child can be its parent's, from before exec; its own
        # high-water mark is not.
        while not ended.is_set():
            self._look()
            ended.wait(_POLL_S)

    def _look(self) -> None:
        try:
            with open(f"/proc/{self.pid}/status") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        self._peak_kib = max(self._peak_kib, int(line.split()[1]))
            with open(f"/proc/{self.pid}/io") as file:
                for line in file:
                    if line.startswith("write_bytes:"):
                        self._written = max(self._written, int(line.split()[1]))
        except OSError:
            return


def measured(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 600.0,
) -> Usage:
    """Runs a process to its end."""
    with Child(command, cwd=cwd, env=env) as child:
        return child.wait(timeout_s)


def synth(*arguments: str | Path) -> list[str | Path]:
    """The argument list of a `synth` process."""
    return [sys.executable, "-m", "synth", *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without keys and endpoints, and with this source tree, which is
    compiled once, as what is installed is, and not at every start."""
    hidden = ("API_KEY", "BASE_URL", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.endswith(hidden)}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **(extra or {})}


def _maxrss_kib(value: int) -> int:
    return value // 1024 if sys.platform == "darwin" else value


def _text(file: Any) -> str:
    with file:
        file.seek(0)
        data: bytes = file.read()
    return data.decode("utf-8", "replace")


# Facts --------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": _gpu(),
    }


def cores() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float:
    """Processes that wanted a core, on average over the last minute: how quiet the machine was."""
    return round(os.getloadavg()[0], 2)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    installed = {"python": platform.python_version()}
    for name in packages:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _gpu() -> str | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return "; ".join(done.stdout.strip().splitlines()) or None if done.returncode == 0 else None
