"""Which samples are open, and when the next one is opened.

Everything here runs on one event loop, and what it touches is touched by nothing else: that is
what makes it free of races.  The invariants:

- At most `window` samples are open.  A sample that ends makes room for the next at once; there
  is no barrier between steps, batches or cohorts.
- Samples open in slot order and their calls carry that order as priority, so that the engines
  finish what is begun before they begin more.
- Which ordinals of a cell are tried depends on which failed, never on when (`conversation.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from synth.compiler.plan.strata import BaseSample
from synth.runtime.calls.attempt import ModelClient
from synth.runtime.calls.breaker import Breakers
from synth.runtime.cohorts.kept import judge_whole
from synth.runtime.cohorts.source import SampleObserver, SampleRequest, SampleSource
from synth.runtime.events.budget import RunBudget
from synth.runtime.samples.sample import Sample
from synth.runtime.samples.steps import run_sample
from synth.store.log.past.logged import LoggedSample

# How many slots are looked up in the log together.
_LOOKAHEAD = 256
# Samples that wait at their end for one before them: so many, and no others are begun, or a call that
# hangs would have the rest of the quota in memory.
MOST_HELD = 16_384


class Past(Protocol):
    """What the log holds of a cohort's samples."""

    async def calls(self, cohort: str, requests: Sequence[SampleRequest]) -> Mapping[str, LoggedSample]:
        """Earlier calls and retrievals of samples that have any, by sample."""
        ...

    async def values(self, base: BaseSample) -> Mapping[str, Any]:
        """The accepted values of a completed sample, by step."""
        ...


class Scheduler:
    """Runs the samples of some cohorts."""

    def __init__(
        self,
        cohorts: Sequence[SampleSource],
        client: ModelClient,
        past: Past,
        observer: SampleObserver,
        stop: RunBudget,
        *,
        window: int,
        breakers: Breakers | None = None,
    ) -> None:
        self._cohorts = cohorts
        self._client = client
        self._past = past
        self._observer = observer
        self._stop = stop
        self._breakers = breakers or Breakers()
        self._room = asyncio.Semaphore(window)
        self._open: set[asyncio.Task[None]] = set()
        self._opened = 0
        self._ended = asyncio.Event()
        stop.wakes(self._wake)

    async def run(self) -> None:
        """Returns when every quota is met, given up or held up by a step that nothing passes, or the
        run was stopped and nothing is in flight, or given up after the grace.  A fault that is not
        one sample's stops the run and is raised at its end."""
        try:
            for cohort in self._cohorts:
                await self._open_all(cohort, cohort.requests())
            # Replacements can become due as long as anything is open.
            while not self._stop.stopping:
                self._ended.clear()
                await self._open_replacements()
                if not self._open:
                    break
                await self._ended.wait()
            await self._wind_down()
            for cohort in self._cohorts:
                cohort.close()
        except BaseException:
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            raise
        if self._stop.error is not None:
            raise self._stop.error

    async def _wind_down(self) -> None:
        """Waits for what is open, and no longer than the grace of a stop."""
        while self._open and self._stop.grace_left > 0.0:
            await asyncio.wait(self._open, timeout=self._stop.grace_left)
        late = list(self._open)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _wake(self) -> None:
        """Nothing ends any more for what waits for an end before it opens another."""
        self._ended.set()
        self._room.release()

    async def _open_all(self, cohort: SampleSource, requests: Iterator[SampleRequest]) -> None:
        while not self._is_over(cohort) and (ahead := list(islice(requests, _LOOKAHEAD))):
            known = await self._past.calls(cohort.plan.name, ahead)
            for request in ahead:
                await self._open_sample(cohort, request, known.get(request.name) or LoggedSample())
                await self._open_replacements()

    async def _open_replacements(self) -> None:
        for cohort in self._cohorts:
            if self._is_over(cohort):
                continue
            for request in cohort.replacements():
                known = await self._past.calls(cohort.plan.name, [request])
                await self._open_sample(cohort, request, known.get(request.name) or LoggedSample())

    def _is_over(self, cohort: SampleSource) -> bool:
        """Whether no more samples of a cohort are to be opened."""
        return self._stop.stopping or self._breakers.is_stuck(cohort.plan.name)

    async def _open_sample(self, cohort: SampleSource, request: SampleRequest, earlier: LoggedSample) -> None:
        """Opens a sample as soon as the window has room; does nothing once its cohort is over."""
        while cohort.held >= MOST_HELD and self._open and not self._is_over(cohort):
            self._ended.clear()
            await self._ended.wait()
        await self._room.acquire()
        if self._is_over(cohort):
            self._room.release()
            cohort.passed_over(request)
            return
        if not cohort.is_wanted(request):
            self._room.release()
            return
        given = dict(request.given)
        base = request.base
        if base is not None:
            given[base.shown_as] = await self._of(base)
        of = None if base is None else base.name
        sample = Sample(cohort.plan, request.slot, request.name, self._opened, given, of)
        self._opened += 1
        cohort.opened()
        task = asyncio.create_task(self._live(cohort, request, sample, earlier))
        self._open.add(task)

    async def _of(self, base: BaseSample) -> dict[str, Any]:
        """What can be looked up of the sample that another is made from."""
        values = await self._past.values(base) if base.values is None else base.values
        looked_up = {**base.outside, **values}
        if base.base is not None:
            looked_up[base.base.shown_as] = await self._of(base.base)
        return looked_up

    async def _live(
        self, cohort: SampleSource, request: SampleRequest, sample: Sample, earlier: LoggedSample
    ) -> None:
        try:
            try:
                outcome = await run_sample(sample, self._client, earlier, self._observer, self._breakers)
                outcome = await judge_whole(sample, outcome, self._client, earlier, self._observer)
            except asyncio.CancelledError:
                outcome = sample.pending
            except Exception as error:
                # An engine or the log cannot go on; what else is in flight is still awaited.
                self._stop.stop("failed", str(error), error)
                outcome = sample.pending
            cohort.ended(request, sample, outcome)
        except Exception as error:
            self._stop.stop("failed", str(error), error)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._open.discard(task)
            self._room.release()
            self._ended.set()
