"""One sample's steps, each as soon as what it needs is there; nothing here waits for a clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.steps import StepPlan
from synth.compiler.plan.strata import Cell, Slot
from synth.runtime.calls.attempt import Answer, Attempt, CallAbandoned
from synth.runtime.calls.rules import CURRENT, Rules
from synth.runtime.samples.sample import Abandoned, Done, Sample
from synth.runtime.samples.steps import run_sample
from synth.store.log.past.logged import LoggedSample


@dataclass
class Asked:
    """A caller that answers when it is told to; `ends` says of steps how they end otherwise."""

    plan: Any = None
    held: Any = None
    ends: dict[str, Exception] = field(default_factory=dict)
    open: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def call(self, attempt: Attempt) -> Answer:
        name = attempt.step.name
        self.asked.append(name)
        self.open[name] = asyncio.get_running_loop().create_future()
        try:
            await self.open[name]
        finally:
            del self.open[name]
        if name in self.ends:
            raise self.ends[name]
        return Answer(f"{name} said", "stop", len(self.asked), name, reused=False)

    def rules(self, sample_id: str) -> Rules:
        return CURRENT

    async def apply(self, asked: Any) -> Any:
        raise AssertionError("no function is asked here")

    async def look_up(self, lookup: Any) -> Any:
        raise NotImplementedError

    async def answered(self, answer: Any) -> None:
        raise AssertionError("no tool answers here")


class Nobody:
    """A witness that takes no note."""

    def accepted(self, *_: Any) -> None: ...

    def rejected(self, *_: Any) -> None: ...

    def unpicked(self, *_: Any) -> None: ...

    def refused(self, *_: Any) -> None: ...


def sample_of(steps: list[StepPlan]) -> Sample:
    cohort = CohortPlan(name="c", quota=1, times=1, steps=tuple(steps))
    return Sample(cohort, Slot(0, Cell(0, (), ()), 0), "s", 0)


def asking(name: str, *needs: str) -> StepPlan:
    return StepPlan(name=name, model="m", prompt=(name,), needs=needs)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


DIAMOND = [asking("a"), asking("b", "a"), asking("c", "a"), asking("d", "b", "c")]


@st.composite
def graphs(draw: st.DrawFn) -> list[StepPlan]:
    """Steps in an order in which each needs only earlier ones; some compose, the others ask."""
    steps: list[StepPlan] = []
    for number in range(draw(st.integers(1, 7))):
        needs = tuple(each.name for each in steps if draw(st.booleans()))
        step = asking(f"s{number}", *needs)
        if draw(st.booleans()):
            step = StepPlan(name=step.name, value=("text",), needs=needs)
        steps.append(step)
    return steps


@given(graphs(), st.randoms(use_true_random=False), st.sets(st.integers(0, 6)))
def test_a_step_is_asked_when_and_only_when_all_it_needs_is_there(
    steps: list[StepPlan], random: Any, failing: set[int]
) -> None:
    lost = {f"s{number}": CallAbandoned("no") for number in failing}
    client, sample = Asked(ends=dict(lost)), sample_of(steps)

    async def run() -> Any:
        ending = asyncio.create_task(run_sample(sample, client, LoggedSample(), Nobody()))
        failed = False
        await settle()
        while not ending.done():
            due = {
                step.name
                for step in steps
                if step.model is not None
                and step.name not in sample.values
                and all(need in sample.values for need in step.needs)
            }
            if not failed:
                assert set(client.open) == due
            name = random.choice(sorted(client.open))
            failed = failed or name in lost
            client.open[name].set_result(None)
            await settle()
            if failed:
                assert set(client.open) < due, "nothing new begins"
        return await ending

    outcome = asyncio.run(run())
    assert len(client.asked) == len(set(client.asked))
    if any(name in lost for name in client.asked):
        assert isinstance(outcome, Abandoned)
        assert outcome.step in lost
    else:
        assert outcome == Done()
        assert set(sample.values) == {step.name for step in steps}
    assert all(need in sample.values for name in sample.values for need in _needs(steps, name))


def _needs(steps: list[StepPlan], name: str) -> tuple[str, ...]:
    return next(step.needs for step in steps if step.name == name)


async def answered(sample: Sample, client: Asked, first: str, other: str) -> Any:
    """Runs a sample of the diamond: one of its branches is answered, and then the other."""
    ending = asyncio.create_task(run_sample(sample, client, LoggedSample(), Nobody()))
    await settle()
    for name in ("a", first):
        client.open[name].set_result(None)
        await settle()
    assert not ending.done()
    client.open[other].set_result(None)
    return await ending


@pytest.mark.parametrize("first", ["b", "c"])
def test_what_is_in_flight_beside_a_failure_is_awaited_and_kept(first: str) -> None:
    client, sample = Asked(ends={first: CallAbandoned("no")}), sample_of(DIAMOND)
    other = {"b": "c", "c": "b"}[first]
    assert asyncio.run(answered(sample, client, first, other)) == Abandoned(first, "no")
    assert set(sample.values) == {"a", other}
    assert "d" not in client.asked


@pytest.mark.parametrize("first", ["b", "c"])
def test_a_fault_is_raised_once_nothing_is_in_flight(first: str) -> None:
    client, sample = Asked(ends={first: RuntimeError("broken")}), sample_of(DIAMOND)
    other = {"b": "c", "c": "b"}[first]
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(answered(sample, client, first, other))
    assert set(sample.values) == {"a", other}


def test_a_sample_that_is_cancelled_leaves_no_branch_behind() -> None:
    client, sample = Asked(), sample_of(DIAMOND)

    async def run() -> None:
        ending = asyncio.create_task(run_sample(sample, client, LoggedSample(), Nobody()))
        await settle()
        client.open["a"].set_result(None)
        await settle()
        assert set(client.open) == {"b", "c"}
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert not client.open
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
