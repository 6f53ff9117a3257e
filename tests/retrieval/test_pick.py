"""Choosing from a ranking: bounds on documents, variety, draws, fusion."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from synth.runtime.retrieval.pick import BREADTH, Hit, draw, fuse, pick, vary

RANKINGS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=30).map(
    lambda drawn: sorted(
        (Hit(f"{number:04}", f"d{document}", float(score)) for number, (document, score) in enumerate(drawn)),
        key=lambda hit: hit.order,
    )
)


@given(RANKINGS, st.integers(1, 8), st.integers(1, 5), st.none() | st.integers(1, 6))
def test_a_choice_keeps_to_its_bounds(ranking: list[Hit], count: int, low: int, high: int | None) -> None:
    if high is not None and high < low:
        high = low
    chosen = pick(ranking, count, low, high)
    documents = {hit.document for hit in ranking}
    if chosen is None:
        assert len(documents) < low or low > count
        return
    assert len(chosen) == len(set(chosen)) <= count
    assert set(chosen) <= set(ranking)
    chosen_documents = {hit.document for hit in chosen}
    assert low <= len(chosen_documents) <= (high or len(documents))
    if high is None:
        assert len(chosen) == min(count, len(ranking))


@given(RANKINGS, st.integers(1, 8))
def test_without_bounds_the_best_are_chosen(ranking: list[Hit], count: int) -> None:
    if ranking:
        assert pick(ranking, count, 1, None) == ranking[:count]


def test_the_last_of_a_document_with_several_gives_way() -> None:
    ranking = [Hit(str(n), document, 10.0 - n) for n, document in enumerate("aaabac")]
    assert [hit.id for hit in pick(ranking, 3, 2, None) or ()] == ["0", "1", "3"]
    assert [hit.id for hit in pick(ranking, 3, 3, None) or ()] == ["0", "3", "5"]
    assert [hit.id for hit in pick(ranking, 4, 1, 1) or ()] == ["0", "1", "2", "4"]
    assert pick(ranking, 3, 4, None) is None
    assert pick(ranking, 2, 3, None) is None


@given(RANKINGS, st.integers(1, 4), st.integers())
def test_variety_reorders_the_best_and_nothing_else(ranking: list[Hit], count: int, key: int) -> None:
    varied = vary(ranking, count, (key,))
    assert varied == vary(ranking, count, (key,))
    size = BREADTH * count
    assert sorted(varied[:size], key=lambda hit: hit.order) == ranking[:size]
    assert varied[size:] == ranking[size:]


def test_variety_prefers_the_best_and_seldom_repeats() -> None:
    ranking = [Hit(f"{n:02}", f"d{n}", 100.0 - n) for n in range(40)]
    chosen = [tuple(sorted(hit.id for hit in vary(ranking, 3, ("fees", n))[:3])) for n in range(85)]
    assert len(set(chosen)) > 75
    seen = Counter(id_ for ids in chosen for id_ in ids)
    # The first three weigh six times what the last three of the 24 do; all of them come up.
    assert sum(seen[f"{n:02}"] for n in range(3)) > sum(seen[f"{n:02}"] for n in range(21, 24)) * 3
    assert len(seen) == 24
    assert max(seen) < "24"


@given(st.integers(0, 20), st.integers(0, 30), st.integers())
def test_a_draw_is_of_different_numbers(count: int, more: int, key: int) -> None:
    drawn = draw(count, count + more, (key,))
    assert len(set(drawn)) == len(drawn) == count
    assert all(0 <= number < count + more for number in drawn)
    assert drawn == draw(count, count + more, (key,))
    assert drawn[: count // 2] == draw(count // 2, count + more, (key,))


def test_draws_are_even() -> None:
    seen = Counter(number for key in range(2000) for number in draw(2, 10, (key,)))
    # 400 each; six standard deviations are about 107.
    assert all(290 < seen[number] < 510 for number in range(10))


def test_fusion_adds_reciprocal_ranks() -> None:
    equal = [Hit("d", "x", 2.0), Hit("b", "x", 2.0), Hit("c", "y", 1.0)]
    assert [(hit.id, hit.score) for hit in fuse([equal])] == [
        ("b", round(1 / 61, 8)),
        ("d", round(1 / 61, 8)),
        ("c", round(1 / 63, 8)),
    ]
    first = [Hit("a", "x", 3.0), Hit("b", "x", 2.0), Hit("c", "y", 1.0)]
    second = [Hit("c", "y", 0.9), Hit("a", "x", 0.8)]
    assert [(hit.id, hit.score) for hit in fuse([first, second])] == [
        ("a", round(1 / 61 + 1 / 62, 8)),
        ("c", round(1 / 63 + 1 / 61, 8)),
        ("b", round(1 / 62, 8)),
    ]


@given(st.lists(RANKINGS, min_size=1, max_size=3), st.randoms())
def test_fusion_does_not_depend_on_the_order_of_equals(rankings: list[list[Hit]], random: object) -> None:
    shuffled = [list(ranking) for ranking in rankings]
    for ranking in shuffled:
        random.shuffle(ranking)  # type: ignore[attr-defined]
    assert fuse(shuffled) == fuse(rankings)
