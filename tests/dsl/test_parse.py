"""What the parser makes of text that is right."""

from __future__ import annotations

from decimal import Decimal

import pytest

from synth.dsl import Source, parse, read
from synth.dsl.syntax import (
    Boolean,
    Call,
    Duration,
    Integer,
    List,
    Number,
    Range,
    Ratio,
    Reference,
    Rule,
    Statement,
    Text,
)
from tests.dsl.helpers import PATHS, RECIPES, check_spans, clean


def statement(text: str) -> Statement:
    (node,) = clean(text).statements
    assert isinstance(node, Statement)
    return node


def value(text: str) -> object:
    return statement(f"x = {text}").value


@pytest.mark.parametrize("name", PATHS)
def test_recipes_have_no_faults(name: str) -> None:
    source, unreadable = read(PATHS[name])
    syntax, diagnostics = parse(source)
    assert not unreadable
    assert not diagnostics
    assert syntax.statements
    assert not syntax.poisoned
    check_spans(syntax)


@pytest.mark.parametrize("name", PATHS)
def test_spans_quote_what_they_are_about(name: str) -> None:
    syntax, _ = parse(Source(name, RECIPES[name]))
    for node in syntax.statements:
        assert isinstance(node, Statement)
        assert node.span.text.startswith(node.kind.text)
        assert node.kind.span.text == node.kind.text
        assert node.name is None or node.name.span.text == node.name.text
        assert node.body is None or node.span.text.endswith("}")


def test_every_part_of_a_statement() -> None:
    node = statement(
        "## First.\n##  Second.\n"
        "conversation talk: messages<a> 1_020 over c in cats times 50 by m from f(1) = x { y }"
    )
    assert (str(node.kind), str(node.name)) == ("conversation", "talk")
    assert node.docs == ("First.", "Second.")
    assert node.type is not None
    assert [str(argument.name) for argument in node.type.arguments] == ["a"]
    assert isinstance(node.quantity, Integer)
    assert node.quantity.value == 1020
    assert [clause.word for clause in node.clauses] == ["over", "times", "by", "from"]
    over = node.clause("over")
    assert over is not None
    assert (str(over.name), str(over.value)) == ("c", "cats")
    assert isinstance(node.value, Reference)
    assert node.body is not None
    assert len(node.body) == 1
    assert not node.damaged
    assert node.span.text.startswith("conversation")


def test_a_rule_is_a_call_that_stands_alone() -> None:
    node = statement("check {\n  length(40..400, unit = words)\n}")
    assert node.body is not None
    (rule,) = node.body
    assert isinstance(rule, Rule)
    assert [argument.name and str(argument.name) for argument in rule.arguments] == [None, "unit"]
    assert rule.span.text == "length(40..400, unit = words)"


def test_a_rule_may_be_of_a_library() -> None:
    (rule,) = clean("shop . promises.nothing(order, at_least = -0.5..)").statements
    assert isinstance(rule, Rule)
    assert [str(part) for part in rule.function.parts] == ["shop", "promises", "nothing"]
    assert str(rule.name) == "shop.promises.nothing"
    assert rule.name.span.text == "shop . promises.nothing"


def test_conditions_stand_last_before_the_braces() -> None:
    node = statement(
        'turn last: user by one = "a" when talk.hard unless words in [2, 4] when n in -0.5.. { retry = 1 }'
    )
    assert [(condition.negated, str(condition.reference)) for condition in node.conditions] == [
        (False, "talk.hard"),
        (True, "words"),
        (False, "n"),
    ]
    values = [condition.values for condition in node.conditions]
    assert values[0] is None
    assert isinstance(values[1], List)
    assert isinstance(values[2], Range)
    assert [condition.span.text for condition in node.conditions] == [
        "when talk.hard",
        "unless words in [2, 4]",
        "when n in -0.5..",
    ]
    assert node.body is not None
    check_spans(parse(Source("t", "let a = b when c\nlet d unless e in f.g {\n  x when y\n}\n"))[0])


@pytest.mark.parametrize(
    "text",
    [
        "draw when from words",
        "let when = unless",
        "turn unless: user by when",
        "when unless: x { when = 1 }",
        "x over when in unless times when",
        'when 40% from unless to "out"',
        "when { unless }",
        "x = when.unless\n",
        "unless(when)",
    ],
)
def test_when_and_unless_are_names_elsewhere(text: str) -> None:
    node = clean(text).statements[0]
    assert not isinstance(node, Statement) or not node.conditions


