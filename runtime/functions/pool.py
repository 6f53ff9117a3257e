"""Processes that call functions: begun when they are needed, ended when one hangs, and none left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.runtime.functions.asked import Fault

_WORKER = Path(__file__).with_name("worker.py")
_RUNNING = Path(__file__).with_name("running")
# A reply has a result of 1 MiB, escaped twice at most, and a few words.
_MOST_BYTES = 8 << 20
# What a module may take to be imported, in seconds, before its first function is called.
_IMPORT_S = 120
# What may be handed on of the environment; keys and tokens are under other names.
_ENVIRONMENT = frozenset(
    {
        *("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "USERPROFILE"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV"),
    }
)


class Unusable(Exception):
    """A file that cannot be imported, or has no such function, in words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one call, and of one process."""

    seconds: float = 10
    memory_gib: float = 4
    workers: int = 0

    @property
    def most(self) -> int:
        available = getattr(os, "sched_getaffinity", None)
        cores = len(available(0)) if available is not None else os.cpu_count() or 1
        return min(self.workers or cores, cores)


class Workers:
    """At most so many processes as the limits say; a call waits for one that is free.

    The `modules` are files of the project at `root`.
    """

    def __init__(self, root: Path, modules: Sequence[Path], limits: Limits) -> None:
        self._root = root
        self._beside = [str(root / folder) for folder in dict.fromkeys(each.parent for each in modules)]
        self._limits = limits
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._free = asyncio.Semaphore(limits.most)
        self._folder: str | None = None

    async def call(
        self, module: str, function: str, arguments: Sequence[tuple[str, Any]], paths: Sequence[str]
    ) -> tuple[str] | Fault:
        """The JSON that a function gives, or why it gives none.  Raises Unusable."""
        async with self._free:
            worker = self._idle.pop() if self._idle else await self._begin()
            is_well = False
            try:
                await self._load(worker, module)
                request = {
                    "module": module,
                    "function": function,
                    "arguments": list(arguments),
                    "paths": list(paths),
                }
                reply = await asyncio.wait_for(worker.ask(request), self._limits.seconds)
                is_well = not reply.get("children")
            except TimeoutError:
                return Fault(f"took longer than {self._limits.seconds:g} s", lasting=False)
            except (EOFError, OSError, ValueError):
                return Fault(f"ended its process{_ending(await worker.ended())}", lasting=False)
            finally:
                if is_well:
                    self._idle.append(worker)
                else:
                    self._all.discard(worker)
                    await worker.ended()
        if "unusable" in reply:
            raise Unusable(str(reply["unusable"]))
        if "value" in reply:
            return (str(reply["value"]),)
        return Fault(f"raised {reply['raised']}" if "raised" in reply else str(reply["faulty"]))

    async def _load(self, worker: _Worker, module: str) -> None:
        """Has a worker import a file, which takes no time of a call.  Raises Unusable."""
        if module in worker.loaded:
            return
        try:
            reply = await asyncio.wait_for(worker.ask({"module": module}), _IMPORT_S)
        except TimeoutError:
            raise Unusable(f"its import took longer than {_IMPORT_S} s") from None
        except (EOFError, OSError, ValueError):
            raise Unusable(f"its import ended the process{_ending(await worker.ended())}") from None
        if "unusable" in reply:
            raise Unusable(str(reply["unusable"]))
        worker.loaded.add(module)

    async def close(self) -> None:
        """Ends every process, and what those began."""
        for worker in self._all:
            await worker.ended()
        self._all.clear()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, True)

    async def _begin(self) -> _Worker:
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="synth-functions-")
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in _ENVIRONMENT or name.startswith("LC_")
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-B", "-X", "utf8", str(_WORKER)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self._folder,
            env=environment,
            # A Ctrl-C is for the run, and all that a function began is ended with it.
            start_new_session=True,
        )
        worker = _Worker(process)
        self._all.add(worker)
        memory = int(self._limits.memory_gib * (1 << 30))
        setup = {
            "path": _search_path([*self._beside, str(self._root)]),
            "root": str(self._root),
            "running": str(_RUNNING),
            "memory": memory,
            "seconds": self._limits.seconds,
        }
        worker.send(setup)
        return worker


class _Worker:
    """One process.  `loaded` are the files that it has imported."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.loaded: set[str] = set()

    def send(self, value: Mapping[str, Any]) -> None:
        content = json.dumps(value).encode("ascii")
        assert self._process.stdin is not None
        self._process.stdin.write(struct.pack(">I", len(content)) + content)

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Raises EOFError or OSError where the process is gone, ValueError for what is no reply."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.send(request)
        await self._process.stdin.drain()
        (size,) = struct.unpack(">I", await self._process.stdout.readexactly(4))
        if size > _MOST_BYTES:
            raise ValueError("no reply is so long")
        reply = json.loads(await self._process.stdout.readexactly(size))
        if not isinstance(reply, dict):
            raise ValueError("a reply is an object")
        return reply

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    async def ended(self) -> int:
        """Ends the process and all that it began; its status, which may have been there before."""
        self._kill()
        status = await self._process.wait()
        # What a function began can hold its pipes open.
        self._process._transport.close()  # type: ignore[attr-defined]
        return status


def _ending(status: int) -> str:
    if status == -signal.SIGKILL:
        return ""
    return f" by {signal.Signals(-status).name}" if status < 0 else f" with status {status}"


def dotted(module: Path) -> str:
    """A file of the project as workers call it."""
    return ".".join(["_project", *module.with_suffix("").parts])


def _search_path(project: Sequence[str]) -> list[str]:
    """Where modules are found: what comes with Python first, then the project, then what is installed."""
    places = sysconfig.get_paths()
    installed = (places["purelib"], places["platlib"])
    given = [each for each in sys.path if each]
    own = [
        each
        for each in given
        if each.startswith((places["stdlib"], places["platstdlib"])) or each.endswith(".zip")
    ]
    own = [each for each in own if not each.startswith(installed) and "site-packages" not in each]
    return [*own, *project, *(each for each in given if each not in own)]
