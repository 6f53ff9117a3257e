"""Mixes and exports that cannot be had are refused where they are written."""

from __future__ import annotations

from typing import get_args

import pytest

from synth.base.diagnostics.diagnostic import Diagnostic, Severity
from synth.base.errors import RecipeError
from synth.compiler.bind.declarations.exports import FORMS
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import ExportPlan

RECIPE = """edition 1
recipe outputs { seed = 1 }

model base: model<chat> from simulated()

set subjects: topic {
  law { about = "courts" }
  sea { about = "ports" }
}

source natural: messages from jsonl("natural.jsonl")

conversation many over subject in subjects times 5 {
  turn ask: user = "What of {{ subject.about }}?"
  turn answer: model by base { prompt = "{{ ask }}" }
  tags = ["one"]
}

conversation few times 2 {
  turn ask: user = "What?"
  turn answer: model by base { prompt = "{{ ask }}" }
}

conversation none times 0 {
  turn ask: user = "What?"
  turn answer: model by base { prompt = "{{ ask }}" }
}
"""


def compiled(text: str) -> Plan:
    return compile_text(RECIPE + text).plan


def errors(text: str) -> list[Diagnostic]:
    """The errors of the recipe with some text behind it."""
    try:
        compiled(text)
    except RecipeError as error:
        return [diagnostic for diagnostic in error.diagnostics if diagnostic.severity is Severity.ERROR]
    return []


def faults(text: str) -> list[tuple[str, str]]:
    """Code and message of each error."""
    return [(error.code, error.message) for error in errors(text)]


def mix(*lines: str) -> str:
    return (
        "mix training {\n" + "\n".join(lines) + '\n}\nexport train: messages from training to "out/train"\n'
    )


def test_a_part_may_have_the_name_of_a_field() -> None:
    """What has a quantity is a member, whatever its word."""
    (made,) = compiled(mix("total 50% from many", "when_short 50% from few", "total = 4")).mixes
    assert (made.total, [part.name for part in made.parts]) == (4, ["total", "when_short"])


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (("a 0 from many", "b 0 from few"), ("E302", "the shares of `training` are all zero")),
        (("a 50% from many", "b 50% from [few, many]"), ("E104", "`many` is in the mix twice")),
        (("a 50% from [many, many]", "b 50% from few"), ("E104", "`many` is in the mix twice")),
        (
            ("total = 9", "a 2 from many", "b 1 from few"),
            ("E303", "`b` is to give 3 of 9 rows, and there are 2"),
        ),
        (
            ("total = 9", "when_short = repeat", "a 2 from many", "b 1 from none"),
            ("E303", "`b` is to give 3 of 9 rows, and there are 0"),
        ),
    ],
)
def test_a_mix_that_cannot_be_had(lines: tuple[str, ...], fault: tuple[str, str]) -> None:
    assert faults(mix(*lines)) == [fault]


@pytest.mark.parametrize(
    "lines",
    [
        # Rounded down, the share is there.
        ("total = 7", "a 2 from many", "b 1 from few"),
        ("total = 9", "when_short = shrink", "a 2 from many", "b 1 from few"),
        ("total = 9", "when_short = repeat", "a 2 from many", "b 1 from few"),
        # What a source has is known when it is read.
        ("total = 900", "a 1% from many", "b 99% from [few, natural]"),
        ("a 0 from none", "b 1 from few"),
    ],
)
def test_a_mix_that_may_be_had(lines: tuple[str, ...]) -> None:
    assert len(compiled(mix(*lines)).mixes) == 1


def test_a_fault_in_one_part_is_not_told_of_the_others() -> None:
    reported = faults(mix("total = 6", "a 40% from manny", "b 60% from many"))
    assert [code for code, _ in reported] == ["E101"]


