"""Writes `recipe.tmLanguage.json`, the TextMate grammar by which editors colour recipes.

    python -m editors.generate

The words come from the compiler's tables: which statements may stand in a block, which checks
and filters there are, which types.  So a word has its colour only where it has its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args

from synth.compiler.bind.declarations.exports import FORMS
from synth.compiler.bind.expressions.kinds import HOLDERS, Arity, Block, Kind
from synth.compiler.plan.steps import Role
from synth.compiler.plan.types import BUILT_IN_SCHEMAS, CAPABILITIES, SCALARS
from synth.compiler.stdlib.checks import CHECKS
from synth.compiler.stdlib.filters import FILTERS

PATH = Path(__file__).with_name("recipe.tmLanguage.json")

# Types that are put together, and those of what is not written in a recipe: no table has them.
OTHER_TYPES = ("enum", "list", "json", "model", "chunk", *FORMS)

# The holder of what stands in the braces of statements that no table knows.
ANY = "any"

Rule: TypeAlias = dict[str, Any]

NAME = "[A-Za-z_][A-Za-z0-9_]*"
# Words behind which `when` and `unless` are names.
_NO_CONDITION = ("by", "from", "to", "times", "of", "over", "in", "when", "unless")
_DIGITS = "[0-9][0-9_]*"
_DECIMAL = rf"{_DIGITS}(?:\.[0-9]+)?"
_NO_LESS = "(?<![A-Za-z0-9_.])"
_NO_MORE = "(?![A-Za-z0-9_])"
_SPACE = r"[ \t\f]*"
_DOTTED = rf"{NAME}(?:{_SPACE}\.{_SPACE}{NAME})*"
# A statement ends with its line, with its braces, or before what separates it from the next.
_STATEMENT_END = r"(?<=\})|(?=[,}])|$"


def grammar() -> dict[str, Any]:
    """The grammar, as JSON."""
    repository: dict[str, Rule] = {}
    for name, holder in {ANY: Block("anything", rules=True), **HOLDERS}.items():
        if name == ANY or name in _held():
            inside = [_include("comments"), *_statements(holder)]
            repository[f"block-{name}"] = _brackets(r"\{", r"(\})", "block", inside)
    return {
        "name": "Recipe",
        "scopeName": "source.recipe",
        "fileTypes": ["recipe"],
        "patterns": [_include("comments"), *_statements(root())],
        "repository": {**repository, **_heads(), **_values(), **_texts()},
    }


def root() -> Block:
    """What stands in no braces: the statements of a recipe, and of a library."""
    roots = [holder for name, holder in HOLDERS.items() if name not in _held()]
    return Block("a file", {word: kind for holder in roots for word, kind in holder.kinds.items()})


def _held() -> set[str | None]:
    """The holders that stand in the braces of a statement."""
    return {kind.holds for holder in HOLDERS.values() for kind in _all_kinds(holder)}


def _all_kinds(holder: Block) -> list[Kind]:
    return [*holder.kinds.values(), *([holder.member] if holder.member else [])]


def text() -> str:
    """The grammar as the file has it."""
    return json.dumps(grammar(), indent=1, ensure_ascii=False) + "\n"


# Statements -----------------------------------------------------------------------------------


def _statements(holder: Block) -> list[Rule]:
    """The rules for what may stand in a holder."""
    rules = [_kinds(kinds) for kinds in _alike(holder.kinds)]
    if holder.rules:
        rules.append(_statement(rf"({_words(CHECKS)})(?={_SPACE}\()", ["support.function.check"]))
        rules.append(_statement(rf"({_DOTTED})(?={_SPACE}\()", ["entity.name.function"]))
    member = holder.member
    scope = "variable.other" if member is None else "variable.other.member"
    rules.append(_statement(f"({NAME})", [scope], (member.holds if member else None) or ANY))
    return rules


def _alike(kinds: Mapping[str, Kind]) -> list[list[Kind]]:
    """Kinds that look the same but for their word, together."""
    found: dict[tuple[Any, ...], list[Kind]] = {}
    for kind in kinds.values():
        look = (kind.field is None, _field_words(kind), kind.name is Arity.NO, kind.holds)
        found.setdefault(look, []).append(kind)
    return list(found.values())


def _kinds(kinds: list[Kind]) -> Rule:
    first = kinds[0]
    begin = f"({_words(kind.word for kind in kinds)}){_NO_MORE}"
    scopes = ["keyword.control" if first.field is None else "support.type.property-name"]
    if first.name is not Arity.NO:
        begin += rf"(?:[ \t\f]+({NAME}))?"
        scopes.append("entity.name")
    words = _field_words(first)
    constants = [_match(f"({_words(words)}){_NO_MORE}", ["constant.language"])] if words else []
    return _statement(begin, scopes, first.holds or ANY, constants)


def _field_words(kind: Kind) -> tuple[str, ...]:
    """The words that a field takes for its value."""
    return kind.field.words if kind.field is not None else ()


def _statement(begin: str, scopes: list[str], holds: str = ANY, constants: Iterable[Rule] = ()) -> Rule:
    value = _value(constants) if constants else _include("value")
    inside = [_include(f"block-{holds}"), value, _include("head")]
    return _span(begin, _STATEMENT_END, begin_scopes=scopes, patterns=inside)


def _value(constants: Iterable[Rule] = ()) -> Rule:
    """A statement's value; `constants` are what else than values of any kind may stand there."""
    assign = ["keyword.operator.assignment"]
    inside = [*constants, _include("condition"), _include("values")]
    return _span("(=)", r"(?=[{},])|$", begin_scopes=assign, patterns=inside)