def test_types() -> None:
    node = statement("x: json<list<Message>(2..6)>?")
    assert node.type is not None
    assert node.type.optional
    (inner,) = node.type.arguments
    assert inner.bounds is not None
    assert (str(inner.name), inner.bounds.low, inner.bounds.high) == ("list", 2, 6)
    assert inner.span.text == "list<Message>(2..6)"


@pytest.mark.parametrize(
    ("written", "kind", "fields"),
    [
        ("1_020", Integer, {"value": 1020}),
        ("0.7", Number, {"value": Decimal("0.7")}),
        ("-1", Number, {"value": Decimal(-1)}),
        ("40%", Ratio, {"percent": Decimal(40)}),
        ("2.5%", Ratio, {"percent": Decimal("2.5")}),
        ("30s", Duration, {"seconds": Decimal(30), "written": "30s"}),
        ("1.5h", Duration, {"seconds": Decimal(5400)}),
        ("250ms", Duration, {"seconds": Decimal("0.25")}),
        ("2m", Duration, {"seconds": Decimal(120)}),
        ("2..8", Range, {"low": 2, "high": 8}),
        ("2..", Range, {"low": 2, "high": None}),
        ("..1_0", Range, {"low": None, "high": 10}),
        ("-2..2", Range, {"low": -2, "high": 2}),
        ("36.5..41.2", Range, {"low": Decimal("36.5"), "high": Decimal("41.2")}),
        ("..-0.5", Range, {"low": None, "high": Decimal("-0.5")}),
        ("-1_0..", Range, {"low": -10, "high": None}),
        ("true", Boolean, {"value": True}),
        ("false", Boolean, {"value": False}),
    ],
)
def test_literals(written: str, kind: type, fields: dict[str, object]) -> None:
    node = value(written)
    assert isinstance(node, kind)
    assert {name: getattr(node, name) for name in fields} == fields


def test_calls_and_lists_may_take_several_lines() -> None:
    call = value("f.g(\n  1,\n  a = [\n    x.y,\n  ],\n)")
    assert isinstance(call, Call)
    assert str(call.function) == "f.g"
    assert isinstance(call.arguments[1].value, List)
    assert call.span.text.endswith(")")


def test_words_are_words_only_where_the_grammar_wants_them() -> None:
    node = statement("from from by.to { in = times }")
    assert str(node.kind) == "from"
    assert node.name is None
    (clause,) = node.clauses
    assert (clause.word, str(clause.value)) == ("from", "by.to")
    assert node.body is not None
    (field,) = node.body
    assert isinstance(field, Statement)
    assert (str(field.kind), str(field.value)) == ("in", "times")


def test_blocks_on_one_line() -> None:
    node = statement("a { b = 1, c = 2, }")
    assert node.body is not None
    assert [str(child.kind) for child in node.body if isinstance(child, Statement)] == ["b", "c"]
    assert statement("a { }").body == ()
    assert statement("a").body is None


def test_documentation_belongs_to_the_statement_below() -> None:
    node = statement("# a comment\n### and another\n## Says what.\n\na {\n  ## Inner.\n  b\n}")
    assert node.docs == ("Says what.",)
    assert node.body is not None
    assert node.body[0].docs == ("Inner.",)


@pytest.mark.parametrize("text", ["", "\n", "  ", "# only a comment", "a", "a # comment", "\n\n a\n \n"])
def test_the_last_line_end_may_be_missing(text: str) -> None:
    clean(text)


def test_trees_are_equal_when_they_say_the_same() -> None:
    left = clean('a: text = "x"   # comment\n\n\nb { c }\n')
    right = clean('a:text="x"\nb {\n  c\n}')
    assert left == right
    assert left != clean('a: text = "y"\nb { c }')


@pytest.mark.parametrize("name", RECIPES)
def test_line_ends_of_other_systems(name: str) -> None:
    text = RECIPES[name]
    there, diagnostics = parse(Source(name, text.replace("\n", "\r\n")))
    assert not diagnostics
    check_spans(there)
    assert there == parse(Source(name, text))[0]


def test_a_name_that_is_a_quoted_text() -> None:
    assert isinstance(value('"a"'), Text)
