"""The log as the scheduler asks it: off the event loop, one question at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from synth.compiler.plan.strata import BaseSample, sample_version
from synth.runtime.cohorts.source import SampleRequest
from synth.store.log.past.history import History
from synth.store.log.past.logged import LoggedSample


class LoggedPast:
    """Earlier calls and values from a history.  Samples the log never saw cost nothing to ask for.

    `config_hashes` names each cohort's lineage; `settle` is awaited before values are read, so that
    what this run completed is in the log.
    """

    def __init__(
        self,
        history: History,
        config_hashes: Mapping[str, str],
        settle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._history = history
        self._config_hashes = config_hashes
        self._settle = settle
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="synth-history")

    async def calls(self, cohort: str, requests: Sequence[SampleRequest]) -> Mapping[str, LoggedSample]:
        known = {
            request.name: request.slot.inputs for request in requests if self._history.knows(request.name)
        }
        if not known:
            return {}
        loop = asyncio.get_running_loop()
        logged_samples = await loop.run_in_executor(
            self._worker, self._history.calls, known, self._config_hashes[cohort]
        )
        return {name: logged.made_of(known[name]) for name, logged in logged_samples.items()}

    async def values(self, base: BaseSample) -> Mapping[str, Any]:
        if self._settle is not None:
            await self._settle()
        loop = asyncio.get_running_loop()
        config_hash = self._config_hashes[base.cohort]
        endings = await loop.run_in_executor(self._worker, self._history.endings, config_hash, [base.name])
        values = endings[sample_version(base.name, base.inputs)].values
        assert values is not None, "only completed samples are asked for"
        return values

    def close(self) -> None:
        self._worker.shutdown()


def logged_values(history: History, config_hash: str, name: str, inputs: str) -> Mapping[str, Any]:
    """The values of the steps of a sample that an earlier run completed, by its name and inputs."""
    ending = history.endings(config_hash, [name], history.log.cursor()).get(sample_version(name, inputs))
    return {} if ending is None or ending.values is None else ending.values
