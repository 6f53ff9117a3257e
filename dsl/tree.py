"""From Lark's tree to `Syntax`: values get their meaning, texts their parts.

What cannot have a meaning becomes `Damaged` and is reported here, once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence, Set
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from synth.base.diagnostics.diagnostic import Diagnostic, Fix
from synth.base.diagnostics.source import Span
from synth.base.display import quoted
from synth.dsl.recovery.brackets import MAX_DEPTH
from synth.dsl.recovery.prepare import Prepared
from synth.dsl.recovery.units import unit_advice
from synth.dsl.syntax import (
    Argument,
    Boolean,
    Call,
    Clause,
    Condition,
    Damaged,
    Duration,
    Expression,
    Filter,
    Integer,
    Interpolation,
    List,
    Name,
    Number,
    Range,
    Ratio,
    Reference,
    Rule,
    Statement,
    Text,
    TypeName,
)
from synth.dsl.template import HINT_LITERAL, Template

if TYPE_CHECKING:
    from lark import Lark

# A `lark.Tree` or a `lark.Token`: which one follows from the grammar, as do its children.
Node: TypeAlias = Any
MOST_DIGITS = 18
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}


class Builder:
    """Builds the nodes of one source, or of one reference inside its texts.

    `repairs` are the sorted source offsets of what the parser mended; on the lines in
    `fault_lines` no further number is reported.
    """

    def __init__(
        self,
        prepared: Prepared,
        parser: Lark,
        repairs: Sequence[int] = (),
        fault_lines: Set[int] = frozenset(),
    ) -> None:
        self.prepared = prepared
        self.parser = parser
        self.repairs = repairs
        self.fault_lines = fault_lines
        self.diagnostics: list[Diagnostic] = []
        self.place: Callable[[int, int], Span] = prepared.span
        self.in_reference = False
        # How many things could not be given a meaning so far.
        self.damage = 0
        self.template = Template(prepared.source, self.report, self.reference)

    def statements(self, tree: Node) -> tuple[Statement | Rule, ...]:
        """The statements of a file or a block."""
        nodes = tree.children
        return tuple(self.statement(node) if node.data == "statement" else self.rule(node) for node in nodes)

    # Statements ---------------------------------------------------------------------------

    def statement(self, tree: Node) -> Statement:
        docs, parts = self.docs(tree)
        block = parts.pop() if _is(parts[-1], "block") else None
        kind = self.name(parts[0])
        name: Name | None = None
        annotation: TypeName | None = None
        quantity: Integer | Ratio | None = None
        scale: Range | None = None
        clauses: list[Clause] = []
        conditions: list[Condition] = []
        value: Expression | None = None
        damage = self.damage
        for part in parts[1:]:
            if _is(part, None):
                name = self.name(part) if part else None
            elif part.data == "annotation":
                annotation = self.type(part.children[0])
            elif part.data == "quantity":
                token = part.children[0]
                if token.type == "RANGE" and name is None and any(_is(sibling, "value") for sibling in parts):
                    literal = self.literal(token)
                    scale = literal if isinstance(literal, Range) else None
                else:
                    quantity, value = self.quantity(token, kind, alone=name is None)
            elif part.data == "clause":
                clause = self.clause(part)
                if clause is not None:
                    clauses.append(clause)
            elif part.data == "condition":
                condition = self.condition(part)
                if condition is not None:
                    conditions.append(condition)
            else:
                value = self.expression(part.children[0])
        span = self.place(_start(parts[0]), _end(tree))
        head_end = span.end if block is None else self.place(_start(block), _end(block)).start
        first = bisect_left(self.repairs, span.start)
        repaired = first < len(self.repairs) and self.repairs[first] <= head_end
        damaged = repaired or self.damage > damage
        body = None if block is None else self.statements(block)
        return Statement(
            kind,
            name,
            annotation,
            quantity,
            tuple(clauses),
            value,
            body,
            docs,
            span,
            damaged,
            tuple(conditions),
            scale,
        )

    def rule(self, tree: Node) -> Rule:
        docs, parts = self.docs(tree)
        *names, arguments = parts
        span = self.place(_start(names[0]), _end(tree))
        function = Reference(tuple(map(self.name, names)), self.place(_start(names[0]), _end(names[-1])))
        return Rule(function, self.arguments(arguments), docs, span)

    def docs(self, tree: Node) -> tuple[tuple[str, ...], list[Node]]:
        """The texts of the `##` lines above a statement, and its other parts."""
        first, *rest = tree.children
        if not _is(first, "docs"):
            return (), list(tree.children)
        return tuple(str(line)[2:].strip() for line in first.children), rest

    def quantity(
        self, token: Node, kind: Name, *, alone: bool
    ) -> tuple[Integer | Ratio | None, Expression | None]:
        """A count or a share.  Another number is reported, and taken for the value of a field
        when only the field's name stands before it."""
        value = self.literal(token)
        if isinstance(value, (Integer, Ratio)):
            return value, None
        self.damage += 1
        if isinstance(value, Damaged):
            return None, None
        wanted = "`=`" if alone else "a count or a share"
        hint = f"write `{kind} = {token}`" if alone else "such as `300` or `40%`"
        self.report(Diagnostic("E002", f"expected {wanted}, found {quoted(token)}", value.span, hint=hint))
        return None, value if alone else None

    def clause(self, tree: Node) -> Clause | None:
        word, *names, value = tree.children
        span = self.place(_start(word), _end(tree))
        if not names:
            return Clause(str(word), None, self.expression(value), span)
        if not names[0]:
            self.damage += 1
            return None
        return Clause(str(word), self.name(names[0]), self.expression(value), span)

    def condition(self, tree: Node) -> Condition | None:
        word, quoted_, *values = tree.children
        reference = self.expression(quoted_)
        if not isinstance(reference, Reference):
            return None
        value = self.expression(values[1]) if values else None
        span = self.place(_start(word), _end(tree))
        return Condition(str(word) == "unless", reference, value, span)

    def name(self, token: Node) -> Name:
        return Name(str(token), self.place(_start(token), _end(token)))

    # Types --------------------------------------------------------------------------------

    def type(self, tree: Node) -> TypeName | None:
        """None when a part of it is missing."""
        token, *rest = tree.children
        arguments: list[TypeName] = []
        bounds: Range | None = None
        optional = False
        whole = bool(token)
        for part in rest:
            if _is(part, "type_arguments"):
                for child in part.children:
                    argument = self.type(child)
                    whole = whole and argument is not None
                    if argument is not None:
                        arguments.append(argument)
            elif _is(part, "bounds"):
                value = self.literal(part.children[0])
                bounds = value if isinstance(value, Range) else None
            else:
                optional = True
        if not whole:
            self.damage += 1
            return None
        span = self.place(_start(tree), _end(tree))
        return TypeName(self.name(token), tuple(arguments), bounds, optional, span)

    # Values -------------------------------------------------------------------------------

    def expression(self, tree: Node) -> Expression:
        if tree.data == "literal":
            return self.literal(tree.children[0])
        span = self.place(_start(tree), _end(tree))
        if tree.data == "list":
            return List(tuple(self.expression(child) for child in tree.children), span)
        if tree.data == "call":
            function = self.expression(tree.children[0])
            arguments = self.arguments(tree.children[1])
            return Call(function, arguments, span) if isinstance(function, Reference) else Damaged(span)
        if not all(tree.children):
            self.damage += 1
            return Damaged(span)
        return Reference(tuple(self.name(token) for token in tree.children), span)

    def arguments(self, tree: Node) -> tuple[Argument, ...]:
        return tuple(self.argument(child) for child in tree.children)

    def argument(self, tree: Node) -> Argument:
        span = self.place(_start(tree), _end(tree))
        if tree.data != "named":
            return Argument(None, self.expression(tree), span)
        token, value = tree.children
        return Argument(self.name(token), self.expression(value), span)

    def literal(self, token: Node) -> Expression:
        span = self.place(_start(token), _end(token))
        written = str(token).replace("_", "")
        kind = token.type
        if kind in ("STRING", "TEXT", "RAW_TEXT"):
            return self.text(token, span)
        if kind in ("TRUE", "FALSE"):
            return Boolean(kind == "TRUE", span)
        if kind == "UNTERMINATED" or not written:
            return self.damaged(span)
        if kind == "BAD_UNIT":
            hint, replacement = unit_advice(str(token))
            fix = None if replacement is None else Fix(span, replacement)
            message = f"{quoted(token)} has an unknown unit"
            return self.damaged(span, Diagnostic("E004", message, span, hint=hint, fix=fix))
        if sum(char.isdigit() for char in written) > (2 if kind == "RANGE" else 1) * MOST_DIGITS:
            message = f"{quoted(token, 20)} has too many digits"
            hint = f"a number has at most {MOST_DIGITS}"
            return self.damaged(span, Diagnostic("E009", message, span, hint=hint))
        if kind == "INT":
            return Integer(int(written), span)
        if kind == "NUMBER":
            return Number(Decimal(written), span)
        if kind == "RATIO":
            return Ratio(Decimal(written[:-1]), span)
        if kind == "RANGE":
            low, high = map(_end_of_range, written.split(".."))
            return Range(low, high, span)
        unit = written.lstrip("0123456789.")
        return Duration(Decimal(written[: -len(unit)]) * _SECONDS[unit], str(token), span)

    def damaged(self, span: Span, diagnostic: Diagnostic | None = None) -> Damaged:
        if diagnostic is not None:
            self.report(diagnostic)
        self.damage += 1
        return Damaged(span)

    # Texts --------------------------------------------------------------------------------

    def text(self, token: Node, span: Span) -> Expression:
        if not self.in_reference and token.start_pos in self.prepared.damaged_texts:
            return self.damaged(span)
        reported = len(self.diagnostics)
        if token.type == "STRING":
            parts = self.template.string(span.start, span.end, references=not self.in_reference)
            quotes = '"'
        else:
            quotes = 'r"""' if token.type == "RAW_TEXT" else '"""'
            parts = self.template.block(span.start, span.end, references=quotes == '"""')
        self.damage += len(self.diagnostics) > reported
        return Text(parts, quotes, span)

    def reference(self, start: int, end: int, span: Span) -> Interpolation:
        """What stands between `{{` and `}}`, at [start, end) of the source."""
        from lark.exceptions import UnexpectedInput

        source = self.prepared.source
        written = source.text[start:end]
        inner = Builder(self.prepared, self.parser)
        inner.place = lambda first, last: Span(source, start + first, start + last)
        inner.in_reference = True
        tree: Node = None
        if written.count("(") + written.count("[") <= MAX_DEPTH:
            try:
                tree = self.parser.parse(written, start="interpolation")
            except UnexpectedInput:
                tree = None
        if tree is not None:
            value, *filters = tree.children
            interpolation = Interpolation(inner.expression(value), tuple(map(inner.filter, filters)), span)
            if inner.damage <= len(inner.diagnostics):
                self.diagnostics += inner.diagnostics
                return interpolation
        self.report(_not_a_reference(written, span, start))
        return Interpolation(Damaged(Span(source, start, end)), (), span)

    def filter(self, tree: Node) -> Filter:
        token, *arguments = tree.children
        span = self.place(_start(tree), _end(tree))
        return Filter(self.name(token), self.arguments(arguments[0]) if arguments else (), span)

    def report(self, diagnostic: Diagnostic) -> None:
        at = diagnostic.primary
        follows = at is not None and at.source.position(at.start)[0] in self.fault_lines
        if not follows or diagnostic.code not in ("E002", "E004"):
            self.diagnostics.append(diagnostic)


