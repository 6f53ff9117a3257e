"""The books of a preference: which samples get a pair, whoever finishes first."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from synth.compiler.plan.model import AxisPlan, CohortPlan, Plan, PreferencePlan
from synth.compiler.plan.models import ModelPlan
from synth.compiler.plan.steps import CallPlan, CheckPlan, StepPlan
from synth.compiler.plan.tables.draws import DrawPlan, Member
from synth.runtime.calls.validate import Rejected
from synth.runtime.cohorts.build import open_sample_sources
from synth.runtime.cohorts.conversation import Cohort
from synth.runtime.cohorts.preference import Pairs
from synth.runtime.cohorts.source import SampleRequest
from synth.runtime.events.progress import Progress
from synth.runtime.samples.sample import Abandoned, Done, Sample
from synth.store.log.past.sample_ids import Finished


class Quiet:
    """A ledger that remembers the pairs that stood."""

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}

    def accepted(self, *_: object) -> None: ...

    def rejected(self, *_: object) -> None: ...

    def unpicked(self, *_: object) -> None: ...

    def refused(self, sample: Sample, step: str, why: Rejected, value: Any) -> None: ...

    def pending(self, *_: object) -> None: ...

    def abandoned(self, *_: object) -> None: ...

    def completed(self, sample: Sample) -> None:
        if sample.of is not None:
            self.pairs[sample.of] = dict(sample.slot.cell.labels)["kind"]


def plan_of(times: int, quota: int | None, *, kinds: int = 3, distinct: bool = False) -> Plan:
    check = CheckPlan(name="distinct", arguments={"similarity": 0.9})
    axis = AxisPlan(
        name="kind",
        set="kinds",
        members=tuple(Member(label=f"k{i}", weight=1, fields={}) for i in range(kinds)),
    )
    draw = DrawPlan(
        name="side", set="sides", members=tuple(Member(label=f"s{i}", weight=1, fields={}) for i in range(2))
    )
    answer = StepPlan(
        name="answer", role="model", model="m", prompt=("x",), checks=(check,) if distinct else ()
    )
    base = CohortPlan(
        name="direct", quota=kinds * times, times=times, axes=(axis,), draws=(draw,), steps=(answer,)
    )
    padded = StepPlan(name="padded", role="model", model="m", prompt=("x",))
    preference = PreferencePlan(
        name="corrections",
        quota=quota,
        source="direct",
        steps=(padded,),
        chosen=CallPlan(name="turn", arguments={"name": "answer"}),
        rejected=CallPlan(name="step", arguments={"name": "padded"}),
    )
    return Plan(
        edition=1,
        recipe="pairs",
        seed=1,
        models=(ModelPlan(name="m", capabilities=("chat",), backend="simulated", id="m"),),
        cohorts=(base,),
        preferences=(preference,),
    )


def live(plan: Plan, losses: float, order: int, width: int = 8) -> tuple[Quiet, list[str | None]]:
    """Runs the books with outcomes that depend on names alone and endings in a random order."""
    observer, random = Quiet(), Random(order)
    finished = {cohort.name: Finished() for cohort in (*plan.cohorts, *plan.pair_cohorts)}
    sample_sources = open_sample_sources(plan, finished, observer, Progress(plan, "run"))
    base, pairs = sample_sources
    assert isinstance(base, Cohort)
    assert isinstance(pairs, Pairs)
    slots = base.requests()
    going: list[tuple[Cohort | Pairs, SampleRequest]] = []
    dealt = False
    while True:
        while not dealt and len(going) < width:
            request = next(slots, None)
            if request is None:
                dealt = True
                break
            base.opened()
            going.append((base, request))
        for each in (base, pairs):
            for request in each.replacements():
                each.opened()
                going.append((each, request))
        if not going:
            return observer, [base.shortage(), pairs.shortage()]
        each, request = going.pop(random.randrange(len(going)))
        sample = Sample(
            each.plan, request.slot, request.name, 0, of=None if request.base is None else request.base.name
        )
        # Half of what is alike is alike in everything, for the check over many samples.
        sample.values = dict.fromkeys(
            (step.name for step in each.plan.steps), request.name[: 8 if order < 0 else 16]
        )
        lost = int(sha256(request.name.encode()).hexdigest()[:8], 16) / 16**8 < losses
        each.ended(request, sample, Abandoned("answer", "no good") if lost else Done())


@settings(max_examples=60, deadline=None)
@given(
    times=st.integers(1, 12),
    share=st.floats(0.1, 1),
    losses=st.sampled_from([0.0, 0.1, 0.4]),
    orders=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    distinct=st.booleans(),
)
def test_which_samples_get_a_pair_never_depends_on_who_finished_first(
    times: int, share: float, losses: float, orders: tuple[int, int], distinct: bool
) -> None:
    plan = plan_of(times, max(1, int(3 * times * share)), distinct=distinct)
    one, said = live(plan, losses, orders[0], width=4)
    other, said_too = live(plan, losses, orders[1], width=32)
    assert one.pairs == other.pairs
    assert said == said_too
    quota = plan.preferences[0].quota
    assert quota is not None
    assert len(one.pairs) == quota or said[1] is not None


def test_pairs_are_shared_equally_over_the_rows() -> None:
    observer, said = live(plan_of(10, 12), 0.2, 1)
    assert sorted(observer.pairs.values()) == ["k0"] * 4 + ["k1"] * 4 + ["k2"] * 4
    assert said == [None, None]


def test_without_a_count_every_sample_gets_one_and_a_lost_pair_is_no_shortage() -> None:
    observer, said = live(plan_of(10, None), 0.3, 2)
    assert 0 < len(observer.pairs) < 30
    assert said == [None, None]


def test_a_pair_for_every_sample_cannot_be_had_when_some_are_lost_and_that_is_said() -> None:
    observer, said = live(plan_of(10, 30), 0.3, 3)
    lost = 30 - len(observer.pairs)
    assert said[1] == (
        f"`corrections` has {30 - lost} of 30 pairs, after losing {lost} from other samples of `direct`; "
        "`losses = 1000%` of the recipe block allows no more: raise it, or try again with --retry-lost"
    )
