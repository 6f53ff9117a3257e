"""Whether answers use their passages, whether questions leave them, and what is to be said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.stdlib.checks import run_check

FEES = {"document": "biaya/tarif.md", "text": "Teknik Informatika: uang pangkal Rp6.500.000 sekali bayar."}
ROOMS = {"document": "asrama/kamar.md", "text": "Kamar bersama Rp450.000 sebulan, termasuk listrik."}
MORE = {"document": "asrama/kamar.md", "text": "Kamar sendiri Rp900.000 sebulan."}
PASSAGES = [FEES, ROOMS, MORE]


def chat(*said: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "model")[place % 2], "content": text} for place, text in enumerate(said)]


# How many documents an answer draws on --------------------------------------------------


def needed(text: Any, documents: Any) -> str | None:
    return run_check("draws_on", {"evidence": PASSAGES, "documents": documents}, text)


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("Uang pangkal 6.500.000, kamar bersama 450.000.", [2, None]),
        ("Uang pangkal 6.500.000, kamar bersama 450.000.", 2),
        ("Pangkal dan listrik", [2, 2]),
        ("Kamar bersama 450.000, kamar sendiri 900.000.", [1, 1]),
        ("Itu tidak ada di sana.", [None, 0]),
        ("Itu tidak ada di sana.", 0),
    ],
)
def test_documents_whose_own_words_are_used_count(text: str, documents: Any) -> None:
    assert needed(text, documents) is None


@pytest.mark.parametrize(
    ("text", "documents", "why"),
    [
        ("Uang pangkal Rp6.500.000.", [2, None], "needs 1 of its documents; at least 2 are asked for"),
        ("Kamar bersama, kamar sendiri.", 2, "needs 1 of its documents; at least 2 are asked for"),
        ("Tidak ada.", [1, None], "needs 0 of its documents; at least 1 are asked for"),
        ("Pangkal, listrik.", [None, 1], "needs 2 of its documents; at most 1 are allowed"),
    ],
)
def test_a_document_that_adds_nothing_does_not_count(text: str, documents: Any, why: str) -> None:
    assert needed(text, documents) == why


def test_what_two_documents_both_say_needs_neither() -> None:
    both = [
        {"document": "a", "text": "Loket buka pukul 8."},
        {"document": "b", "text": "Loket tutup pukul 8."},
    ]
    assert run_check("draws_on", {"evidence": both, "documents": 1}, "Loket pukul 8.") is not None
    assert run_check("draws_on", {"evidence": both, "documents": 2}, "Loket buka, loket tutup.") is None


def test_of_a_conversation_all_that_the_model_says_counts_together() -> None:
    asked_for_both = chat("Uang pangkal dan listrik?", "Uang pangkal 6.500.000.")
    assert needed(asked_for_both, 2) == "needs 1 of its documents; at least 2 are asked for"
    assert needed([*asked_for_both, *chat("Dan kamar?", "Listrik termasuk.")], 2) is None


@given(st.lists(st.sampled_from("abcdef"), max_size=6), st.lists(st.sampled_from("abcdef"), max_size=8))
def test_as_many_documents_are_needed_as_have_a_word_of_their_own_there(
    here: list[str], said: list[str]
) -> None:
    passages = [{"document": name, "text": f"{name * 4} bersama"} for name in here]
    text = " ".join(["bersama", *(name * 4 for name in said)])
    found = len(set(here) & set(said)) if len(set(here)) > 1 else int(bool(set(here)))
    assert run_check("draws_on", {"evidence": passages, "documents": found}, text) is None
    assert run_check("draws_on", {"evidence": passages, "documents": found + 1}, text) is not None


@pytest.mark.parametrize(
    ("said", "stands", "same"),
    [
        ("Rp450.000", "450.000 rupiah", True),
        ("Rp450.000", "Rp750.000", False),
        ("Rp6.500.000", "Rp7.500.000", False),
        ("3x", "3 kali", True),
        ("24SKS", "24 SKS", True),
        ("20SKS", "24 SKS", False),
        ("S1", "S2", False),
        ("2026/2027", "2026 dan 2027", True),
        ("18.30–20.10", "18.30-20.10", True),
        ("18.30–20.10", "18.30-21.10", False),
    ],
)
def test_a_number_is_one_whatever_is_written_together_with_it(said: str, stands: str, same: bool) -> None:
    evidence = {"evidence": [{"text": f"Itu {stands}."}], "share": 0}
    assert (run_check("supported_by", evidence, f"Itu {said}.") is None) == same


# Questions that no passage answers -------------------------------------------------------


def beyond(text: Any, share: float = 70) -> str | None:
    return run_check("asks_beyond", {"evidence": PASSAGES, "share": share}, text)


def test_a_question_that_one_passage_may_answer_is_refused() -> None:
    assert beyond("Berapa tarif kolam renang kampus?") is None
    assert beyond("Kamar bersama sebulan termasuk listrik?") == (
        "asks with 100% of its words in one passage of `asrama/kamar.md`; less than 70% is asked for"
    )
    assert beyond("Kamar sebulan termasuk sarapan?", 75) is not None
    assert beyond("Kamar sebulan termasuk sarapan?", 76) is None


def test_words_that_are_spread_over_passages_are_in_none_of_them() -> None:
    assert beyond("Pangkal, listrik, sendiri?", 60) is None


def test_numbers_are_words_of_a_question_too() -> None:
    assert beyond("Kamar Rp900.000?", 100) is not None
    assert beyond("Kamar Rp900.001?", 100) is None


def test_of_a_conversation_the_last_question_counts() -> None:
    known, unknown = "Kamar bersama sebulan termasuk listrik?", "Ada kolam renang?"
    assert beyond(chat(unknown, "Tidak.", known, "Ya.")) is not None
    assert beyond(chat(known, "Ya.", unknown, "Tidak.")) is None
    assert beyond([]) is None


# What is to be said ----------------------------------------------------------------------


def test_a_phrase_is_found_whatever_stands_around_and_between_its_words() -> None:
    wanted = {"phrase": "Information not found in UNSIQ documents"}
    for text in (
        "Information not found in UNSIQ documents.",
        "Maaf: INFORMATION, not found in  UNSIQ documents; hubungi loket.",
    ):
        assert run_check("contains", wanted, text) is None
    assert run_check("contains", wanted, "Information was not found in UNSIQ documents") == (
        "does not hold `Information not found in UNSIQ documents`"
    )


def test_of_a_conversation_it_is_said_by_the_model_and_in_the_end() -> None:
    wanted = {"phrase": "not found"}
    assert run_check("contains", wanted, chat("A?", "B.", "C?", "Not found.")) is None
    for messages in (chat("A?", "Not found.", "C?", "D."), chat("Not found?", "B."), []):
        assert run_check("contains", wanted, messages) == "does not hold `not found`"
    renamed = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "Not found."}]
    assert run_check("contains", wanted, renamed) is None


def test_what_is_to_differ_is_compared_by_its_characters() -> None:
    other = {"other": "Berapa biaya kuliah di Teknik Mesin?", "similarity": 0.8}
    assert run_check("differs_from", other, "berapa  biaya kuliah di teknik mesin?") == (
        "is 100% like what it is to differ from"
    )
    assert run_check("differs_from", other, "Anak saya di Teknik Mesin, cicilannya bagaimana?") is None
    assert (
        run_check("differs_from", {"other": {"riddle": "x"}, "similarity": 0.8}, '{"riddle":"x"}') is not None
    )


@given(st.text(max_size=40))
def test_nothing_differs_from_itself(text: str) -> None:
    assert run_check("differs_from", {"other": text, "similarity": 1.0}, text) is not None


@pytest.mark.parametrize(("count", "holds"), [(4, True), ([4, 4], True), (2, False), (6, False)])
def test_a_count_of_turns_is_exact(count: Any, holds: bool) -> None:
    assert (run_check("turns", {"count": count}, chat("a", "b", "c", "d")) is None) == holds
