"""The syntax tree: what was written, and where.

Every node carries its span, which does not count in comparisons: two trees are equal
when they say the same thing.  Nothing here knows which kinds of statement exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from synth.base.diagnostics.source import Source, Span


@dataclass(frozen=True, slots=True)
class Name:
    text: str
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.text


# Values -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Integer:
    value: int
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A number with a point or a minus sign."""

    value: Decimal
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Ratio:
    """`40%`; `percent` is 40."""

    percent: Decimal
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Duration:
    """`30s`, `1.5h`, in seconds; `written` keeps the unit."""

    seconds: Decimal
    written: str = field(compare=False)
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Range:
    """`2..8`, `2..`, `..8`, `-0.5..1.5`; both ends count.  An end with a point is a `Decimal`."""

    low: int | Decimal | None
    high: int | Decimal | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Boolean:
    value: bool
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Filter:
    """`| numbered` or `| join(", ")` in a template."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Interpolation:
    """`{{ value | filter }}`; the span covers the braces."""

    value: Expression
    filters: tuple[Filter, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A string or a text block.

    `parts` are the pieces in order, with escapes resolved and a block's common
    indentation and last line end removed; neighbouring strings are merged and empty ones
    dropped.  `quotes` is `"`, `\"\"\"` or `r\"\"\"`.
    """

    parts: tuple[str | Interpolation, ...]
    quotes: str
    span: Span = field(compare=False, repr=False)

    @property
    def plain(self) -> str | None:
        """The text when it holds no interpolation, else None."""
        if not self.parts:
            return ""
        first = self.parts[0]
        return first if len(self.parts) == 1 and isinstance(first, str) else None


@dataclass(frozen=True, slots=True)
class Reference:
    """`world.about`."""

    parts: tuple[Name, ...]
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return ".".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class Argument:
    """A call's argument; `name` is None when it is positional."""

    name: Name | None
    value: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    function: Reference
    arguments: tuple[Argument, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class List:
    items: tuple[Expression, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A value that was reported already; whoever meets it says nothing more."""

    span: Span = field(compare=False, repr=False)


Expression = Integer | Number | Ratio | Duration | Range | Boolean | Text | Reference | Call | List | Damaged


# Types --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TypeName:
    """`text(1..700)?`, `json<list<Message>(2..6)>`."""

    name: Name
    arguments: tuple[TypeName, ...]
    bounds: Range | None
    optional: bool
    span: Span = field(compare=False, repr=False)


# Statements -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clause:
    """`by author`, `from x`, `to "out"`, `times 50`, `over scenario in scenarios`.

    `name` is what `over` binds, and None for the others.
    """

    word: str
    name: Name | None
    value: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """`when hard`, `unless topic.name in [law, art]`, `when exchanges in 3..`.

    `values` is what stands after `in`, and None where the reference is the condition.
    """

    negated: bool
    reference: Reference
    values: Expression | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Statement:
    """`kind name: type quantity clause... = value when condition { body }`.

    `body` is None when there are no braces.  `docs` are the texts of the `##` lines above.
    `scale` is the quantity of a member that has a value besides: `helpful 1..5 = "..."`.
    `damaged` marks a statement of which a part did not parse: its name is then poisoned.
    The span covers the statement without its docs.
    """

    kind: Name
    name: Name | None
    type: TypeName | None
    quantity: Integer | Ratio | None
    clauses: tuple[Clause, ...]
    value: Expression | None
    body: tuple[Statement | Rule, ...] | None
    docs: tuple[str, ...]
    span: Span = field(compare=False, repr=False)
    damaged: bool = field(default=False, compare=False)
    conditions: tuple[Condition, ...] = ()
    scale: Range | None = None

    def clause(self, word: str) -> Clause | None:
        """The first clause with this word."""
        return next((clause for clause in self.clauses if clause.word == word), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """A statement that is a call: `length(40..400)`, `shop.promises(order)`."""

    function: Reference
    arguments: tuple[Argument, ...]
    docs: tuple[str, ...]
    span: Span = field(compare=False, repr=False)

    @property
    def name(self) -> Name:
        """What is called, with its dots."""
        return Name(str(self.function), self.function.span)


@dataclass(frozen=True, slots=True)
class Syntax:
    """One file: its statements in order, and the source they came from.

    `poisoned` holds the names of statements that were dropped for not parsing: a use of
    one of them is not reported again.
    """

    statements: tuple[Statement | Rule, ...]
    poisoned: frozenset[str] = field(compare=False)
    source: Source = field(compare=False, repr=False)
