"""The arithmetic behind mixes and pairs: exact, even and always the same."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.plan.allot import allot, largest_remainder
from synth.store.dataset.rows.apportion import chosen, interleaved, largest_total, place_counts

counts = st.lists(st.integers(0, 40), min_size=1, max_size=6)
shares = st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any)


@given(st.data())
def test_the_largest_total_is_all_there_and_one_more_is_not(data: st.DataObject) -> None:
    parts = data.draw(shares)
    there = data.draw(st.lists(st.integers(0, 500), min_size=len(parts), max_size=len(parts)))
    total = largest_total(parts, there)
    whole = sum(parts)
    assert all(count <= have for count, have in zip(largest_remainder(parts, total), there, strict=True))
    assert any(
        Fraction((total + 1) * share, whole) > have for share, have in zip(parts, there, strict=True) if share
    )


def test_the_largest_total_of_some_of_the_parts() -> None:
    assert largest_total([60, 40], [300, None]) == 500
    assert largest_total([60, 0, 40], [300, 0, None]) == 500
    with pytest.raises(ValueError, match="empty"):
        largest_total([60, 40], [None, None])


@given(counts, st.integers(0, 300))
def test_places_give_in_proportion_and_no_more_than_they_have(available: list[int], count: int) -> None:
    given_ = place_counts(available, count)
    whole = sum(available)
    assert sum(given_) == (count if whole else 0)
    for have, gives in zip(available, given_, strict=True):
        assert whole == 0 or abs(Fraction(count * have, whole) - gives) < 1
        assert count > whole or gives <= have
        assert have or not gives


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(0, 50))
def test_the_smallest_ranks_are_taken_and_stay_in_order(ranks: list[int], count: int) -> None:
    found = list(chosen(ranks, count))
    assert found == sorted(sorted(range(len(ranks)), key=lambda index: (ranks[index], index))[:count])
    # A larger count takes the same ones and more.
    assert set(found) <= set(chosen(ranks, count + 1))


@given(counts)
def test_streams_are_interleaved_as_far_along_as_each_other(sizes: list[int]) -> None:
    places = sorted(
        (Fraction(2 * k + 1, 2 * size), stream) for stream, size in enumerate(sizes) for k in range(size)
    )
    assert list(interleaved(sizes)) == [stream for _, stream in places]


def test_interleaving_takes_no_memory_for_what_is_to_come() -> None:
    order = interleaved([10**15, 10**15 - 1, 7])
    assert [next(order) for _ in range(6)] == [0, 1, 0, 1, 0, 1]


def one_by_one(quota: int, sizes: list[int]) -> tuple[int, ...]:
    """The same by dealing one at a time to the row that has least."""
    found = [0] * len(sizes)
    for _ in range(min(quota, sum(sizes))):
        row = min((r for r in range(len(sizes)) if found[r] < sizes[r]), key=lambda r: (found[r], r))
        found[row] += 1
    return tuple(found)


@given(st.integers(0, 120), st.lists(st.integers(0, 20), max_size=8))
def test_pairs_are_shared_as_if_dealt_one_by_one(quota: int, sizes: list[int]) -> None:
    assert allot(quota, sizes) == one_by_one(quota, sizes)
