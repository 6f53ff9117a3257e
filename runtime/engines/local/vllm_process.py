"""What vLLM's engine and the processes that it starts find around them, and how they end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from importlib.metadata import packages_distributions, version
from multiprocessing import resource_tracker
from typing import Any

# How long a killed process may take to be gone, in seconds.
_GONE_S = 10.0

# What vLLM, torch and the processes they start read from the environment.
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "CRITICAL",
    # A fork would copy locks that other threads of this process hold.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
CPU_ENVIRONMENT = {
    # In one process the engine starts in a third of the time and a step costs no messages.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


class Turnstile:
    """A lock that is granted in order of arrival.

    Engines that share a process share vLLM's global state, so they step by turns; a plain lock
    would be taken again at once by the thread that has just released it.
    """

    def __init__(self) -> None:
        self._queue = threading.Lock()
        self._inside = threading.Lock()

    def __enter__(self) -> None:
        with self._queue:
            self._inside.acquire()

    def __exit__(self, *_: object) -> None:
        self._inside.release()


def shut_down(core: Any) -> None:
    """End an engine core and wait until its processes are gone, if it has any."""
    manager = getattr(getattr(core, "resources", None), "engine_manager", None)
    core.shutdown()
    # vLLM kills what does not end in time, and leaves it at that.
    for process in getattr(manager, "processes", ()):
        process.join(_GONE_S)


def watch(core: Any) -> None:
    """Wake a step that waits for a core process which was killed and can no longer answer."""
    from vllm.v1.engine.exceptions import EngineDeadError

    while not core.resources.engine_dead:
        time.sleep(0.2)
    core.outputs_queue.put_nowait(EngineDeadError())


def shield_children() -> None:
    """Keep a Ctrl-C on the terminal from the processes that this thread will spawn.

    The run then finishes what is in flight, and for that the engine's processes must live.
    """
    if hasattr(signal, "pthread_sigmask"):
        # Starting the tracker unblocks SIGINT again, so it must be running before.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def tell_torch() -> None:
    """Give torch what vLLM reads from the environment, which torch reads only when it is imported.

    Where they differ on the number of threads, decoding is several times slower.
    """
    import torch
    import torch._dynamo

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    torch._dynamo.config.disable = os.environ.get("TORCH_COMPILE_DISABLE") == "1"


def set_defaults(environment: Mapping[str, str]) -> None:
    """Set variables that the user has not set."""
    for name, value in environment.items():
        os.environ.setdefault(name, value)


def spawns() -> bool:
    """Whether the engine's core is a process of its own."""
    return os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "1") != "0"


def cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def vllm_version() -> str:
    """vLLM's version; its packages for other hardware have other names."""
    return version(packages_distributions()["vllm"][0])
