"""Checks by words: what counts as a word, and that no dressing up hides one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.stdlib.checks import run_check

HARAKAT = "\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0670"
TATWEEL = "\u0640"
INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u061c\u00ad\u2060\ufeff\u202e\u2066\ufe0f"

HOUSE_STYLE = ["As an AI", "language model", "Great question", "certainly!", "سؤال رائع", "كمساعد ذكي"]


def held(text: str, *words: str) -> bool:
    reason = run_check("no_words", {"words": list(words)}, text)
    assert reason is None or reason.startswith("holds `")
    return reason is not None


@pytest.mark.parametrize(
    "text",
    [
        "أنا مساعد",
        "مُسَاعِد",
        "مـسـاعد",
        "المساعد",
        "والمساعد",
        "فالمساعد",
        "بمساعد",
        "كمساعد",
        "وكمساعد",
        "لمساعد",
        "للمساعد",
        "وللمساعد",
        "كالمساعد",
        "«مساعد»",
        "مساعد، نعم",
        "مسا\u200bعد",
        "م\u202eساعد",
        "ﻣﺴﺎﻋﺪ",
        "مساعدAI",
    ],
)
def test_an_arabic_word_is_found_in_every_dress(text: str) -> None:
    assert held(text, "مساعد")


@pytest.mark.parametrize("text", ["مساعدة", "مساعدات", "المساعدة", "سأساعد", "مساعدون", "يساعد", "مساعد2"])
def test_an_arabic_word_is_not_found_in_another(text: str) -> None:
    assert not held(text, "مساعد")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("سؤال", "سوال"),
        ("رائع", "رايع"),
        ("أحمد", "احمد"),
        ("إلى", "الي"),
        ("مدرسة", "مدرسه"),
        ("مدرسة", "بالمدرسه"),
        ("كيف", "کیف"),
        ("المساعد", "للمساعد"),
        ("المساعد", "وبالمساعد"),
        ("٣ أيام", "3 ايام"),
    ],
)
def test_letters_written_for_each_other_are_one(word: str, text: str) -> None:
    assert held(text, word)


def test_a_word_with_its_article_is_not_the_word_without() -> None:
    assert not held("مساعد", "المساعد")


@pytest.mark.parametrize(
    ("word", "text"), [("ان", "كان"), ("لب", "كلب"), ("يد", "بيد"), ("ون", "لون"), ("ما", "وما")]
)
def test_short_words_take_no_particles(word: str, text: str) -> None:
    assert not held(text, word)
    assert held(f"قال {word} ثم", word)


@pytest.mark.parametrize(
    "text",
    [
        "ai",
        "As AI.",
        "AI-powered",
        "AI's",
        "(AI)",
        "_AI_",
        "**AI**",
        "ＡＩ",
        "A\u200bI",
        "الAI",
        "我是AI助手",
        "l'AI",
    ],
)
def test_a_latin_word_is_found_by_its_edges(text: str) -> None:
    assert held(text, "AI")


@pytest.mark.parametrize("text", ["said", "AIR", "rain", "AI2", "GAI", "a.i.", "AÍ"])
def test_a_latin_word_is_not_found_in_another(text: str) -> None:
    assert not held(text, "AI")


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("don't", "DON’T", True),
        ("don", "don't", False),
        ("can", "can't", False),
        ("I", "I'm here", True),
        ("e-mail", "E‑Mail", True),
        ("e-mail", "email", False),
        ("mail", "e-mail", True),
        ("certainly!", "Certainly! Here", True),
        ("certainly!", "certainly.", False),
        ("straße", "STRASSE", True),
        ("café", "cafe\u0301", True),
        ("café", "cafe", False),
        ("naïve", "naïvety", False),
        ("हिन्द", "हिन्दी", False),
        ("助手", "我是一个助手。", True),
        ("ผู้ช่วย", "ฉันเป็นผู้ช่วยของคุณ", True),
        ("C++", "c++, not C", True),
        ("C++", "C", False),
        ("!!", "what!!", True),
    ],
)
def test_words_are_found_as_they_are_written(word: str, text: str, found: bool) -> None:
    assert held(text, word) == found


@pytest.mark.parametrize("between", [" ", "  ", "\n", ", ", "—", "-", "…\u200b ", "** **"])
def test_a_phrase_goes_over_white_space_and_punctuation(between: str) -> None:
    assert held(f"Well: as{between}an{between}AI{between}model", "As an AI")
    assert held(f"هذا سؤالٌ{between}رائعٌ", "سؤال رائع")


@pytest.mark.parametrize("text", ["as an air", "has an AI", "as a AI", "asanAI", "As another AI"])
def test_a_phrase_is_found_whole(text: str) -> None:
    assert not held(text, "As an AI")


def test_the_first_word_that_is_found_is_named_as_it_was_written() -> None:
    reason = run_check("no_words", {"words": HOUSE_STYLE}, "السُّؤال الرّائع! As an AI, I")
    assert reason == "holds `As an AI`"


@pytest.mark.parametrize(
    "text", ["Yes, it is.", "yes", "**Yes**: it is", "“Yes”", " - yes.", "نَعَم، هو", "of  course it is"]
)
def test_an_opening_is_found_behind_punctuation(text: str) -> None:
    assert run_check("opens_with_any", {"words": ["Yes", "نعم", "Of course"]}, text) is None


@pytest.mark.parametrize("text", ["Yesterday", "No.", "Oh yes", "", "...", "نعمة"])
def test_any_other_opening_is_refused(text: str) -> None:
    reason = run_check("opens_with_any", {"words": ["Yes", "نعم"]}, text)
    assert reason is not None
    assert reason.endswith(", not with `Yes` or `نعم`")


def test_what_is_left_of_a_word_without_its_first_letter_can_be_a_word() -> None:
    assert held("كتاب", "تاب"), "nothing tells it from `ك` and `تاب`"
    assert not held("حكتاب", "تاب")


# Properties -----------------------------------------------------------------------------

letters = st.text("abcdefghijklmnopqrstuvwxyz ابتثجحخدذرزسشصضطظعغفقكلمنهويةىأإآؤئ،.'-", max_size=60)
banned = st.lists(
    st.text("abcdeمساعدوبال ", min_size=1, max_size=8).filter(lambda word: word.strip() != ""), max_size=4
).map(lambda words: [*words, "مساعد", "the ai"])


@st.composite
def dressed(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and the same with marks, tatweel and invisible characters between its characters."""
    text = draw(letters | st.sampled_from(["قال المساعد كلمة", "so the AI said", "لا مساعدة هنا"]))
    between = st.text(HARAKAT + TATWEEL + INVISIBLE, max_size=3)
    return text, "".join(char + draw(between) for char in text)


@given(dressed(), banned)
def test_marks_tatweel_and_invisible_characters_change_no_verdict(
    texts: tuple[str, str], words: list[str]
) -> None:
    plain, covered = texts
    arguments = {"words": words}
    assert run_check("no_words", arguments, covered) == run_check("no_words", arguments, plain)


@given(letters, banned)
def test_case_changes_no_verdict(text: str, words: list[str]) -> None:
    verdicts = {run_check("no_words", {"words": words}, each) for each in (text, text.upper(), text.title())}
    assert len(verdicts) == 1


@given(letters, letters, st.sampled_from(["مساعد", "assistant", "As an AI", "certainly!", "سؤال رائع"]))
def test_a_word_that_stands_by_itself_is_always_found(before: str, after: str, word: str) -> None:
    assert held(f"{before} {word} {after}", word)


@given(st.text("abcdefgh مساعد", max_size=60))
def test_a_text_without_the_letters_of_a_word_never_holds_it(text: str) -> None:
    assert not held(text, "xyz", "قرطبة")
