"""The editors' grammar: it follows the compiler's tables, and colours recipes as they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from editors.generate import PATH, grammar, root, text
from synth.compiler.bind.expressions.kinds import HOLDERS, Arity, Block, Kind
from synth.compiler.stdlib.checks import CHECKS
from synth.compiler.stdlib.filters import FILTERS
from synth.dsl import Source, Span, parse
from synth.dsl.syntax import (
    Duration,
    Integer,
    Interpolation,
    Number,
    Range,
    Ratio,
    Reference,
    Rule,
    Statement,
    Text,
    TypeName,
)
from tests.dsl.helpers import RECIPES, children

Scopes = tuple[str, ...]


def test_the_grammar_follows_the_tables() -> None:
    assert PATH.read_text("utf-8") == text(), "the tables have changed: run `python -m editors.generate`"


# A TextMate grammar, interpreted ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """A span that is open: the scopes inside it, and what ends it."""

    rule: dict[str, Any]
    scopes: Scopes


class Tokenizer:
    """Colours a text as editors do: line by line, the leftmost match first, and of several that
    begin at one place the end of the innermost span, or else the first in the grammar."""

    def __init__(self, grammar: dict[str, Any]) -> None:
        self.repository = grammar["repository"]
        self.bottom = Frame({"patterns": grammar["patterns"]}, (grammar["scopeName"],))
        self.candidates: dict[int, list[tuple[re.Pattern[str], dict[str, Any] | None]]] = {}

    def scopes(self, text: str) -> tuple[list[Scopes], int]:
        """The scopes of each character, and how many spans are still open at the end."""
        found: list[Scopes] = []
        stack = [self.bottom]
        for line in text.split("\n"):
            found += self.line(f"{line}\n", stack)
        return found[: len(text)], len(stack) - 1

    def line(self, line: str, stack: list[Frame]) -> list[Scopes]:
        scopes: list[Scopes] = [()] * len(line)
        at = 0

        def colour(start: int, end: int, *more: str) -> None:
            scopes[start:end] = [(*stack[-1].scopes, *more)] * (end - start)

        while True:
            match, rule = self.next(line, at, stack[-1].rule)
            colour(at, match.start() if match else len(line))
            if match is None:
                return scopes
            captures = "endCaptures"
            if rule is not None:
                captures = "beginCaptures" if "begin" in rule else "captures"
                if "begin" in rule:
                    stack.append(Frame(rule, (*stack[-1].scopes, *filter(None, [rule.get("name")]))))
            colour(*match.span())
            for number, capture in (rule or stack[-1].rule).get(captures, {}).items():
                if match[int(number)] is not None:
                    colour(*match.span(int(number)), capture["name"])
            if rule is None:
                stack.pop()
            at = match.end()

    def next(
        self, line: str, at: int, rule: dict[str, Any]
    ) -> tuple[re.Match[str] | None, dict[str, Any] | None]:
        if id(rule) not in self.candidates:
            own = [(re.compile(rule["end"]), None)] if "end" in rule else []
            self.candidates[id(rule)] = [*own, *self.expanded(rule.get("patterns", ()))]
        best: tuple[re.Match[str] | None, dict[str, Any] | None] = None, None
        for regex, candidate in self.candidates[id(rule)]:
            match = regex.search(line, at)
            if match and (best[0] is None or match.start() < best[0].start()):
                best = match, candidate
        return best

    def expanded(self, rules: Sequence[dict[str, Any]]) -> Iterator[tuple[re.Pattern[str], dict[str, Any]]]:
        for rule in rules:
            if "include" in rule:
                yield from self.expanded([self.repository[rule["include"].removeprefix("#")]])
            elif "match" in rule or "begin" in rule:
                yield re.compile(rule.get("match") or rule["begin"]), rule
            else:
                yield from self.expanded(rule["patterns"])


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer(grammar())


def coloured(text: str) -> dict[str, list[str]]:
    """The innermost scope of each word and sign of a text, by what is written."""
    scopes, _ = tokenizer().scopes(text)
    found: dict[str, list[str]] = {}
    for match in re.finditer(r"\w+|[^\w\s]", text):
        found.setdefault(match[0], []).append(scopes[match.start()][-1].removesuffix(".recipe"))
    return found


# The grammar itself -------------------------------------------------------------------------


def rules(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from rules(child)


def test_every_regular_expression_moves_on() -> None:
    """Each compiles, and those that begin something match at least one character."""
    found = 0
    for rule in rules(grammar()):
        for key in ("match", "begin", "end"):
            if key in rule:
                found += 1
                regex = re.compile(rule[key])
                assert key == "end" or not regex.search("\n"), rule[key]
    assert found > 50


def test_regular_expressions_mean_the_same_to_editors() -> None:
    """They keep to what Oniguruma and Python's `re` have in common, with the same meaning."""
    common = re.compile(
        r"""(?: \\[\\.{}()\[\]?|"tf]      # escapes
          | \[\^?(?:\\.|[^][\\&])+\]        # sets
          | \((?:\?(?:[:=!]|<[=!]))?       # groups, and looking ahead and behind
          | [)|.*+?^$]
          | \{1,6\}
          | [\w"#%=<>:{}-]                 # themselves
        )*""",
        re.VERBOSE | re.ASCII,
    )
    for rule in rules(grammar()):
        for key in ("match", "begin", "end"):
            assert key not in rule or common.fullmatch(rule[key]), rule[key]


