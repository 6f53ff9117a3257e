"""`where`: a filter over passages, read here and only then written as the table's SQL.

    folder = 'fees'          year >= 2024          document like 'guides/%'
    folder in ('fees', 'rooms') and not title is null

A passage that lacks a value equals nothing and is unlike everything.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from synth.base.display import quoted
from synth.base.suggest import suggest
from synth.runtime.retrieval.errors import BadFilter

# The table's own columns; every other name is metadata.
COLUMNS = {"id": "text", "document": "text", "heading": "text", "text": "text", "ordinal": "number"}

_LONGEST = 4_000
_DEEPEST = 32
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<number>-?\d{1,15}(?:\.\d{1,15})?)(?![\w.])
    | (?P<quoted>`[^`]+`)
    | (?P<name>[^\W\d][\w.-]*)
    | (?P<sign><=|>=|!=|<>|[=<>(),])
    )""",
    re.VERBOSE,
)
_WORDS = frozenset(("and", "or", "not", "in", "is", "null", "like", "true", "false"))
_EXAMPLE = "write one such as folder = 'fees' and year >= 2024"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def to_sql(where: str, keys: Collection[str], name: str) -> str:
    """The SQL of a filter over a table whose passages have the metadata `keys`.

    `name` is the source's, for errors.  Raises BadFilter.
    """
    parser = _Parser(where, _tokens(where), keys, name)
    sql = parser.either()
    if parser.peek() is not None:
        raise parser.fault()
    return sql


def _tokens(where: str) -> list[_Token]:
    if len(where) > _LONGEST:
        raise BadFilter(f"`where` has {len(where)} characters, and {_LONGEST} are the most: shorten it")
    tokens, at = [], 0
    end = len(where.rstrip())
    while at < end:
        match = _TOKEN.match(where, at)
        if match is None or match.lastgroup is None:
            raise BadFilter(
                f"`where` cannot be read from {quoted(where[at:].strip(), 30)} on: {_EXAMPLE}, texts in '...'"
            )
        kind, text = match.lastgroup, match[match.lastgroup]
        if kind == "name" and text.lower() in _WORDS:
            kind, text = "word", text.lower()
        tokens.append(_Token(kind, text))
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent: or, and, not, then one comparison."""

    def __init__(self, where: str, tokens: list[_Token], keys: Collection[str], name: str) -> None:
        self._where = where
        self._tokens = tokens
        self._keys = keys
        self._name = name
        self._at = 0
        self._depth = 0

    def peek(self) -> str | None:
        return self._tokens[self._at].text if self._at < len(self._tokens) else None

    def fault(self) -> BadFilter:
        place = quoted(self.peek() or "", 30) if self.peek() is not None else "its end"
        return BadFilter(f"the filter {quoted(self._where, 80)} cannot be read at {place}: {_EXAMPLE}")

    def either(self) -> str:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return " OR ".join(parts) if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _both(self) -> str:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return " AND ".join(parts) if len(parts) == 1 else f"({' AND '.join(parts)})"

    def _not(self) -> str:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BadFilter(f"the filter {quoted(self._where, 80)} is nested too deeply: write it flatter")
        try:
            if self._take("not"):
                return f"NOT {self._not()}"
            if self._take("("):
                inner = self.either()
                self._expect(")")
                return f"({inner})"
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> str:
        column = self._column()
        if self._take("is"):
            negated = self._take("not")
            self._expect("null")
            return f"({self._value(column, 'text')} IS {'NOT ' if negated else ''}NULL)"
        negated = self._take("not")
        if self._take("in"):
            return self._among(column, negated)
        if self._take("like"):
            if self._at < len(self._tokens) and self._tokens[self._at].kind == "number":
                raise self.fault()
            _, pattern = self._literal()
            return _decided(f"{self._value(column, 'text')} {'NOT ' * negated}LIKE {pattern}", negated)
        sign = self.peek()
        if negated or sign not in ("=", "!=", "<>", "<", "<=", ">", ">="):
            raise self.fault()
        self._at += 1
        kind, literal = self._literal()
        unequal = sign in ("!=", "<>")
        return _decided(f"{self._value(column, kind)} {'!=' if unequal else sign} {literal}", unequal)

    def _among(self, column: str, negated: bool) -> str:
        self._expect("(")
        literals = [self._literal()]
        while self._take(","):
            literals.append(self._literal())
        self._expect(")")
        parts = [_decided(f"{self._value(column, kind)} = {literal}", False) for kind, literal in literals]
        return f"{'NOT ' * negated}({' OR '.join(parts)})"

    def _column(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token is None or token.kind not in ("name", "quoted"):
            raise self.fault()
        self._at += 1
        name = token.text.strip("`")
        if name not in COLUMNS and name not in self._keys:
            known = [*COLUMNS, *sorted(self._keys)]
            guess = suggest(name, known)
            columns = ", ".join(f"`{column}`" for column in known[:12])
            raise BadFilter(
                f"no passage of `{self._name}` has {quoted(name)}: "
                + (f"did you mean {quoted(guess)}?" if guess else f"filter by {columns}")
            )
        return name

    def _literal(self) -> tuple[str, str]:
        """The kind of a literal, and its SQL."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token is not None and token.kind in ("text", "number"):
            self._at += 1
            return token.kind, token.text
        if token is not None and token.text in ("true", "false"):
            self._at += 1
            return "text", f"'{token.text}'"
        raise self.fault()

    def _value(self, column: str, kind: str) -> str:
        """A column's SQL.  What is no number is not equal to one, nor more, nor less."""
        own = COLUMNS.get(column)
        if own is None:
            key = column.replace("'", "''")
            value = f"json_get_string(metadata, '{key}')"
        else:
            value = column
        if kind == (own or "text"):
            return value
        return f"try_cast({value} AS double)" if kind == "number" else f"cast({value} AS string)"

    def _take(self, text: str) -> bool:
        if self.peek() != text or self._tokens[self._at].kind not in ("word", "sign"):
            return False
        self._at += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self.fault()


def _decided(comparison: str, when_missing: bool) -> str:
    return f"coalesce({comparison}, {str(when_missing).lower()})"
