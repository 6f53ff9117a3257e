"""The language of a text: what is refused, and what cannot be told."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.base.errors import ConfigError
from synth.compiler.compile import compile_text
from synth.compiler.stdlib.checks import run_check
from synth.compiler.stdlib.checks.language import LANGUAGES, identifier
from synth.compiler.stdlib.requirements import require_runnable

SAID = {
    "ar": [
        "لأنها ركزت على المنتج ونسيت العميل.",
        "أنا نسختك الرقمية، موجود عشان أساعدك تشتغل بذكاء.",
        "وش اسمك؟",
        "دور لي على معلومة",
        "شغل الـ server الحين",
        "إزيك عامل إيه النهارده",
    ],
    "en": [
        "Because it looked at the product and forgot the customer.",
        "My primary function is to catalog and explain historical programming languages.",
        "Who are you?",
        "I keep bees.",
    ],
    "id": ["Berapa biaya kuliah di UNSIQ?", "Apakah ada beasiswa untuk mahasiswa baru?", "Terima kasih"],
    "fr": ["Bonjour, comment allez-vous ?", "Où est la bibliothèque ?"],
    "zh": ["你叫什么名字？"],
    "ru": ["Привет, как дела?"],
}
RECIPE = """edition 1
recipe r { seed = 1 }
model m: model<chat> from simulated()
conversation c times 3 {
  turn ask: user by m {
    prompt = "Ask."
    check { language("ar") }
    retry = 1
  }
}
"""
PAIRS = [(code, text) for code, texts in SAID.items() for text in texts]


@pytest.mark.parametrize(("code", "text"), PAIRS)
def test_a_text_passes_in_its_own_language(code: str, text: str) -> None:
    assert run_check("language", {"words": [code]}, text) is None
    assert run_check("language", {"words": ["sw", code]}, text) is None


@pytest.mark.parametrize(
    ("wanted", "text", "reason"),
    [
        ("ar", SAID["en"][0], "is in the language `en`, not in `ar`"),
        ("ar", "Of course, I can help you.", "is in the language `en`, not in `ar`"),
        ("en", SAID["ar"][0], "is in the language `ar`, not in `en`"),
        ("en", SAID["fr"][0], "is in the language `fr`, not in `en`"),
        ("id", "Where is the dormitory, and is it safe?", "is in the language `en`, not in `id`"),
        ("ar", SAID["ru"][0], "is not in the language `ar`"),
        ("en", "نعم", "is not in the language `en`"),
    ],
)
def test_a_text_in_another_language_is_refused(wanted: str, text: str, reason: str) -> None:
    assert run_check("language", {"words": [wanted]}, text) == reason


@pytest.mark.parametrize("text", ["", "123", "😀", "OK", "Yes.", "—", "12:30 %"])
def test_what_cannot_be_told_passes(text: str) -> None:
    assert run_check("language", {"words": ["ar"]}, text) is None


def test_the_languages_that_can_be_asked_for_are_those_that_can_be_told() -> None:
    assert set(identifier().labels) - {"zxx"} == LANGUAGES


def test_its_package_is_asked_for_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    identifier.cache_clear()
    plan = compile_text(RECIPE).plan
    with pytest.raises(ConfigError) as caught:
        require_runnable(plan)
    monkeypatch.undo()
    require_runnable(plan)
    assert "pip install 'py3langid<0.5,>=0.4'" in str(caught.value)


@settings(max_examples=50)
@given(st.text())
def test_a_language_more_refuses_no_more(text: str) -> None:
    if run_check("language", {"words": ["ar"]}, text) is None:
        assert run_check("language", {"words": ["ar", "en"]}, text) is None