def test_every_rule_is_used() -> None:
    included = {rule["include"] for rule in rules(grammar()) if "include" in rule}
    assert included == {f"#{name}" for name in grammar()["repository"]}


def test_the_grammar_is_json_with_what_editors_ask_for() -> None:
    found = json.loads(PATH.read_text("utf-8"))
    assert (found["scopeName"], found["fileTypes"]) == ("source.recipe", ["recipe"])


# Recipes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_coloured_as_they_are_read(name: str) -> None:
    source = Source(name, RECIPES[name])
    syntax, _ = parse(source)
    scopes, still_open = tokenizer().scopes(source.text)
    assert still_open == 0
    assert syntax.statements
    Look(source.text, scopes).statements(syntax.statements, root())


@dataclass(frozen=True, slots=True)
class Look:
    """Compares the scopes of a recipe with its syntax tree."""

    text: str
    scopes: list[Scopes]

    def at(self, span: Span, scope: str) -> None:
        """All of a span has a scope that begins so."""
        for offset in range(span.start, span.end):
            assert any(has.startswith(scope) for has in self.scopes[offset]), (span.text, scope)

    def statements(self, nodes: Sequence[Statement | Rule], holder: Block) -> None:
        for node in nodes:
            if isinstance(node, Rule):
                self.at(
                    node.name.span, "support.function.check" if node.name.text in CHECKS else "entity.name"
                )
            else:
                self.statement(node, holder.kinds.get(node.kind.text) or holder.member)
            self.values(node)

    def statement(self, node: Statement, kind: Kind | None) -> None:
        assert kind is not None, f"{node.kind} is in no table"
        if not kind.word:
            self.at(node.kind.span, "variable.other.member")
        elif kind.field is None:
            self.at(node.kind.span, "keyword.control")
        else:
            self.at(node.kind.span, "support.type.property-name")
        if node.name is not None and kind.name is not Arity.NO:
            self.at(node.name.span, "entity.name")
        if node.type is not None:
            self.type(node.type)
        for clause in node.clauses:
            start = clause.span.start
            self.at(Span(clause.span.source, start, start + len(clause.word)), "keyword.other.clause")
            if clause.name is not None:
                self.at(clause.name.span, "variable.parameter")
        for condition in node.conditions:
            start = condition.span.start
            word = "unless" if condition.negated else "when"
            self.at(Span(condition.span.source, start, start + len(word)), "keyword.other.clause")
            self.at(condition.reference.span, "variable.other")
        if node.body is not None:
            assert kind.holds is not None
            self.statements(node.body, HOLDERS[kind.holds])

    def type(self, node: TypeName) -> None:
        # The names of the recipes' own schemas are written with a capital, save for these.
        own = node.name.text[0].isupper() or node.name.text in ("craft", "opening", "technique")
        self.at(node.name.span, "entity.name.type" if own else "support.type")
        for argument in node.arguments:
            if node.name.text == "enum":
                self.at(argument.span, "constant.other.enum")
            elif node.name.text == "model":
                self.at(argument.span, "support.")
            else:
                self.type(argument)

    def values(self, node: Any) -> None:
        if isinstance(node, Text):
            self.at(node.span, "string.quoted")
        elif isinstance(node, Interpolation):
            self.at(node.span, "meta.template")
            for used in node.filters:
                known = used.name.text in FILTERS
                self.at(used.name.span, "support.function.filter" if known else "entity.name.function")
        elif isinstance(node, Reference):
            at = self.scopes[node.span.start][-1]
            named = ("variable.other", "entity.name.function", "constant.language", "support.function.check")
            assert at.startswith(named), node
        elif isinstance(node, (Integer, Number)):
            self.at(node.span, "constant.numeric")
        elif isinstance(node, (Ratio, Duration)):
            assert self.scopes[node.span.start][-1].startswith("constant.numeric")
            assert self.scopes[node.span.end - 1][-1] == "keyword.other.unit.recipe"
        elif isinstance(node, Range):
            dots = node.span.start + node.span.text.index("..")
            assert self.scopes[dots][-1] == "keyword.operator.range.recipe"
        for child in children(node):
            if not isinstance(child, (Statement, Rule)):
                self.values(child)