def _heads() -> dict[str, Rule]:
    """What stands between a statement's kind and its value."""
    types = _words((*SCALARS, *OTHER_TYPES, *get_args(Role), *BUILT_IN_SCHEMAS))
    clauses = [word for holder in HOLDERS.values() for kind in _all_kinds(holder) for word in kind.clauses]
    colon, clause = "punctuation.separator.type", "keyword.other.clause"
    return {
        "head": _patterns(
            _include("enum"),
            _include("condition"),
            _match(rf"(:){_SPACE}({types}){_NO_MORE}", [colon, "support.type"]),
            _match(rf"(:){_SPACE}({NAME})", [colon, "entity.name.type"]),
            _include("type-arguments"),
            _match(r"(\?)", ["keyword.operator.optional"]),
            _match(
                rf"{_NO_LESS}(over)[ \t\f]+({NAME})[ \t\f]+(in){_NO_MORE}",
                [clause, "variable.parameter", clause],
            ),
            _match(f"{_NO_LESS}({_words(clauses)})(?![A-Za-z0-9_.])", [clause]),
            _include("values"),
        ),
        "condition": _span(
            rf"{_NO_LESS}(when|unless)(?=[ \t]+(?!(?:{_words(_NO_CONDITION)}){_NO_MORE})[A-Za-z_])",
            r"(?=[{},])|$",
            begin_scopes=[clause],
            patterns=[
                _include("condition"),
                _match(rf"{_NO_LESS}(in){_NO_MORE}", [clause]),
                _include("values"),
            ],
        ),
        "enum": _span(
            rf"(?:(:){_SPACE})?(enum){_SPACE}(<)",
            "(>)|$",
            begin_scopes=[colon, "support.type", "punctuation.section"],
            end_scopes=["punctuation.section"],
            patterns=[_match(f"({NAME})", ["constant.other.enum"])],
        ),
        "type-arguments": _brackets(
            "<",
            "(>)|$",
            "type",
            [
                _include("enum"),
                _match(f"({types}){_NO_MORE}", ["support.type"]),
                _match(f"({_words(CAPABILITIES)}){_NO_MORE}", ["support.constant.capability"]),
                _match(f"({NAME})", ["entity.name.type"]),
                _match(r"(\?)", ["keyword.operator.optional"]),
                _include("type-arguments"),
                _include("values"),
            ],
        ),
    }


# Values ---------------------------------------------------------------------------------------


