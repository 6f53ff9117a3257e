"""What a type says is held wherever values of it come from, or refused where it would say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from synth.base.errors import RecipeError
from synth.compiler.compile import compile_text
from synth.compiler.plan.model import Plan
from synth.runtime.calls.validate import Accepted, validate

HEAD = "edition 1\nrecipe bounds { seed = 1 }\nmodel base: model<chat, json> from simulated()\n"


def compiled(text: str, **overrides: str) -> Plan:
    return compile_text(HEAD + text, "bounds.recipe", overrides).plan


def errors(text: str, **overrides: str) -> list[tuple[str, str]]:
    """Message and hint of each error."""
    with pytest.raises(RecipeError) as caught:
        compiled(text, **overrides)
    return [
        (diagnostic.message, diagnostic.hint)
        for diagnostic in caught.value.diagnostics
        if diagnostic.code.startswith("E")
    ]


def turn(text: str) -> str:
    return f'conversation c times 2 {{ turn ask: user = "{text}" }}\n'


@pytest.mark.parametrize(
    ("declared", "inside", "outside", "message"),
    [
        ("count(1..5)", "5", "900", "more than 5"),
        ("count(2..)", "2", "1", "less than 2"),
        ("number(0..1)", "0.5", "7.5", "more than 1"),
        ("number(..10)", "-3", "10.5", "more than 10"),
        ("number(-2..2)", "-2", "-2.5", "less than -2"),
        ("number(36.5..41.2)", "41.2", "41.3", "more than 41.2"),
        ("number(..-0.5)", "-1", "0", "more than -0.5"),
        ("text(1..3)", '"abc"', '"abcd"', "text of 4 characters"),
        ("list<text>(1..2)", '["a"]', '["a", "b", "c"]', "a list of 3"),
        ("list<text(1..2)>", '["ab"]', '["abc"]', "text of 3 characters"),
        ("list<count(..9)>", "[9]", "[10]", "more than 9"),
    ],
)
def test_bounds_hold_for_defaults_members_and_constants(
    declared: str, inside: str, outside: str, message: str
) -> None:
    param = f"param p: {declared} = %s\nlet q = p\n" + turn("{{ nth }}")
    assert compiled(param % inside).params
    assert message in errors(param % outside)[0][0]
    member = f"schema S {{ v: {declared} }}\nset all: S {{ one {{ v = %s }} }}\n"
    member += 'conversation c times 2 { draw s from all\n turn ask: user = "{{ s.v | json }}" }\n'
    assert compiled(member % inside).cohorts
    assert message in errors(member % outside)[0][0]
    if not declared.startswith("list"):
        named = member % "value"
        assert compiled(f"let value = {inside}\n{named}").cohorts
        assert message in errors(f"let value = {outside}\n{named}")[0][0]


@pytest.mark.parametrize(
    ("declared", "default", "inside", "outside"),
    [
        ("count(1..5)", "3", "5", "6"),
        ("number(1..2)", "1.5", "2", "2.5"),
        ("number(-2.5..-1)", "-2", "-2.5", "-3"),
        ("text(1..3)", '"a"', "abc", "abcd"),
    ],
)
def test_bounds_hold_for_overrides(declared: str, default: str, inside: str, outside: str) -> None:
    text = f"param p: {declared} = {default}\n" + turn("{{ p }}")
    assert str(compiled(text, p=inside).params["p"]) == inside
    [(message, hint)] = errors(text, p=outside)
    assert message == f"`p` is a {declared}; `{outside}` is not"
    assert compiled(text, p=hint.split("p=")[1].strip("`")), "the example is one that is taken"


@pytest.mark.parametrize(
    ("field", "right", "wrong"),
    [
        ("count(1..120)", 120, 121),
        ("count(..5)", 0, 6),
        ("number(0..1)", 0.5, 1.5),
        ("number(2..)", 2, 1.9),
        ("number(-2..2)", -2, -2.1),
        ("number(36.515..36.518)", 36.516, 36.52),
        ("number(..-0.5)", -0.5, 0),
        ("text(1..3)", "abc", "abcd"),
        ("list<count(..3)>(1..2)", [3], [4]),
        ("list<count>(1..2)", [3], []),
    ],
)
def test_bounds_hold_for_answers_and_for_simulations(field: str, right: Any, wrong: Any) -> None:
    from random import Random

    from synth.base.canonical import canonical_json
    from synth.compiler.plan.steps import JsonOutput
    from synth.runtime.engines.simulated.answers import answer, wishes

    text = f"""schema S {{ v: {field} }}
    conversation c times 2 {{
      step made: json<S> by base {{ prompt = "x" }}
      turn ask: user = "{{{{ made.v | json }}}}"
    }}"""
    step = compiled(text).cohorts[0].steps[0]
    assert isinstance(validate(step, canonical_json({"v": right}), "stop"), Accepted)
    assert not isinstance(validate(step, canonical_json({"v": wrong}), "stop"), Accepted)
    assert isinstance(step.output, JsonOutput)
    for seed in range(50):
        simulated = answer(wishes(()), step.output.schema_, Random(seed))
        assert isinstance(validate(step, simulated, "stop"), Accepted)


def test_the_bounds_of_what_a_step_or_turn_writes_are_a_check_of_its_length() -> None:
    text = """conversation c times 2 {
      step made: text(1..9) by base { prompt = "x", retry = 1 }
      turn ask: user by base { prompt = "x", produces: text(..20), retry = 1 }
      turn say: model = "abc" { produces: text(1..3) }
    }"""
    steps = compiled(text).cohorts[0].steps
    assert [step.checks[0].arguments["characters"] for step in steps] == [[1, 9], [None, 20], [1, 3]]
    assert "fails `length`" in errors(text.replace("abc", "abcd"))[0][0]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("schema S { v: boolean(1..2) }", "`boolean` has no bounds", "text (characters), list (items)"),
        ("schema S { v: enum<a, b>(3..4) }", "`enum` has no bounds", "an enum's bounds are its words"),
        ("schema S { v: ratio(1..5) }", "`ratio` has no bounds", "`number(0..100)` has bounds"),
        ("schema S { v: path(1..5) }", "`path` has no bounds", "`text(1..80)` has bounds"),
        (
            "schema S { v: count(-2..2) }",
            "`count` is bounded by counts, and `-2..2` has another number",
            "`number(-2..2)` has such bounds",
        ),
        ("schema S { v: count(..1.5) }", "`count` is bounded by counts", "`number(..1.5)` has such bounds"),
        ("schema S { v: text(0.5..) }", "`text` is bounded by counts", ""),
        ("schema S { v: list<text>(-1..4) }", "`list` is bounded by counts", ""),
        ("schema S { v: number(2.5..2) }", "no number lies in `2.5..2`", "the smaller end comes first"),
        ("check plain: text { length(-1..5) }", "takes a range of counts", ""),
        ("check plain: text { length(1.5..) }", "`1.5..` is a range that has `1.5` for an end", ""),
        ("param r: range = 0.5..2\ncheck plain: text { length(r) }", "takes a range of counts", ""),
        ("schema S { v: range(1..5) }", "`range` has no bounds", ""),
        ("schema S { v: persona(1..5) }", "`persona` has no bounds", ""),
        (
            "schema S { v: list<text?> }",
            "a list's items are all there, so `text?` says nothing",
            "drop the `?`",
        ),
        ("schema S { v: text<count> }", "`text` takes no `<...>`", ""),
        ("schema S { v: enum<a, a> }", "`enum` lists `a` twice", ""),
        ("schema S { v: enum<a(1..2), b> }", "`enum` lists words", "write `a` alone"),
        ("param p: duration(1..2) = 3s", "`duration` has no bounds", ""),
        ("model m: model<chat>(1..2) from simulated()", "`model` has no bounds", ""),
        ("model m: model<chat>? from simulated()", "a model is always given", "drop the `?`"),
        ("model m: model<chat?> from simulated()", "`model` lists words", "write `chat` alone"),
        ("check plain: text(1..5) { no_emoji() }", "a check's type says what it is of", "`length(1..400)`"),
        ('set s: topic? { a { about = "x" } }', "a member is of its set's schema", "drop the `?`"),
        ('source s: messages(1..2) from jsonl("x.jsonl")', "`messages` has no bounds", ""),
        (
            'export e: messages(1..2) from c to "out"',
            "the form of rows is one word",
            "write `messages` alone",
        ),
        ('conversation d times 1 { turn a: user? = "x" }', "a turn's role is one word", "write `user` alone"),
        (
            'conversation d times 1 { turn a: user by base { prompt = "x", produces: json<topic>(1..2) } }',
            "`json` has no bounds",
            "the bounds stand with what it holds",
        ),
        (
            'conversation d times 1 { step a: text? by base { prompt = "x" }, turn b: user = "x" }',
            "what is written is there, so `text?` says nothing",
            "drop the `?`",
        ),
    ],
)
def test_what_would_say_nothing_is_refused(text: str, message: str, hint: str) -> None:
    faults = errors(f"{text}\n{turn('x')}")
    assert len(faults) == 1, faults
    assert message in faults[0][0]
    assert hint in faults[0][1]


@pytest.mark.parametrize(
    ("text", "value"),
    [("2..8", [2, 8]), ("-0.5..1_000", [-0.5, 1000]), ("..-3", [None, -3]), ("1.0..", [1, None])],
)
def test_a_range_has_signs_and_decimals_in_a_recipe_and_on_the_command_line(text: str, value: Any) -> None:
    written = f"param p: range = {text}\n{turn('x')}"
    assert compiled(written).params["p"] == value
    assert compiled(f"param p: range = 1..2\n{turn('x')}", p=text).params["p"] == value


@pytest.mark.parametrize("text", ["nan..", "..inf", "1e3..", "2..1", "..", "-0.5..-1", "1.5", "1.. 2"])
def test_what_is_no_range_is_refused_on_the_command_line(text: str) -> None:
    [(message, _)] = errors(f"param p: range = 1..2\n{turn('x')}", p=text)
    assert message == f"`p` is a range; `{text}` is not"