def _not_a_reference(written: str, span: Span, start: int) -> Diagnostic:
    trimmed = written.strip()
    if not trimmed:
        return Diagnostic(
            "E005",
            "there is no reference inside `{{ }}`",
            span,
            hint=f"such as `{{{{ answer }}}}`; {HINT_LITERAL}",
        )
    first = start + written.index(trimmed)
    at = Span(span.source, first, first + len(trimmed))
    if trimmed.startswith(('"', "'")) and ":" in trimmed:
        hint = f"single braces are literal: write `{{` and not `{{{{`; {HINT_LITERAL}"
    else:
        hint = (
            f"a name with its fields and filters stands here, as in `{{{{ a.b | plain }}}}`; {HINT_LITERAL}"
        )
    return Diagnostic("E005", f"{quoted(trimmed)} is not a reference", at, hint=hint)


def _end_of_range(written: str) -> int | Decimal | None:
    if not written:
        return None
    return Decimal(written) if "." in written else int(written)


def _is(node: Node, data: str | None) -> bool:
    """Whether a node is a tree of this name, or for None a token."""
    return getattr(node, "data", None) == data


def _start(node: Node) -> int:
    place: Any = getattr(node, "meta", node)
    start: int = place.start_pos
    return start


def _end(node: Node) -> int:
    place: Any = getattr(node, "meta", node)
    end: int = place.end_pos
    return end
