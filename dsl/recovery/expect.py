"""How a fault of syntax is worded: what was expected, what was found, what to write.

The expectation follows from what was read last, never from the parser's table: after `=`
comes a value, whatever else the grammar could go on with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import category, digit, normalize

from synth.base.display import code_point, quoted
from synth.dsl.recovery.automaton import BAD

if TYPE_CHECKING:
    from lark import Token

CLAUSE_WORDS = frozenset({"BY", "FROM", "TO", "TIMES", "OF", "OVER"})
TEXTS = frozenset({"STRING", "TEXT", "RAW_TEXT", "UNTERMINATED"})
NUMBERS = frozenset({"INT", "NUMBER", "RATIO", "DURATION", "RANGE", "BAD_UNIT"})
LITERALS = TEXTS | NUMBERS | {"TRUE", "FALSE"}

_TYPE_TOKENS = frozenset({"NAME", "LESSTHAN", "MORETHAN", "COMMA", "LPAR", "RPAR", "RANGE", "OPTIONAL"})
_CLOSERS = {"LPAR": "`)`", "LSQB": "`]`", "LESSTHAN": "`>`"}

# What a field that every recipe knows is set to; only for examples in hints.
_EXAMPLES = {
    "temperature": ("a number", "0.7"),
    "top_p": ("a number", "0.9"),
    "similarity": ("a number", "0.9"),
    "max_tokens": ("a count", "300"),
    "retry": ("a count", "3"),
    "seed": ("a count", "11"),
    "split": ("a share", "95%"),
    "prompt": ("a text", '"Say hello."'),
    "system": ("a text", '"Be brief."'),
    "train_on": ("a list of turns", "[answer]"),
    "columns": ("a list of names", "[identity.world]"),
    "tags": ("a list of texts", '["negative"]'),
    "sees": ("a word", "transcript"),
}

_AFTER = {
    "COLON": ("a type", "such as `text`, `count` or `model<chat>`"),
    "LESSTHAN": ("a type", "such as `list<text>` or `model<chat>`"),
    "BY": ("a model", "the name of a `model`, such as `by author`"),
    "FROM": ("a source", 'such as `from worlds` or `from jsonl("data.jsonl")`'),
    "TO": ("a path", 'such as `to "out/train"`'),
    "TIMES": ("a count", "such as `times 50`"),
    "OF": ("an export", "such as `of train`"),
    "OVER": ("a name", "such as `over topic in topics`"),
    "IN": ("a set", "such as `over topic in topics`"),
    "WHEN": ("a name", "such as `when hard` or `when topic.name in [law]`"),
    "UNLESS": ("a name", "such as `unless hard` or `unless topic.name in [law]`"),
    "DOT": ("a name", "a field stands after the dot, such as `topic.about`"),
    "LSQB": ("a value", "such as `[2, 4, 6]`"),
}

CONDITION_WORDS = frozenset({"WHEN", "UNLESS"})

# What other languages write in conditions.
_COMPARED = {
    "=": "`in` compares: `when words in [2, 4]`, `when words in 3..`",
    "!": "`unless` is the opposite of `when`",
    "<": "a range has both ends in it: `when words in ..3`",
    ">": "a range has both ends in it: `when words in 3..`",
    "&": "several conditions stand side by side, and all must hold: `when hard when long`",
    "|": "what holds in several cases is a list: `when words in [2, 4]`",
}
_JOINED = {
    "and": _COMPARED["&"],
    "or": _COMPARED["|"],
    "is": _COMPARED["="],
    "not": _COMPARED["!"],
}

# What other languages write before a text.
_PREFIXES = frozenset({"f", "F", "b", "u", "fr", "rf"})

_SIGNS = {
    "'": 'a text stands between double quotes: `"..."`',
    ";": "a statement ends with its line",
    "+": "values are written out, not computed",
    "*": "values are written out, not computed",
    "-": "values are written out, not computed",
    "/": "a comment begins with `#`",
    "\\": "a line goes on only inside brackets",
    "%": "a share is written without a space: `40%`",
}

_LOOKALIKES = {
    **dict.fromkeys("“”„‟«»″", '"'),
    **dict.fromkeys("‘’‚‛`´′", '"'),
    **dict.fromkeys("‐‑‒–—−", "-"),
    "،": ",",
    "؛": ";",
    "٪": "%",
    "。": ".",
}


@dataclass(frozen=True, slots=True)
class Context:
    """Where the parser stood: the tokens of the statement so far, the innermost open bracket
    (its token type, or ""), whether a statement was due, and whether the block is on one line."""

    statement: Sequence[Token]
    bracket: str
    at_start: bool
    one_line: bool

    @property
    def in_type(self) -> bool:
        """Whether a type was being read."""
        kinds = (token.type for token in reversed(self.statement))
        return next((kind for kind in kinds if kind not in _TYPE_TOKENS), "") == "COLON"

    @property
    def in_condition(self) -> bool:
        """Whether a condition was being read, or has been."""
        return any(token.type in CONDITION_WORDS for token in self.statement)


# How many, as it is said of things: `x5`, `x 5`, `* 5`.
_TIMES = re.compile(r"[xX×*](?P<count>\d*)")


_BOUNDS = "bounds are two numbers, `(1..700)`, or one: `(1..)`, `(..700)`"


def expectation(context: Context) -> tuple[str, str]:
    """What was expected, and a hint."""
    if context.at_start or not context.statement:
        return "a statement", "a statement begins with its kind, such as `turn answer: model { }`"
    last = context.statement[-1]
    before = context.statement[-2] if len(context.statement) > 1 else None
    if last.type == "IN" and context.in_condition:
        return "a list or a range", "such as `when topic.name in [law, art]` or `when words in 3..`"
    if last.type == "EQUAL":
        return "a value", _example(before)
    if context.bracket == "LPAR" and context.in_type:
        return ("a range", "such as `1..700`") if last.type == "LPAR" else ("`)`", _BOUNDS)
    if last.type in _AFTER:
        return _AFTER[last.type]
    if last.type in ("COMMA", "LPAR"):
        return ("a type", "such as `text`") if context.bracket == "LESSTHAN" else ("a value", "")
    if before is not None and before.type == "OVER":
        return "`in`", "such as `over topic in topics`"
    if context.bracket in _CLOSERS:
        return f"`,` or {_CLOSERS[context.bracket]}", ""
    if len(context.statement) == 1 and last.type == "NAME":
        return "a name, `:`, `=` or `{`", ""
    if len(context.statement) == 2 and last.type == "NAME":
        return "`:`, `=` or `{`", "a type stands after a colon, a value after `=`"
    if len(context.statement) > 1 and context.statement[1].type == "DOT":
        return "`(`", "only what is called has dots here: `lib.check(topic)`"
    if context.one_line:
        return "`,` or `}`", ""
    return "the end of the line", ""


def _example(name: Token | None) -> str:
    if name is None or name.type != "NAME":
        return "a number, a text in quotes, a name or a list"
    what, value = _EXAMPLES.get(str(name), ("a value", "10"))
    return f"{what} such as `{name} = {value}`"


def description(token: Token, at_end: bool) -> str:
    """What was found.  `at_end` says that nothing follows in the file."""
    if token.type == "$END" or (token.type == "_NL" and at_end):
        return "the end of the file"
    if token.type == "_NL":
        return "the end of the line"
    if token.type in TEXTS:
        return "a text"
    if token.type == BAD and category(token[0])[0] in "CZ":
        return f"the character {code_point(token[0])}"
    return quoted(str(token))


def advice(token: Token, context: Context) -> str:
    """A hint that follows from what was found, or ""."""
    if meant := _known_elsewhere(token, context):
        return meant
    if context.bracket in ("", "LBRACE") and (meant := _of_condition(token, context)):
        return meant
    if token.type == BAD:
        if category(token[0])[0] in "CZ":
            return "it looks like a space or like nothing, and is neither"
        if lookalike(str(token)) is not None:
            return "it only looks like the character that is meant"
        if token[0].isalnum():
            return "names are written with the letters a to z, digits and `_`"
        if token[0] == ";" and context.one_line:
            return "a comma stands between two statements on one line"
        if token[0] in "/.~" and any(item.type == "TO" for item in context.statement[-2:]):
            return 'a path stands in quotes: `to "out/train"`'
        return _SIGNS.get(token[0], "")
    first = str(context.statement[0]) if context.statement else ""
    if first == "draw" and str(token) == "in":
        return (
            "what is drawn comes `from` a set: `draw name from names`; `over name in names` is a row for each"
        )
    if context.at_start:
        if token.type in LITERALS or token.type == "LSQB":
            return "a value stands after `=`, as in `name = value`"
        return ""
    last = context.statement[-1] if context.statement else None
    if last is not None and last.type == "COLON" and len(context.statement) > 1 and _is_value(token):
        return f"a value stands after `=`: `{context.statement[-2]} = {_shortly(token)}`"
    if last is not None and token.type in TEXTS and token.start_pos == last.end_pos and last in _PREFIXES:
        return f"a text needs no `{last}` before it: every text can hold `{{{{ name }}}}`"
    seen = {item.type for item in context.statement}
    if token.type in CLAUSE_WORDS and context.in_condition:
        return f"`{token}` stands before the condition"
    if token.type in CLAUSE_WORDS and "EQUAL" in seen:
        return f"`{token}` stands before `=`"
    if token.type == "COLON" and context.bracket != "LPAR":
        return "the type stands right after the name, as in `name: type`"
    if token.type in ("INT", "RATIO") and context.bracket in ("", "LBRACE") and "EQUAL" not in seen:
        return "a quantity stands right after the name or its type"
    if token.type == "LBRACE" and context.bracket in ("LPAR", "LSQB"):
        return "braces hold statements; a value is a text, a number, a name, a call or a list"
    return ""


def _of_condition(token: Token, context: Context) -> str:
    """How a condition is written that another language writes so, or ""."""
    if token.type == "NAME" and str(token) in ("when", "unless"):
        return f"a name stands behind it on the same line: `{token} hard`, `{token} topic.name in [law]`"
    if str(token) == "if" and len(context.statement) > 2:
        return "a condition begins with `when` or `unless`, and stands last before the braces"
    if not context.in_condition:
        return ""
    if str(context.statement[-1]) == "not":
        return _COMPARED["!"]
    if token.type == "EQUAL":
        return f"{_COMPARED['=']}; a value stands before the condition"
    return _JOINED.get(str(token), "") or _COMPARED.get(str(token)[:1], "")


def _known_elsewhere(token: Token, context: Context) -> str:
    """How what other languages write so is written here: how many, and what comes from another file."""
    words = [str(word) for word in context.statement]
    if words[:1] == ["conversation"] and len(words) > 1 and not context.bracket:
        after_sign = token.type == "INT" and words[-2] == "times" and _TIMES.fullmatch(words[-1])
        sign = None if token.type == "INT" else _TIMES.fullmatch(str(token))
        if after_sign or sign is not None:
            count = str(token) if sign is None else sign["count"] or "10"
            return f"how many stands after `times`: `conversation {words[1]} times {count}`"
    if words[:1] in (["import"], ["include"]) or (words[:1] == ["from"] and str(token) == "import"):
        return 'what another file declares comes by `use`: `use house_style from "lib/house_style.recipe"`'
    return ""


def _is_value(token: Token) -> bool:
    return token.type in LITERALS or token.type == "LSQB"


def _shortly(token: Token) -> str:
    return "..." if token.type in TEXTS or token.type == "LSQB" or len(token) > 20 else str(token)


def lookalike(text: str) -> str | None:
    """What was probably meant by characters outside ASCII, or None."""
    if text in _LOOKALIKES:
        return _LOOKALIKES[text]
    if all(digit(char, -1) >= 0 for char in text):
        plain = "".join(str(digit(char)) for char in text)
    else:
        plain = normalize("NFKC", text)
    return plain if plain != text and plain.isascii() and plain.isprintable() and plain.strip() else None
