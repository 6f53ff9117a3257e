"""Exact counts, seeded order and stable names of the samples of a cohort."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from synth.compiler.plan.allot import largest_remainder
from synth.compiler.plan.model import AxisPlan, CohortPlan, Plan
from synth.compiler.plan.strata import Slot, call_seed, member_counts, sample_id, slots
from synth.compiler.plan.tables.draws import DrawPlan, Member
from tests.kit.support import ROOT

PLAN = Plan(edition=1, recipe="strata", seed=5)

weights = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any)


def members(shares: list[int]) -> tuple[Member, ...]:
    return tuple(Member(label=f"m{i}", weight=share, fields={}) for i, share in enumerate(shares))


def cohort(times: int, draws: list[list[int]], axis: int = 0) -> CohortPlan:
    axes = (AxisPlan(name="axis", set="axis", members=members([1] * axis)),) if axis else ()
    return CohortPlan(
        name="c",
        quota=times * (axis or 1),
        axes=axes,
        times=times,
        draws=tuple(
            DrawPlan(name=f"d{i}", set="s", members=members(shares)) for i, shares in enumerate(draws)
        ),
        steps=(),
    )


def names(plan: CohortPlan) -> list[str]:
    return [sample_id(PLAN, plan, slot.cell.labels, slot.ordinal) for slot in slots(PLAN, plan)]


def assert_largest_remainder(counts: Sequence[int], shares: list[int], total: int) -> None:
    """No member below its whole share, and no extra where another had a larger remainder."""
    whole = sum(shares)
    assert sum(counts) == total
    extras = [count - total * share // whole for count, share in zip(counts, shares, strict=True)]
    assert set(extras) <= {0, 1}
    remainders = [total * share % whole for share in shares]
    rounded_up = [r for r, extra in zip(remainders, extras, strict=True) if extra]
    rounded_down = [r for r, extra in zip(remainders, extras, strict=True) if not extra]
    assert min(rounded_up, default=whole) >= max(rounded_down, default=0)


def labels(dealt: list[Slot], name: str) -> Counter[str]:
    return Counter(dict(slot.cell.labels)[name] for slot in dealt)


@given(weights, st.integers(0, 500))
def test_largest_remainder_is_exact_and_within_one(shares: list[int], total: int) -> None:
    counts = largest_remainder(shares, total)
    assert_largest_remainder(counts, shares, total)
    assert all(count == 0 for share, count in zip(shares, counts, strict=True) if share == 0)


@given(st.integers(0, 120), st.lists(weights, min_size=1, max_size=3), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_draws_are_exact_over_the_cohort_and_within_one_in_each_row(
    times: int, draws: list[list[int]], axis: int
) -> None:
    plan = cohort(times, draws, axis)
    dealt = list(slots(PLAN, plan))
    assert len(dealt) == plan.quota
    for draw, shares in zip(plan.draws, draws, strict=True):
        counts = labels(dealt, draw.name)
        expected = member_counts(PLAN, plan, draw)
        assert [counts[m.label] for m in draw.members] == list(expected)
        assert_largest_remainder(expected, shares, plan.quota)
        for row in range(axis):
            inside = labels([slot for slot in dealt if slot.cell.row == row], draw.name)
            for member, share in zip(draw.members, shares, strict=True):
                assert abs(inside[member.label] - Fraction(times * share, sum(shares))) < 1


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.data())
@settings(max_examples=80, deadline=None)
def test_a_larger_quota_keeps_the_samples_of_a_smaller_one(
    blocks: int, more: int, rest: int, data: st.DataObject
) -> None:
    """Where the weights divide the smaller quota, or are equal, every sample is kept."""
    shares = data.draw(st.sampled_from([[50, 30, 20], [1, 1, 1, 1], [2, 1], [5, 5]]))
    period = {3: 10, 4: 4, 2: 3 if shares == [2, 1] else 2}[len(shares)]
    equal = len(set(shares)) == 1
    small = cohort(blocks * period + (rest if equal else 0), [shares])
    large = cohort(small.times + more, [shares])
    assert set(names(small)) <= set(names(large))


def test_the_seeds_own_arithmetic() -> None:
    """12 x 85 with tiers of 40/40/20: 408, 408 and 204, and 34/34/17 in each category."""
    plan = cohort(85, [[40, 40, 20]], axis=12)
    dealt = list(slots(PLAN, plan))
    assert labels(dealt, "d0") == {"m0": 408, "m1": 408, "m2": 204}
    for row in range(12):
        assert labels([s for s in dealt if s.cell.row == row], "d0") == {"m0": 34, "m1": 34, "m2": 17}


def test_draws_of_equal_shares_do_not_move_together() -> None:
    plan = cohort(400, [[40, 40, 20], [40, 40, 20]])
    pairs = Counter(tuple(label for _, label in slot.cell.labels) for slot in slots(PLAN, plan))
    assert len(pairs) == 9
    assert pairs["m2", "m2"] < 40, "a fifth of a fifth of 400 is 16; moving together would make it 80"


def test_names_are_unique_and_do_not_depend_on_the_hash_seed() -> None:
    plan = cohort(200, [[1, 2]], axis=3)
    assert len(set(names(plan))) == plan.quota
    script = (
        "from tests.draws.test_strata import *; from hashlib import sha256;"
        "print(sha256(''.join(names(cohort(200, [[1, 2]], axis=3))).encode()).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1


def test_the_order_of_a_plan_never_changes() -> None:
    """Samples of published datasets are named by this: a change here orphans their logs."""
    assert names(cohort(5, [[2, 1]])) == [
        "0a3d2e73f0c28523",
        "0985cbf75a3e00b0",
        "4f32cc3679d499f1",
        "3778b593a0f5b05b",
        "1bbc65a0848c432c",
    ]


def test_seeds_differ_by_sample_step_and_attempt() -> None:
    seeds = {
        call_seed(PLAN, sample, step, attempt)
        for sample in ("a", "b")
        for step in ("x", "y")
        for attempt in range(3)
    }
    assert len(seeds) == 12
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_rare_shares_of_long_periods_are_dealt_exactly() -> None:
    shares = [123_457, 654_321, 1]
    plan = cohort(1000, [shares])
    counts = labels(list(slots(PLAN, plan)), "d0")
    assert [counts[f"m{i}"] for i in range(3)] == list(largest_remainder(shares, 1000))
