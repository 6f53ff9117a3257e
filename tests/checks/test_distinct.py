"""Near-duplicates are those that comparing every pair finds."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.stdlib.near_duplicates import NearDuplicates

WORDS = (
    "باب بحر برج بستان بيت تاجر تفاح amber anchor archive atlas autumn basin beacon borrow 字 😀"
).split()


def trigrams(text: str) -> set[str]:
    folded = " ".join(text.casefold().split())
    return {folded[at : at + 3] for at in range(max(1, len(folded) - 2))}


def likeness(one: str, other: str) -> float:
    a, b = trigrams(one), trigrams(other)
    return len(a & b) / len(a | b)


def texts(count: int, seed: int) -> list[str]:
    """Texts of two to forty words; two in five are earlier ones with up to three words changed."""
    random = Random(seed)
    found: list[str] = []
    for _ in range(count):
        if found and random.random() < 0.4:
            words = random.choice(found).split()
            for _ in range(random.randint(1, 3)):
                words[random.randrange(len(words))] = random.choice(WORDS)
        else:
            words = random.choices(WORDS, k=random.randint(2, 40))
        found.append(" ".join(words))
    return found


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.9, 1.0])
def test_what_is_found_is_what_comparing_every_pair_finds(similarity: float) -> None:
    index = NearDuplicates(similarity)
    kept: list[str] = []
    for text in texts(300, seed=int(similarity * 10)):
        alike = [(likeness(text, other), -place) for place, other in enumerate(kept)]
        best = max((each for each in alike if each[0] >= similarity), default=None)
        assert index.find(text) == (None if best is None else (str(-best[1]), best[0]))
        index.keep(str(len(kept)), text)
        kept.append(text)


def test_texts_are_cut_into_all_their_trigrams_whatever_their_length() -> None:
    index = NearDuplicates(1.0)
    for size in (1, 2, 3, 4, 5, 255, 256, 257, 258, 259, 766, 767, 768, 769, 770, 771, 5000):
        text = "".join(map(chr, range(0x4E00, 0x4E00 + size)))
        assert index.find(text) is None
        index.keep(str(size), text)
        assert index.find(text) == (str(size), 1.0)
        last = text[:-1] + "x"
        found = index.find(last)
        assert found is None, "one character more or less is another text"


@given(st.lists(st.text(st.characters(codec=None, exclude_categories=()), max_size=30), max_size=8))
def test_half_characters_break_nothing(texts: list[str]) -> None:
    index = NearDuplicates(0.8)
    for number, text in enumerate(texts):
        index.keep(str(number), text)
        found = index.find(text)
        assert found is not None
        assert found[1] == 1.0


def test_looking_changes_nothing() -> None:
    asked, silent = NearDuplicates(0.8), NearDuplicates(0.8)
    some = texts(80, seed=3)
    for number, text in enumerate(some):
        for other in some[:number:7]:
            asked.find(other)
        asked.keep(str(number), text)
        silent.keep(str(number), text)
    assert [asked.find(text) for text in some] == [silent.find(text) for text in some]
