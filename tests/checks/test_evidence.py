"""Whether what is said stands in the passages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.stdlib.checks import run_check

ENGLISH = (
    "Tuition for the informatics programme is 4,500,000 rupiah each semester, "
    "paid in 2 instalments by 5 March."
)
ARABIC = "رسوم برنامج المعلوماتية ٤٥٠٠ ريال للفصل الدراسي، وتدفع الرسوم على قسطين في الجامعة."
PASSAGES = [{"text": ENGLISH, "doc": "fees.md"}, {"text": ARABIC, "doc": "rusum.md"}]


def reason(text: str, share: float = 60) -> str | None:
    return run_check("supported_by", {"evidence": PASSAGES, "share": share}, text)


@pytest.mark.parametrize(
    "text",
    [
        "Tuition is 4,500,000 rupiah each semester.",
        "TUITION: 4.500.000 Rupiah, in 2 instalments",
        "It is paid by 5 March [1].",
        "1. Tuition is paid each semester.\n2. In instalments.\n7) By March.",
        "رُسُومُ البرنامج 4500 ريال",
        "وبالجامعة تدفع رسوم المعلوماتيه",
        "OK.",
        "",
    ],
)
def test_what_stands_in_the_passages_passes(text: str) -> None:
    assert reason(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "Tuition is 4,600,000 rupiah each semester.",
            "holds the number `4600000`, which its evidence does not",
        ),
        ("Tuition is paid in 3 instalments.", "holds the number `3`, which its evidence does not"),
        ("رسوم برنامج المعلوماتية ٤٦٠٠ ريال", "holds the number `4600`, which its evidence does not"),
        (
            "The dormitory is safe and clean.",
            "has 20% of its words from its evidence; at least 60% are asked for",
        ),
        ("السكن نظيف وآمن وقريب", "has 0% of its words from its evidence; at least 60% are asked for"),
    ],
)
def test_what_does_not_is_refused(text: str, why: str) -> None:
    assert reason(text) == why


def test_numbers_count_whatever_the_share() -> None:
    assert reason("The dormitory is clean.", share=0) is None
    assert reason("The dormitory has 12 rooms.", share=0) is not None


@pytest.mark.parametrize(
    ("said", "stands", "same"),
    [
        ("1,000", "1000", True),
        ("1.000", "1000", True),
        ("1,234.5", "1.234,5", True),
        ("3,5", "3.5", True),
        ("٣٫٥", "3.5", True),
        ("١٬٠٠٠", "1000", True),
        ("35", "3.5", False),
        ("100", "1000", False),
        ("05", "5", False),
    ],
)
def test_numbers_are_compared_by_value_and_not_by_spelling(said: str, stands: str, same: bool) -> None:
    found = run_check(
        "supported_by", {"evidence": [{"text": f"It is {stands}."}], "share": 0}, f"It is {said}."
    )
    assert (found is None) == same


def test_scripts_without_spaces_are_compared_by_pairs_of_characters() -> None:
    evidence = {"evidence": [{"text": "学费每学期四千五百元，分两次缴纳。"}], "share": 60}
    assert run_check("supported_by", evidence, "学费分两次缴纳。") is None
    assert run_check("supported_by", evidence, "宿舍干净又安全。") is not None


def test_nothing_supports_what_has_no_evidence() -> None:
    assert run_check("supported_by", {"evidence": [], "share": 1}, "A fountain.") is not None


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_a_text_supports_itself_whatever_else_is_there(text: str, more: str) -> None:
    evidence = [{"text": more}, {"text": text}]
    assert run_check("supported_by", {"evidence": evidence, "share": 100}, text) is None
