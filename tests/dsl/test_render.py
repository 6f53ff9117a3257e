"""Diagnostics as a user, an editor and a forge see them."""

from __future__ import annotations

import json
import re

from synth.dsl import Diagnostic, Fix, Label, Source, to_github, to_json, to_text
from tests.dsl.drawn import at, dedented, lines, text


def test_a_secondary_line_far_away() -> None:
    source = lines("pillars.recipe", {91: "  turn ask: user by writer {", 107: "      {{ aks }}"})
    fault = Diagnostic(
        "E101",
        "`aks` is not defined here",
        at(source, 107, "aks"),
        secondary=(Label(at(source, 91, "ask"), "this turn is"),),
        hint="did you mean `ask`?",
    )
    assert text(fault) == dedented(
        """
        error[E101]: `aks` is not defined here
           --> pillars.recipe:107:10
            |
         91 |   turn ask: user by writer {
            |        --- this turn is
            ...
        107 |       {{ aks }}
            |          ^^^
            |
            = hint: did you mean `ask`?
        """
    )


def test_a_secondary_line_below() -> None:
    source = lines("p.recipe", {69: "      {{ answer }}", 82: "  turn answer: model by answerer {"})
    fault = Diagnostic(
        "E110", "m", at(source, 69, "answer"), secondary=(Label(at(source, 82, "answer"), "said here"),)
    )
    assert text(fault) == dedented(
        """
        error[E110]: m
          --> p.recipe:69:10
           |
        69 |       {{ answer }}
           |          ^^^^^^
           ...
        82 |   turn answer: model by answerer {
           |        ------ said here
        """
    )


def test_several_labels_on_one_line() -> None:
    source = lines(
        "pillars.recipe",
        {88: "conversation identity 300 over scenario in identity_scenarios times 45 {"},
    )
    fault = Diagnostic(
        "E301",
        "`identity` is declared as 300 conversations and makes 270",
        at(source, 88, "300"),
        "declared",
        secondary=(
            Label(at(source, 88, "identity_scenarios"), "6 scenarios"),
            Label(at(source, 88, "45"), "times 45"),
        ),
        hint="6 x 50 = 300; write `times 50`, or declare 270",
    )
    assert text(fault) == dedented(
        """
        error[E301]: `identity` is declared as 300 conversations and makes 270
          --> pillars.recipe:88:23
           |
        88 | conversation identity 300 over scenario in identity_scenarios times 45 {
           |                       ^^^                  ------------------       --
           |                       |                    6 scenarios              times 45
           |                       declared
           |
           = hint: 6 x 50 = 300; write `times 50`, or declare 270
        """
    )


def test_labels_that_would_run_into_each_other() -> None:
    source = lines("p.recipe", {1: "a b c"})
    fault = Diagnostic(
        "E301",
        "m",
        at(source, 1, "c"),
        "the third",
        secondary=(Label(at(source, 1, "a"), "the first"), Label(at(source, 1, "b"), "the second")),
    )
    assert text(fault) == dedented(
        """
        error[E301]: m
          --> p.recipe:1:5
           |
         1 | a b c
           | - - ^
           | | | the third
           | | the second
           | the first
        """
    )


def test_lines_that_follow_each_other_and_no_hint() -> None:
    source = lines(
        "pillars.recipe",
        {
            226: "mix training {",
            227: "  synthetic 50% from a",
            228: "  natural 35% from b",
            230: "  last 20% from c",
        },
    )
    marks = ((227, "50%"), (228, "35%"), (230, "20%"))
    fault = Diagnostic(
        "E302",
        "the shares of `training` sum to 105%, not 100%",
        at(source, 226, "training"),
        secondary=tuple(Label(at(source, line, word), "") for line, word in marks),
    )
    assert text(fault) == dedented(
        """
        error[E302]: the shares of `training` sum to 105%, not 100%
           --> pillars.recipe:226:5
            |
        226 | mix training {
            |     ^^^^^^^^
        227 |   synthetic 50% from a
            |             ---
        228 |   natural 35% from b
            |           ---
        229 |
        230 |   last 20% from c
            |        ---
        """
    )


def test_a_label_left_of_the_primary_mark() -> None:
    source = lines("p.recipe", {22: 'model a: model<chat, frozen> from vllm("g") {'})
    fault = Diagnostic(
        "E402",
        "a frozen model needs a revision",
        at(source, 22, 'vllm("g")'),
        secondary=(Label(at(source, 22, "frozen"), "frozen here"),),
    )
    assert text(fault) == dedented(
        """
        error[E402]: a frozen model needs a revision
          --> p.recipe:22:35
           |
        22 | model a: model<chat, frozen> from vllm("g") {
           |                      ------       ^^^^^^^^^
           |                      frozen here
        """
    )