def _values() -> dict[str, Rule]:
    # What is left open ends where a brace shows that it was to be closed.
    return {
        "value": _value(),
        "values": _patterns(
            *map(_include, ("comments", "text-block", "raw-block", "string", "numbers", "words")),
            _include("arguments"),
            _brackets(r"\[", r"(\])|(?=[{}])", "list", [_include("values")]),
        ),
        "arguments": _arguments(r"(\))|(?=[{}])", "values"),
        "words": _patterns(
            _match(f"(true|false){_NO_MORE}", ["constant.language.boolean"]),
            _match(rf"({NAME}(?:\.{NAME})*)(?={_SPACE}\()", ["entity.name.function"]),
            _match(f"({_DOTTED})", ["variable.other"]),
        ),
        "numbers": _patterns(
            _match(
                rf"((?:-?{_DECIMAL})?)(\.\.)((?:-?{_DECIMAL})?)",
                ["constant.numeric.range", "keyword.operator.range", "constant.numeric.range"],
            ),
            _match(f"({_DECIMAL})(%)", ["constant.numeric.ratio", "keyword.other.unit"]),
            _match(f"({_DECIMAL})(ms|s|m|h){_NO_MORE}", ["constant.numeric.duration", "keyword.other.unit"]),
            _match(f"(-?{_DECIMAL}[A-Za-z][A-Za-z0-9_]*)", ["invalid.illegal.unit"]),
            _match(f"(-?{_DECIMAL})", ["constant.numeric"]),
        ),
        "comments": _patterns(
            _match("(##(?!#).*)$", ["comment.block.documentation"]),
            _match("(#.*)$", ["comment.line.number-sign"]),
        ),
    }


def _arguments(end: str, values: str) -> Rule:
    named = _match(rf"({NAME}){_SPACE}(=)", ["variable.parameter", "keyword.operator.assignment"])
    return _brackets(r"\(", end, "arguments", [named, _include(values)])


# Texts ----------------------------------------------------------------------------------------


def _texts() -> dict[str, Rule]:
    quote = "punctuation.definition.string"
    escapes = [
        _match(r'(\\(?:[nt"\\]|u\{[0-9A-Fa-f]{1,6}\}))', ["constant.character.escape"]),
        _match(r"(\\.)", ["invalid.illegal.escape"]),
    ]
    block_end = rf'^{_SPACE}(""")'
    return {
        "string": _span(
            '(")', '(")|$', "string.quoted.double", [quote], [quote], [*escapes, _include("reference")]
        ),
        "plain-string": _span('(")', '(")|$', "string.quoted.double", [quote], [quote], escapes),
        "text-block": _span(
            rf'(""")(?={_SPACE}$)',
            block_end,
            "string.quoted.triple",
            [quote],
            [quote],
            [_include("reference")],
        ),
        "raw-block": _span(rf'(r""")(?={_SPACE}$)', block_end, "string.quoted.triple.raw", [quote], [quote]),
        "reference": _span(
            r"(\{\{)(?!\{)",
            r"(\}\})|$",
            "meta.template",
            ["punctuation.section.template"],
            ["punctuation.section.template"],
            [
                _match(
                    rf"(\|){_SPACE}({_words(FILTERS)}){_NO_MORE}",
                    ["keyword.operator.pipe", "support.function.filter"],
                ),
                _match(rf"(\|){_SPACE}({NAME})", ["keyword.operator.pipe", "entity.name.function"]),
                _include("in-reference"),
            ],
        ),
        # Nothing in a reference goes beyond its line.
        "in-reference": _patterns(
            *map(_include, ("plain-string", "numbers", "words")), _arguments(r"(\))|(?=\})|$", "in-reference")
        ),
    }


# Pieces of a grammar --------------------------------------------------------------------------


def _words(words: Iterable[str]) -> str:
    return "|".join(dict.fromkeys(words))


def _include(name: str) -> Rule:
    return {"include": f"#{name}"}


def _patterns(*rules: Rule) -> Rule:
    return {"patterns": list(rules)}


def _captures(scopes: Iterable[str]) -> dict[str, Rule]:
    return {str(number): {"name": f"{scope}.recipe"} for number, scope in enumerate(scopes, 1)}


def _match(regex: str, scopes: list[str]) -> Rule:
    """What a regular expression finds; each of its groups has a scope."""
    return {"match": regex, "captures": _captures(scopes)}


def _span(
    begin: str,
    end: str,
    name: str = "",
    begin_scopes: Iterable[str] = (),
    end_scopes: Iterable[str] = (),
    patterns: Iterable[Rule] = (),
) -> Rule:
    """All from one regular expression to another, on as many lines as that takes."""
    rule: Rule = {"name": f"{name}.recipe"} if name else {}
    rule |= {"begin": begin, "beginCaptures": _captures(begin_scopes), "end": end}
    rule |= {"endCaptures": _captures(end_scopes), "patterns": list(patterns)}
    return {key: value for key, value in rule.items() if value}


def _brackets(opener: str, end: str, name: str, patterns: Iterable[Rule]) -> Rule:
    bracket = ["punctuation.section"]
    return _span(f"({opener})", end, f"meta.{name}", bracket, bracket, patterns)


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8", newline="\n")