@pytest.mark.parametrize("name", RECIPES)
def test_comments_are_coloured_as_such(name: str) -> None:
    scopes, _ = tokenizer().scopes(RECIPES[name])
    found = list(re.finditer(r"^ *(#+)[^\n]*", RECIPES[name], re.MULTILINE))
    assert found
    for match in found:
        scope = (
            "comment.block.documentation.recipe" if match[1] == "##" else "comment.line.number-sign.recipe"
        )
        assert {scopes[at][-1] for at in range(match.start(1), match.end())} == {scope}


# Words where they do not mean what they mean elsewhere ----------------------------------------


def test_a_word_is_a_keyword_only_where_it_is_one() -> None:
    found = coloured("schema turn {\n  set: text\n  by: model\n}\nset draw: turn { check { seed = 1 } }\n")
    assert found["turn"] == ["entity.name", "entity.name.type"]
    assert found["set"] == ["variable.other.member", "keyword.control"]
    assert found["draw"] == ["entity.name"]
    assert found["by"] == found["check"] == found["seed"] == ["variable.other.member"]
    assert coloured("recipe r { draw x }")["draw"] == ["variable.other"]
    assert coloured("conversation c from from.by { draw x from y }")["draw"] == ["keyword.control"]


def test_a_rule_of_a_library_is_coloured_as_one() -> None:
    found = coloured("check plain { shop.promises (order) }")
    assert found["shop"] == found["promises"] == ["entity.name.function"]


def test_conditions() -> None:
    found = coloured("x: t by m when a.b in [c] unless d in -0.5..2 { when = unless }\ny = e when f { g }")
    assert found["when"] == ["keyword.other.clause", "variable.other", "keyword.other.clause"]
    assert found["unless"] == ["keyword.other.clause", "variable.other"]
    assert found["in"] == ["keyword.other.clause"] * 2
    assert [found[name] for name in "cdf"] == [["variable.other"]] * 3
    source = Source(
        "t", 'conversation c times 1 {\n turn a: user by b when d in [e] unless f { prompt = "" }\n}'
    )
    scopes, still_open = tokenizer().scopes(source.text)
    assert still_open == 0
    Look(source.text, scopes).statements(parse(source)[0].statements, root())


def test_the_words_of_a_field_are_coloured_in_it_alone() -> None:
    found = coloured(
        "conversation c times 1 {\n turn a: model by b { sees = transcript, stop = transcript }\n}"
    )
    assert found["transcript"] == ["constant.language", "variable.other"]


@pytest.mark.parametrize("damaged", ['prompt = "a', 'prompt = "{{ a"', 'prompt = "{{ f("', "sees: enum<a, b"])
def test_what_is_left_open_ends_with_its_line(damaged: str) -> None:
    found = coloured(f"conversation c times 1 {{\n turn a: user {{\n {damaged}\n }}\n draw d from e\n}}")
    assert found["draw"] == ["keyword.control"]


@pytest.mark.parametrize("damaged", ["stop = [1, 2", "prompt = f(1", "prompt = f([", "sees ="])
def test_what_is_left_open_ends_with_its_block(damaged: str) -> None:
    found = coloured(f"conversation c times 1 {{\n turn a: user {{\n {damaged}\n }}\n draw d from e\n}}")
    assert found["draw"] == ["keyword.control"]


def test_texts() -> None:
    found = coloured('a = "\\n \\q {{ x.y | json }} {{{ z }}}"\nb = r"""\n  {{ raw }}\n  """\n')
    assert found["n"] == ["constant.character.escape"]
    assert found["q"] == ["invalid.illegal.escape"]
    assert found["x"] == found["z"] == ["variable.other"]
    assert found["json"] == ["support.function.filter"]
    assert found["raw"] == ["string.quoted.triple.raw"]
    assert found["b"] == ["variable.other"]


def test_numbers_with_units() -> None:
    found = coloured("a = [1_000, -2.5, 40%, 1.5h, 250ms, 2..6, -0.5..1.5, 5x]")
    assert found["1_000"] == ["constant.numeric"]
    assert found["5x"] == ["invalid.illegal.unit"]
    assert found["%"] == ["keyword.other.unit"]
    scopes, _ = tokenizer().scopes("a = 250ms")
    assert [scope[-1] for scope in scopes[4:]] == ["constant.numeric.duration.recipe"] * 3 + [
        "keyword.other.unit.recipe"
    ] * 2
