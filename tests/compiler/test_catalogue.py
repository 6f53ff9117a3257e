"""The catalogue's examples: one edit to a recipe, and every word of what is then said."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.base.diagnostics.diagnostic import Diagnostic
from synth.base.diagnostics.source import Source
from synth.compiler.compile import diagnose
from synth.dsl.read import read_text
from tests.kit.support import ROOT

RECIPES = ROOT / "recipes"


def only(name: str, old: str, new: str, **overrides: str) -> Diagnostic:
    """The one diagnostic of a recipe after an edit."""
    path: Path = RECIPES / f"{name}.recipe"
    text = path.read_text("utf-8")
    assert old in text
    source, faults = read_text(text.replace(old, new, 1), path.name)
    placed = Source(source.name, source.text, path, source.replaced)
    (diagnostic,) = diagnose(placed, faults, overrides, lenient=True).diagnostics.sorted()
    return diagnostic


@pytest.mark.parametrize(
    ("name", "edit", "code", "message", "primary", "secondary", "hint"),
    [
        (
            "pillars",
            (
                '      {{ ask }}\n      """\n    checks = [house_style.no_assistant',
                '      {{ aks }}\n      """\n    checks = [house_style.no_assistant',
            ),
            "E101",
            "`aks` is not defined here",
            "aks",
            [("ask", "this turn is")],
            "did you mean `ask`?",
        ),
        (
            "persona",
            ("turn question: user", "trun question: user"),
            "E103",
            "a conversation holds no `trun`",
            "trun",
            [],
            "did you mean `turn`?",
        ),
        (
            "persona",
            ("Given the persona '{{ persona }}'", "Given the persona '{{ answer }}'"),
            "E110",
            "`answer` is said after `question` is written",
            "answer",
            [("answer", "said here")],
            "turns are written in order; only earlier ones can be quoted",
        ),
        (
            "rag",
            ("{{ evidence | numbered }}", "{{ evidence }}"),
            "E201",
            "`evidence` is a list<chunk>; a template takes text",
            "evidence",
            [],
            "say how to print it: `{{ evidence | numbered }}`, `| cited` or `| plain`",
        ),
        (
            "pillars",
            ("in identity_scenarios times variations", "in identity_scenarios times 45"),
            "E301",
            "`identity` is declared as 300 conversations and makes 270",
            "300",
            [("scenario in identity_scenarios", "6 scenarios"), ("45", "times 45")],
            "6 x 50 = 300; write `times 50`, or declare 270",
        ),
        (
            "pillars",
            ("natural 30% from natural", "natural 35% from natural"),
            "E302",
            "the shares of `training` sum to 105%, not 100%",
            "training",
            [("50%", ""), ("35%", ""), ("20%", "")],
            "",
        ),
        (
            "rag",
            ("model teacher: model<chat, json>", "model teacher: model<chat>"),
            "E401",
            "`teacher` cannot produce json",
            "teacher",
            [("model<chat>", "declared with chat only")],
            "vllm can: declare `model<chat, json>`",
        ),
        (
            "persona",
            ('vllm("google/gemma-3-1b-it", revision = base_revision)', 'vllm("google/gemma-3-1b-it")'),
            "E402",
            "a frozen model needs a revision",
            'vllm("google/gemma-3-1b-it")',
            [("frozen", "frozen here")],
            'pin the weights: `vllm("google/gemma-3-1b-it", revision = "<commit>")`',
        ),
        (
            "persona",
            ("train_on = [answer]", "train_on = [question]"),
            "E501",
            "`question` is a user turn; only model turns are trained on",
            "[question]",
            [("user", "user")],
            "the model turns are `acknowledgment` and `answer`",
        ),
        (
            "rag",
            ("    sources = 2..", "    sources = 4.."),
            "E304",
            "`camouflage` needs 4 documents, and 3 passages are retrieved",
            "4..",
            [("top_k", "3, from line 9")],
            "raise `top_k`, or lower `sources`",
        ),
    ],
)
def test_the_examples_of_the_catalogue(
    name: str,
    edit: tuple[str, str],
    code: str,
    message: str,
    primary: str,
    secondary: list[tuple[str, str]],
    hint: str,
) -> None:
    diagnostic = only(name, *edit)
    assert (diagnostic.code, diagnostic.message, diagnostic.hint) == (code, message, hint)
    assert diagnostic.primary is not None
    assert diagnostic.primary.text == primary
    assert [(label.span.text, label.text) for label in diagnostic.secondary] == secondary


def test_an_override_of_the_wrong_type() -> None:
    diagnostic = only("rag", "edition 1", "edition 1", per_category="many")
    assert (diagnostic.code, diagnostic.message) == ("E602", "`per_category` is a count; `many` is not")
    assert diagnostic.primary is None
    assert diagnostic.command == "--set per_category=many"
    assert [(label.span.text, label.text) for label in diagnostic.secondary] == [
        ("per_category", "declared in rag.recipe")
    ]
    assert diagnostic.hint == "for example `--set per_category=10`"