@pytest.mark.parametrize(
    ("export", "fault"),
    [
        (
            "rejected from training",
            ("E202", "`training` is a mix, not a conversation"),
        ),
        (
            "rejected from many columns = [many.answer]",
            ("E202", "`answer` is no column of refused attempts: theirs are axes and draws"),
        ),
        (
            "rejected from few columns = [few.step]",
            ("E102", "`few` has no `step`"),
        ),
        (
            "messages from training columns = [few.ask]",
            ("E101", "`few` is not what is exported here"),
        ),
    ],
)
def test_an_export_that_cannot_be_had(export: str, fault: tuple[str, str]) -> None:
    form, _, source, *columns = export.split(" ", 3)
    body = f" {{ {columns[0]} }}" if columns else ""
    text = f'export other: {form} from {source} to "out/other"{body}\n'
    assert faults(mix("a 1 from many") + text) == [fault]


@pytest.mark.parametrize("folder", ["out/many/", "./out/many", "out//many", "out/many/more", "out", "."])
def test_exports_have_folders_apart(folder: str) -> None:
    text = f"""
export some: messages from many to "out/many"
export same: messages from many to "{folder}"
"""
    ((code, message),) = faults(text)
    assert code == "E104"
    assert message.startswith("another export is written to `out/many`")


@pytest.mark.parametrize(
    ("field", "hints"),
    [
        ('licence = "MIT"', []),
        ('licence = "Apache"', ['did you mean `"apache-2.0"`?']),
        ('licence = "GPL-3.0-or-later"', ['did you mean `"gpl-3.0"`?']),
        ('licence = "mine: [all]"', ['for one of your own, `licence = "other"`']),
        ('languages = ["en", "EN", "zh-Hant-TW", "jv", "sr-Latn", "de-1996"]', []),
        ('languages = ["jp", "english"]', ['did you mean `"ja"`?', 'did you mean `"en"`?']),
        ('languages = ["qq", "e n", "]\\n- x"]', ['languages are ISO codes: `"en"`, `"pt-BR"`'] * 3),
    ],
)
def test_a_card_takes_what_hubs_take(field: str, hints: list[str]) -> None:
    reported = errors(f'export other: messages from many to "out/other" {{ {field} }}\n')
    assert [error.hint for error in reported] == hints
    assert {error.code for error in reported} <= {"E202"}


def test_a_column_must_not_take_the_place_of_another() -> None:
    text = """
conversation taking times 2 {
  draw messages from [1, 2]
  draw tags from [1, 2]
  turn id: user = "What of {{ messages }} and {{ tags }}?"
  tags = ["one"]
}
export other: messages from taking to "out/other" { columns = [taking.id, taking.messages, taking.tags] }
export more: sharegpt from taking to "out/more" { columns = [taking.messages] }
"""
    assert faults(text) == [
        *(("E104", f"a row has a column `{name}` already") for name in ("id", "messages", "tags")),
        ("E104", "trainers take a column `messages` for what they train on"),
    ]


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ("a from many, order from few, order = [order, a]", None),
        ("a 1 from many, order 3 from few, order = [order, a]", None),
        ("a from many, b 1 from few", ("E302", "`a` has no share, and other parts of `training` do")),
        ("a from many, b from few, order = [a, c]", ("E101", "`c` is no part of this mix")),
        ("a from many, b from few, order = [a, a]", ("E104", "`a` is listed twice")),
        ("a from many, b from few, order = [a]", ("E107", "`order` does not say where `b` comes")),
        ("a from many, b from few, order = a", ("E202", "`order` lists the parts of the mix")),
        (
            "a from many, b from few, when_short = repeat",
            ("E108", "`training` has no shares, so it takes all rows, and `when_short` says nothing"),
        ),
    ],
)
def test_a_mix_of_all_there_is(parts: str, fault: tuple[str, str] | None) -> None:
    assert faults(mix(parts)) == ([fault] if fault else [])


def test_pairs_from_a_conversation_declared_empty() -> None:
    text = """
conversation empty 00 over subject in subjects times 50 {
  turn ask: user = "What of {{ subject.about }}?"
  turn answer: model by base { prompt = "{{ ask }}" }
}
preference pairs 10 from empty {
  turn worse: model by base { prompt = "{{ empty.ask }}" }
  chosen = empty.answer
  rejected = worse
}
"""
    assert faults(text) == [("E301", "`empty` is declared as 0 conversations and makes 100")]


def test_every_form_of_the_plan_has_its_columns() -> None:
    assert tuple(FORMS) == get_args(ExportPlan.model_fields["type"].annotation)
