"""What functions give: from the log where it is there, else from a process that calls them."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

from synth.base.canonical import digest
from synth.base.errors import ConfigError
from synth.base.files import file_hash
from synth.compiler.bind.functions.files import BadPython, gather
from synth.compiler.bind.imports import project_root
from synth.compiler.plan.model import Plan
from synth.compiler.stdlib.running import is_running
from synth.runtime.events.budget import RunBudget, Stopped
from synth.runtime.events.recorder import Recorder
from synth.runtime.functions.asked import Application, Fault, Files, Result, found, given
from synth.runtime.functions.pool import Limits, Unusable, Workers, dotted
from synth.runtime.functions.running.runs import Running, facts
from synth.runtime.functions.values import misfit, simulated
from synth.runtime.settings import Settings
from synth.store.log.events import Kind
from synth.store.log.past.functions import FunctionResults, LoggedResult
from synth.store.log.past.history import History
from synth.store.log.payloads import FunctionDone

# What is remembered of results, in characters of their JSON.
_MOST_REMEMBERED = 32 << 20


class Functions:
    """The functions of a plan.  Making one starts nothing.

    With `simulated` none is called: a check finds nothing wrong, and a value follows from type and seed.
    """

    def __init__(
        self,
        plan: Plan,
        limits: Limits,
        results: FunctionResults,
        stop: RunBudget,
        *,
        simulated: bool = False,
    ) -> None:
        self._plan = plan
        self._limits = limits
        self._results = results
        self._stop = stop
        self._simulated = simulated
        self._root = project_root(plan.folder)
        self._workers: Workers | None = None
        self._running_code = Running(self._root, limits)
        self._beginning = asyncio.Lock()
        self._done: OrderedDict[str, tuple[str] | Fault] = OrderedDict()
        self._size = 0
        self._running: dict[str, asyncio.Future[None]] = {}

    async def apply(self, asked: Application, recorder: Recorder) -> Result | Fault:
        """What a function gives, recorded.  Raises Stopped, and ConfigError for a file of no use."""
        files = {} if self._simulated else await files_of(asked, self._plan.folder)
        known = found(asked, files, self._simulated)
        if known is not None:
            return given(known)
        if self._simulated:
            value = None if asked.is_check else simulated(asked.function.returns, asked.seed)
            result: tuple[str] | Fault = (json.dumps(value),)
        else:
            result = await self._result(asked, files)
        await recorder.room()
        payload: FunctionDone = {
            "key": asked.key,
            "function": asked.function.name,
            "source": asked.function.source,
        }
        if isinstance(result, Fault):
            payload["fault"] = result.reason
            if not result.lasting:
                payload["lasting"] = False
        else:
            payload["result"] = json.loads(result[0])
        if files:
            payload["files"] = files
        if self._simulated:
            payload["simulated"] = True
        seq = recorder.emit(
            Kind.FUNCTION_DONE, payload, sample_id=asked.sample_id, step=asked.step, attempt=asked.attempt
        )
        logged = LoggedResult(
            seq,
            payload.get("result"),
            payload.get("fault"),
            payload.get("lasting", True),
            payload.get("files", {}),
            self._simulated,
        )
        asked.earlier.results.setdefault(asked.key, []).append(logged)
        return given(logged)

    async def _result(self, asked: Application, files: Files) -> tuple[str] | Fault:
        """What this run or an earlier one knows of the same call, else what the call comes to."""
        name = digest([asked.key, dict(files)]) if files else asked.key
        while (running := self._running.get(name)) is not None:
            await asyncio.wait([running])
        if name in self._done:
            self._done.move_to_end(name)
            return self._done[name]
        running = self._running[name] = asyncio.get_running_loop().create_future()
        try:
            if not self._results.is_read:
                await asyncio.to_thread(self._results.read)
            logged = None
            if self._results.may_have(asked.key):
                logged = await asyncio.to_thread(self._results.find, asked.key, files)
            if logged is not None:
                again = given(logged)
                result: tuple[str] | Fault = (
                    (json.dumps(again.value),) if isinstance(again, Result) else again
                )
            else:
                result = await self._called(asked, files)
            if not isinstance(result, Fault) or result.lasting:
                self._remember(name, result)
            return result
        finally:
            del self._running[name]
            running.set_result(None)

    async def _called(self, asked: Application, files: Files) -> tuple[str] | Fault:
        for path, content in files.items():
            if content is None:
                where = (self._plan.folder / path).resolve()
                outside = not where.is_relative_to(self._root)
                said = f"`{path}` lies outside the project" if outside else f"there is no file `{path}`"
                return Fault(f"was not called: {said}")
        if self._stop.stopping:
            raise Stopped
        function = asked.function
        paths = [each.name for each in function.parameters if each.type.kind == "path"]
        arguments = [
            (each.name, self._placed(asked.arguments[each.name], each.name in paths))
            for each in function.parameters
            if each.name in asked.arguments
        ]
        if is_running(function):
            return await self._stop.bounded(self._running_code.call(function.name, dict(arguments)))
        workers = await self._begun()
        try:
            result = await self._stop.bounded(
                workers.call(dotted(Path(function.path)), function.function, arguments, paths)
            )
        except Unusable as error:
            raise ConfigError(f"`{function.path}` cannot be used: {error}") from None
        if isinstance(result, Fault):
            return result
        try:
            value = json.loads(result[0])
        except (ValueError, RecursionError):
            return Fault("gives JSON that cannot be read")
        why = misfit(value, function.returns)
        return result if why is None else Fault(why)

    def _placed(self, value: Any, is_path: bool) -> Any:
        return str((self._plan.folder / value).resolve()) if is_path and value is not None else value

    async def _begun(self) -> Workers:
        async with self._beginning:
            if self._workers is None:
                await asyncio.to_thread(self._require_unchanged)
                modules = [Path(each.path) for each in self._plan.functions if not is_running(each)]
                self._workers = Workers(self._root, modules, self._limits)
            return self._workers

    def _require_unchanged(self) -> None:
        """Raises ConfigError for a file that is another one than the plan was made from: what it gives would
        be logged under a wrong name."""
        for path, source in dict.fromkeys(
            (each.path, each.source) for each in self._plan.functions if not is_running(each)
        ):
            try:
                now = gather(self._root / path, self._root).digest
            except BadPython as fault:
                raise ConfigError(f"`{path}` cannot be used: {fault.message}") from None
            if now != source:
                raise ConfigError(f"`{path}` has changed since the recipe was compiled: run it again")

    def _remember(self, name: str, result: tuple[str] | Fault) -> None:
        self._done[name] = result
        self._size += _size(result)
        while self._size > _MOST_REMEMBERED:
            _, oldest = self._done.popitem(last=False)
            self._size -= _size(oldest)

    async def close(self) -> None:
        await self._running_code.close()
        if self._workers is not None:
            await self._workers.close()


def _size(result: tuple[str] | Fault) -> int:
    return 100 + len(result.reason if isinstance(result, Fault) else result[0])


def open_functions(plan: Plan, settings: Settings, history: History, stop: RunBudget) -> Functions:
    """The functions of a plan for a run, within the limits of synth.toml."""
    limits = settings.file.functions
    return Functions(
        plan,
        Limits(limits.seconds, limits.memory_gib, limits.workers or 0),
        history.function_results(),
        stop,
        simulated=settings.everywhere == "simulated",
    )


async def files_of(asked: Application, folder: Path) -> dict[str, str | None]:
    """The content of the files that a call is given, as sha256 by path; None of one that is not there or
    lies outside the project.  With them stands what else its result hangs on."""
    paths = [each.name for each in asked.function.parameters if each.type.kind == "path"]
    root = project_root(folder)
    wanted = [asked.arguments[name] for name in paths if asked.arguments.get(name) is not None]
    found = {path: await asyncio.to_thread(_content, path, folder, root) for path in map(str, wanted)}
    return found | facts(asked.function)


def _content(path: str, folder: Path, root: Path) -> str | None:
    try:
        where = (folder / path).resolve()
        if not where.is_relative_to(root) or not where.is_file():
            return None
        now = where.stat()
        return _hashed(where, now.st_size, now.st_mtime_ns)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _hashed(path: Path, _size: int, _modified: int) -> str:
    return file_hash(path)