def test_the_command_line() -> None:
    source = lines("rag.recipe", {9: "param per_category: count = 85"})
    fault = Diagnostic(
        "E602",
        "`per_category` is a count; `many` is not",
        None,
        secondary=(Label(at(source, 9, "count"), "declared in rag.recipe"),),
        hint="for example `--set per_category=10`",
        command="synth run rag.recipe --set per_category=many",
    )
    assert text(fault) == dedented(
        """
        error[E602]: `per_category` is a count; `many` is not
          --> command line
           |
           | synth run rag.recipe --set per_category=many
           |                                         ^^^^
         9 | param per_category: count = 85
           |                     ----- declared in rag.recipe
           |
           = hint: for example `--set per_category=10`
        """
    )


def test_a_command_line_without_the_word() -> None:
    fault = Diagnostic("E601", "`revision` is not given", None, command="synth run rag.recipe")
    assert text(fault) == dedented(
        """
        error[E601]: `revision` is not given
          --> command line
           |
           | synth run rag.recipe
        """
    )


def test_another_file() -> None:
    here = lines("a.recipe", {3: "use style from x"})
    there = lines("lib/b.recipe", {120: "library styles"})
    fault = Diagnostic(
        "E104", "m", at(here, 3, "style"), secondary=(Label(at(there, 120, "styles"), "declared here"),)
    )
    assert text(fault) == dedented(
        """
        error[E104]: m
           --> a.recipe:3:5
            |
          3 | use style from x
            |     ^^^^^
            |
           ::: lib/b.recipe:120:9
            |
        120 | library styles
            |         ------ declared here
        """
    )


def test_a_warning_and_a_fix() -> None:
    source = lines("p.recipe", {1: "let a = 1"})
    span = at(source, 1, "let a = 1")
    first = text(Diagnostic("W701", "`a` is never used", span, hint="use it", fix=Fix(span, "")))
    assert first.splitlines()[0] == "warning[W701]: `a` is never used"
    assert first.splitlines()[-2:] == ["   = hint: use it", "   = fix: remove it"]
    assert text(Diagnostic("E004", "m", span, fix=Fix(span, "9%"))).endswith("   = fix: replace with `9%`")


def test_several_diagnostics_are_apart() -> None:
    source = lines("p.recipe", {1: "a"})
    fault = Diagnostic("E002", "m", at(source, 1, "a"))
    assert text(fault, fault) == f"{text(fault)}\n\n{text(fault)}"
    assert text() == ""


def test_colors_change_nothing_but_colors() -> None:
    source = lines("p.recipe", {1: "a b c", 9: "漢 d"})
    fault = Diagnostic(
        "E301",
        "m",
        at(source, 1, "c"),
        "x",
        secondary=(Label(at(source, 1, "a"), "y"), Label(at(source, 9, "d"), "z")),
        hint="h",
    )
    colored = to_text([fault], color=True, width=80)
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == text(fault, width=80)
    assert "\x1b" not in text(fault)


def test_json() -> None:
    source = Source("p.recipe", "a\né漢 = 5x\n")
    span = at(source, 2, "5x")
    faults = [
        Diagnostic("E004", "`5x` has an unknown unit", span, "here", hint="h"),
        Diagnostic("W701", "m", None, command="synth"),
    ]
    records = to_json(faults)
    assert json.loads(json.dumps(records)) == records
    assert records == [
        {
            "code": "E004",
            "severity": "error",
            "message": "`5x` has an unknown unit",
            "file": "p.recipe",
            "line": 2,
            "column": 6,
            "end_line": 2,
            "end_column": 8,
            "hint": "h",
        },
        {
            "code": "W701",
            "severity": "warning",
            "message": "m",
            "file": None,
            "line": None,
            "column": None,
            "end_line": None,
            "end_column": None,
            "hint": "",
        },
    ]


def test_github() -> None:
    source = Source("a,b:c.recipe", "a\nb = 5x")
    faults = [
        Diagnostic("E302", "105%, not\n100%", at(source, 2, "5x"), hint="write 100%"),
        Diagnostic("W701", "m", None),
    ]
    assert to_github(faults).splitlines() == [
        "::error file=a%2Cb%3Ac.recipe,line=2,col=5,endLine=2,endColumn=7,title=E302"
        "::105%25, not␊100%25%0Awrite 100%25",
        "::warning title=W701::m",
    ]
