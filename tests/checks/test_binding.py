"""Arguments that make no sense are refused when a recipe is compiled, where they are written."""

from __future__ import annotations

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text

TEXT = """edition 1
recipe r {{ seed = 1 }}
model m: model<chat> from simulated()
let banned = ["AI", "\u200b"]
conversation c times 3 {{
  turn ask: user by m {{
    prompt = "Ask."
    check {{ {check} }}
    retry = 1
  }}
}}
"""
TALK = """edition 1
recipe r {{ seed = 1 }}
model m: model<chat, json> from simulated()
schema Message {{
  role: enum<user, model>
  thought: text?
  content: text
}}
conversation c times 3 {{
  step talk: json<list<Message>> by m {{
    prompt = "Talk."
    check {{ {check} }}
    retry = 1
  }}
  transcript = talk
}}
"""
EVIDENCE = """edition 1
recipe r { seed = 1 }
model m: model<chat> from simulated()
source docs: chunk from folder("docs")
conversation c times 3 {
  let evidence = retrieve(docs, query = "fees")
  turn ask: user = "What does it cost?"
  turn answer: model by m {
    prompt = "{{ evidence | plain }} {{ ask }}"
    check { supported_by(evidence, share = 80%) }
    retry = 1
  }
}
"""


def said(recipe: str, check: str) -> list[tuple[str, str, str, str]]:
    """Code, message, quoted text and hint of everything that is wrong with a check."""
    try:
        compile_text(recipe.format(check=check))
    except RecipeError as error:
        return [
            (each.code, each.message, each.primary.text if each.primary else "", each.hint)
            for each in error.diagnostics
        ]
    return []


@pytest.mark.parametrize(
    ("check", "message", "at", "hint"),
    [
        ('script("Arabik")', "`Arabik` is no script", '"Arabik"', "did you mean `Arabic`?"),
        (
            'script("Latin", "Klingonese")',
            "`Klingonese` is no script",
            '"Klingonese"',
            "scripts have Unicode's names, such as `Arabic` or `Han`",
        ),
        (
            'script("Latin}a-z")',
            "`Latin}a-z` is no script",
            '"Latin}a-z"',
            "scripts have Unicode's names, such as `Arabic` or `Han`",
        ),
        (
            'language("ar", "english")',
            "`english` is no language that can be told",
            '"english"',
            "languages are ISO codes, such as `ar` or `en`",
        ),
        ('no_words("AI", "  ")', "there is nothing to be found in `  `", '"  "', ""),
        ("no_words(banned)", "there is nothing to be found in `<U+200B>`", "no_words(banned)", ""),
        ('opens_with_any("")', "there is nothing to be found in ``", '""', ""),
        ("max_repetition(ngram = 0)", "a run has at least one word", "0", "for example `ngram = 4`"),
        (
            "distinct(similarity = 1.5)",
            "a similarity is above 0 and at most 1",
            "1.5",
            "for example `similarity = 0.9`",
        ),
        ("ends_with(model)", "`ends_with(model)` asks whose message it is, and this is text", "model", ""),
    ],
)
def test_a_check_of_a_text(check: str, message: str, at: str, hint: str) -> None:
    assert said(TEXT, check) == [("E202", message, at, hint)]


@pytest.mark.parametrize(
    ("check", "code", "message", "at", "hint"),
    [
        (
            "every(model, has = thougt)",
            "E102",
            "`Message` has no `thougt`",
            "thougt",
            "did you mean `thought`?",
        ),
        (
            "alternates(user, user)",
            "E202",
            "nobody takes turns alone",
            "user",
            "for example `alternates(user, model)`",
        ),
    ],
)
def test_a_check_of_a_conversation(check: str, code: str, message: str, at: str, hint: str) -> None:
    assert said(TALK, check) == [(code, message, at, hint)]


@pytest.mark.parametrize("check", ["ends_with(model)", 'ends_with("?")', "every(user, has = content)"])
def test_what_makes_sense_of_a_conversation(check: str) -> None:
    assert said(TALK, check) == []


@pytest.mark.parametrize(
    "check", ['script("Arab", "Old Persian")', 'language("ar", "arz")', 'ends_with("model")', 'no_words("!")']
)
def test_what_makes_sense_of_a_text(check: str) -> None:
    assert said(TEXT, check) == []


def test_evidence_is_each_sample_s_own() -> None:
    answer = compile_text(EVIDENCE).plan.cohort("c").step("answer")
    assert answer.checks[0].model_dump()["arguments"] == {
        "evidence": {"path": ("evidence",), "filters": ()},
        "share": 80,
    }
    assert "evidence" in answer.needs
