"""Checks by characters: emoji, scripts, direction."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.base.display import quoted
from synth.compiler.stdlib.checks import run_check

EMOJI = {
    "by default": "😀",
    "a flag": "🇸🇦",
    "skin tone": "👍🏽",
    "a family": "👨‍👩‍👧",
    "a subdivision's flag": "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "by its selector": "❤️",
    "arrow by its selector": "↔️",
    "letter by its selector": "ℹ️",
    "keycap": "1️⃣",
    "keycap without its selector": "#⃣",
    "joined without selectors": "👁‍🗨",
    "tone on a hand that is text": "☝🏿",
    "kept for emoji to come": "\U0001faff",
}


@pytest.mark.parametrize("emoji", EMOJI.values(), ids=EMOJI)
@pytest.mark.parametrize("text", ["{}", "Done {} now", "تم{}"])
def test_emoji_are_found_and_shown_whole(emoji: str, text: str) -> None:
    reason = run_check("no_emoji", {}, text.format(emoji))
    assert reason is not None
    assert reason == f"holds the emoji {quoted(emoji)}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Room 12 #4 *",
        "١٢٣ ٪",
        "™ © ®",
        "a ↔ b → c",
        "✔ ☎ ☺ ❤ as text",
        "½ § ¶ …",
        "𝐛𝐨𝐥𝐝",
        "我是",
        "هَٰذَا",
        "\u200d\ufe0f",
    ],
)
def test_what_is_text_by_default_is_no_emoji(text: str) -> None:
    assert run_check("no_emoji", {}, text) is None


@given(st.text(st.characters(categories=("L", "M", "N", "P", "Z"), exclude_characters="\u20e3\ufe0f")))
def test_letters_digits_and_punctuation_are_never_emoji(text: str) -> None:
    assert run_check("no_emoji", {}, text) is None


@given(st.text("abمس 12."), st.sampled_from(sorted(EMOJI.values())), st.text("abمس 12."))
def test_an_emoji_is_found_wherever_it_stands(before: str, emoji: str, after: str) -> None:
    assert run_check("no_emoji", {}, before + emoji + after) is not None


@pytest.mark.parametrize(
    ("scripts", "text", "reason"),
    [
        (["Arabic"], "لأنها ركّزت على المنتج، 50٪ منه ـــ", None),
        (["Arabic"], "استخدم Python", "holds the letter `P` (U+0050), which is not `Arabic`"),
        (["Arabic", "Latin"], "استخدم Python 3.11", None),
        (["Latin"], "Straße, naïve, Đà Nẵng: 3 µm", None),
        (["Latin"], "Мoscow", "holds the letter `М` (U+041C), which is not `Latin`"),
        (["Latin"], "12:30 — 100% ✔ 😀", None),
        (["arab", "latn"], "سلام hi", None),
        (["Hiragana", "Katakana", "Han"], "お名前はコーヒー店です", None),
        (["Han"], "コーヒー", "holds the letter `コ` (U+30B3), which is not `Han`"),
        (["Old Persian"], "𐎠", None),
        (["Latin"], "", None),
    ],
)
def test_every_letter_is_of_the_scripts(scripts: list[str], text: str, reason: str | None) -> None:
    assert run_check("script", {"words": scripts}, text) == reason


@given(st.text())
def test_a_script_more_refuses_no_more(text: str) -> None:
    if run_check("script", {"words": ["Arabic"]}, text) is None:
        assert run_check("script", {"words": ["Arabic", "Latin"]}, text) is None


CONTROLS = [
    char
    for char in map(chr, range(0x2100))
    if unicodedata.bidirectional(char) in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
] + ["\u061c", "\u200e", "\u200f"]


@pytest.mark.parametrize("control", CONTROLS, ids=[f"U+{ord(char):04X}" for char in CONTROLS])
def test_controls_of_direction_are_named(control: str) -> None:
    reason = run_check("no_bidi_controls", {}, f"أهلا {control}user")
    assert reason == f"holds U+{ord(control):04X} {unicodedata.name(control)}"


@pytest.mark.parametrize("text", ["أهلاً بك، user 12.", "שלום (a)", "ZWNJ: می\u200cخواهم", "join\u200der", ""])
def test_right_to_left_text_needs_no_controls(text: str) -> None:
    assert run_check("no_bidi_controls", {}, text) is None
