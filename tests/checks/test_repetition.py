"""How much of a text is said twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.stdlib.checks import run_check

DEFAULT = {"ngram": 4, "share": 15}
ENGLISH = (
    "The company lost because it looked at its product and forgot who was buying it, while two smaller "
    "rivals kept asking people what they needed and changed their plans every month."
)
ARABIC = (
    "خسرت الشركة لأنها ركزت على المنتج ونسيت العميل، بينما ظل منافسوها يسألون الناس عما يحتاجون إليه كل شهر."
)
CHINESE = (
    "公司亏损的原因是它只关注产品而忘记了客户，而两家较小的竞争对手每个月都在询问人们需要什么并改变计划。"
)
THAI = "บริษัทขาดทุนเพราะสนใจแต่ผลิตภัณฑ์และลืมลูกค้า ในขณะที่คู่แข่งสองรายถามผู้คนทุกเดือนว่าต้องการอะไร"


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        ARABIC,
        CHINESE,
        THAI,
        "",
        "No.",
        "No, no, no.",
        "I know that. You know that too.",
        "ليش؟ لأنها نسيت العميل.",
        "To be or not to be, that is the question.",
        "https://example.org/" + "0123456789abcdefghijklmnopqrstuvwxyz",
        "...............................................................",
    ],
)
def test_what_is_said_once_passes(text: str) -> None:
    assert run_check("max_repetition", DEFAULT, text) is None


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        (f"{ENGLISH} {ENGLISH}", "4 words"),
        (f"{ENGLISH}\n{ENGLISH.upper()}", "4 words"),
        (f"{ARABIC} {ARABIC}", "4 words"),
        (f"{ARABIC} {ARABIC.replace('ا', 'اَ').replace('أ', 'ا')}", "4 words"),
        (CHINESE + CHINESE, "6 characters"),
        ("今天天气很好。" * 3, "6 characters"),
        (THAI + THAI, "16 characters"),
        ("no no no no no no", "4 words"),
        ("جدا " * 9, "4 words"),
        ("ha" * 40, "4 words"),
        ("ههههههههههههههههههههههههههههههههههههههههههههههههه", "4 words"),
    ],
)
def test_what_is_said_again_is_refused(text: str, unit: str) -> None:
    reason = run_check("max_repetition", DEFAULT, text)
    assert reason is not None
    assert f"% of its runs of {unit}; at most 15% are allowed" in reason


def test_the_share_is_counted() -> None:
    # Ten runs of two words, of which `a b` comes three times.
    text = "a b c d a b e f a b g"
    assert run_check("max_repetition", {"ngram": 2, "share": 20}, text) is None
    assert run_check("max_repetition", {"ngram": 2, "share": 19.9}, text) == (
        "repeats 20% of its runs of 2 words; at most 19.9% are allowed"
    )
    assert run_check("max_repetition", {"ngram": 1, "share": 0}, "a b a") == (
        "repeats 33% of its runs of 1 words; at most 0% are allowed"
    )


@given(st.lists(st.sampled_from(["ab", "cd", "سلام", "ef"]), max_size=30), st.integers(1, 6))
def test_a_text_said_over_and_over_never_passes(words: list[str], ngram: int) -> None:
    text = " ".join(words * (ngram + 8))
    passes = run_check("max_repetition", {"ngram": ngram, "share": 15}, text) is None
    assert passes == (not words)


@given(st.lists(st.integers(0, 10**6), max_size=80, unique=True), st.integers(1, 6))
def test_a_text_of_different_words_always_passes(numbers: list[int], ngram: int) -> None:
    text = " ".join(f"w{number}" for number in numbers)
    assert run_check("max_repetition", {"ngram": ngram, "share": 0}, text) is None
