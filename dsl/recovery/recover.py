"""Parsing that goes on after a fault.

A token that does not fit is met in one of three ways.  If a single thing is missing before
it, that thing is supplied and the statement is kept.  If its characters cannot belong
anywhere, they are left out.  Otherwise the statement is given up: the automaton goes back to
the enclosing block, the rest of the statement is skipped with any block it opens, and its
name is poisoned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import category

from synth.base.diagnostics.diagnostic import Diagnostic, Fix
from synth.base.diagnostics.source import Span
from synth.dsl.recovery.automaton import BAD, CLOSERS, Automaton, token_range
from synth.dsl.recovery.brackets import MAX_DEPTH
from synth.dsl.recovery.expect import LITERALS, TEXTS, Context, advice, description, expectation, lookalike
from synth.dsl.recovery.prepare import Prepared
from synth.dsl.recovery.scan import skeleton

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

MENDS_ON_A_LINE = 2
STARTS_VALUE = LITERALS | {"NAME", "LSQB"}

_WORDS = r"(?:by|from|to|times|of|over|when|unless)\b"
_BRACKETS_AND_ENDS = re.compile(r"[\n,{}()\[\]]")
_HEADER = re.compile(rf"[A-Za-z_]\w*(?:[ \t]+(?!{_WORDS})[A-Za-z_]\w*)*", re.ASCII)
_REST_IS_BLANK = re.compile(r"\s*\Z")
_AFTER_TYPE = re.compile(rf"[ \t\f]*(?:[<({{=?#\n]|{_WORDS}|[0-9])")


@dataclass(frozen=True, slots=True)
class Recovered:
    """A parse tree of what could be read.

    `repairs` are offsets in the source, sorted: a statement that has one in its head is
    damaged.  `poisoned` are the names of dropped statements.  `fault_lines` are the lines,
    with those of the prepared text, on which something was reported.
    """

    tree: Tree[Token]
    repairs: tuple[int, ...]
    poisoned: frozenset[str]
    fault_lines: frozenset[int]
    diagnostics: tuple[Diagnostic, ...]


def recover(prepared: Prepared, parser: Lark) -> Recovered:
    """Parses the prepared text.  Never raises on any text."""
    recovery = _Recovery(prepared, Automaton(prepared.text, parser, 2 * MAX_DEPTH))
    recovery.run()
    return Recovered(
        recovery.automaton.tree,
        tuple(sorted(recovery.repairs)),
        frozenset(recovery.poisoned),
        frozenset(recovery.fault_lines),
        tuple(recovery.diagnostics),
    )


class _Recovery:
    def __init__(self, prepared: Prepared, automaton: Automaton) -> None:
        self.prepared = prepared
        self.automaton = automaton
        self.diagnostics: list[Diagnostic] = []
        self.repairs: list[int] = list(prepared.repairs)
        self.poisoned: set[str] = set()
        self.fault_lines: set[int] = set(prepared.fault_lines)
        # Where the last mended token stands, and how often its line was mended.
        self.mended_at = -1
        self.mended_line = (-1, 0)
        self.code: str | None = None

    def run(self) -> None:
        while (refused := self.automaton.advance()) is not None:
            self.meet(refused)

    def meet(self, token: Token) -> None:
        """Does something about a refused token: after it the automaton is further in the text,
        or has more on its stack that ends before the token, or less."""
        start, end = token_range(token)
        if token.type == "_NL" and self.automaton.at_start:
            return
        if token.type == "DOC":
            self.undocumented(token)
        elif token.type in ("RBRACE", "$END") and self.automaton.at_start and self.automaton.docs:
            self.undocumented(self.automaton.docs[-1])
            self.automaton.pop()
            self.automaton.read_on(start)
        elif self.automaton.too_deep:
            at = self.prepared.span(start, end)
            message = f"types stand more than {MAX_DEPTH} deep here"
            self.report("E003", message, at, hint="declare the inner part as a `schema`")
            self.drop(token)
        elif token.type == "$END":
            self.finish()
        elif not self.repair(token):
            self.report_unexpected(token)
            self.drop(token)

    def undocumented(self, token: Token) -> None:
        at = self.prepared.span(*token_range(token))
        hint = "`##` stands on a line of its own above a statement; other comments begin with `#`"
        self.report("E007", "this comment documents nothing", at, hint=hint)

    def finish(self) -> None:
        """The text ended inside something: closes the blocks, or gives the last statement up."""
        size = len(self.prepared.text)
        while self.automaton.accepts("RBRACE"):
            self.automaton.feed("RBRACE", size)
        if self.automaton.accepts("_NL"):
            self.automaton.feed("_NL", size)
        elif not self.automaton.accepts("$END"):
            self.automaton.pop()

    # Mending ------------------------------------------------------------------------------

    def repair(self, token: Token) -> bool:
        """Reports the token and keeps the statement.  False when that cannot be done, or was
        done often enough on this line for it to be something else than a statement."""
        start, _ = token_range(token)
        if self.mended_at == start or self.mended_line == (self.line(start), MENDS_ON_A_LINE):
            return False
        if token.type == BAD:
            return self.leave_out(token)
        if not self.automaton.statement:
            return False
        if self.automaton.in_block:
            return self.supply(token)
        return self.supply_in_brackets(token) or self.supply(token)

    def leave_out(self, token: Token) -> bool:
        """Passes over characters that are part of nothing; a nameless name stands for a word."""
        start, end = token_range(token)
        if self.automaton.at_start and not _is_invisible(token):
            return False
        self.report_unexpected(token)
        if token[0].isalnum() and self.automaton.accepts("NAME"):
            self.automaton.feed("NAME", start)
        self.repaired(start, start)
        self.automaton.read_on(end)
        return True

    def supply_in_brackets(self, token: Token) -> bool:
        """Supplies the `>` that closes a type's arguments, or the comma between two items."""
        automaton = self.automaton
        if automaton.bracket == "LESSTHAN":
            count = next((n for n in (1, 2, 3) if automaton.accepts(*["MORETHAN"] * n, token.type)), 0)
            if count:
                opener, _ = automaton.open[-1]
                at = self.prepared.span(*token_range(opener))
                hint = "close it with `>`"
                self.report("E003", "`<` is never closed", at, "opened here", hint)
                return self.supplied(token, *["MORETHAN"] * count)
        if token.type not in STARTS_VALUE:
            return False
        if automaton.accepts("COMMA", token.type):
            self.report_unexpected(token)
            return self.supplied(token, "COMMA")
        if automaton.previous == "_NL" and automaton.accepts("COMMA", token.type, below=1):
            # The line end was taken for the one before the bracket closes.
            self.report_unexpected(automaton.take_back())
            return self.supplied(token, "COMMA")
        return False

    def supply(self, token: Token) -> bool:
        """Supplies what else may be missing before a token."""
        for missing in self.candidates(token):
            if self.automaton.accepts(*missing, token.type):
                self.report_unexpected(token, missing)
                return self.supplied(token, *missing)
        return False

    def candidates(self, token: Token) -> list[tuple[str, ...]]:
        """What may be missing between the statement so far and a token, likeliest first."""
        *before, last = self.automaton.statement
        if last.type == "RBRACE":
            return [("_NL",)] if token.type == "NAME" else []
        if before and before[-1].type == "OVER":
            return [("IN",), ("IN", "NAME")]
        if last.type == "NAME" and len(before) < 2 and self.automaton.in_block:
            if token.type in LITERALS or token.type == "LSQB":
                return [("EQUAL",)]
            typed = token.type == "NAME" and _AFTER_TYPE.match(self.prepared.text, token_range(token)[1])
            return [("COLON",)] if typed else []
        if token.type in STARTS_VALUE or last.type in STARTS_VALUE or last.type in CLOSERS:
            return []
        return [("NAME",), ("RANGE",), ("NAME", "IN", "NAME"), ("NAME", "MORETHAN")]

    def supplied(self, token: Token, *kinds: str) -> bool:
        start, _ = token_range(token)
        _, at = token_range(self.automaton.statement[-1])
        for kind in kinds:
            self.automaton.feed(kind, at)
        self.repaired(start, at)
        # What stands here may be another token after what was supplied.
        self.automaton.read_on(start)
        return True

    def repaired(self, start: int, at: int) -> None:
        """Notes that the token at `start` was met by a repair at `at`."""
        self.repairs.append(self.prepared.origin(at))
        self.mended_at = start
        line, (last, count) = self.line(start), self.mended_line
        self.mended_line = (line, count + 1 if line == last else 1)

    # Giving up ----------------------------------------------------------------------------

    def drop(self, token: Token) -> None:
        """Gives the statement up and goes on after it, in the enclosing block."""
        automaton = self.automaton
        start, _ = token_range(token)
        if automaton.statement and automaton.statement[-1].type == "RBRACE" and automaton.accepts("_NL"):
            # The statement is complete; what cannot be read comes after it.
            automaton.feed("_NL", token_range(automaton.statement[-1])[1])
        first = token_range(automaton.statement[0])[0] if automaton.statement else start
        header = _HEADER.match(self.prepared.text, first)
        if header:
            # The name is the second word, or the third when one too many stands before it.
            words = header[0].split()
            self.poisoned.update(words[1:3] or words)
        depth = automaton.pop()
        if automaton.open:
            brace, _ = automaton.open[-1]
            self.repairs.append(self.prepared.origin(token_range(brace)[0]))
        automaton.read_on(self.skip(start, depth))
        self.mended_at = -1

    def skip(self, start: int, depth: int) -> int:
        """Where the statement ends that goes on at `start` inside `depth` brackets."""
        if self.code is None:
            self.code = skeleton(self.prepared.text)
        separated = self.automaton.bracket == "LBRACE"
        for match in _BRACKETS_AND_ENDS.finditer(self.code, start):
            char = match[0]
            if char in "{([":
                depth += 1
            elif char in "})]":
                if depth:
                    depth -= 1
                elif char == "}" and separated:
                    return match.start()
            elif not depth and (char == "\n" or separated):
                return match.end()
        return len(self.code)

    # Reporting ----------------------------------------------------------------------------

    def line(self, at: int) -> int:
        return self.prepared.source.position(self.prepared.origin(at))[0]

    def report(
        self, code: str, message: str, at: Span, label: str = "", hint: str = "", fix: Fix | None = None
    ) -> None:
        """Reports a fault unless it follows from one on its line or the line before."""
        line, _ = at.source.position(at.start)
        if line not in self.fault_lines and line - 1 not in self.fault_lines:
            self.diagnostics.append(Diagnostic(code, message, at, label, hint=hint, fix=fix))
        self.fault_lines.add(line)

    def report_unexpected(self, token: Token, missing: tuple[str, ...] = ()) -> None:
        """`token` was found where something else was expected."""
        start, end = token_range(token)
        source = self.prepared.source
        if token.type == BAD and "\ufffd" in token and source.replaced:
            self.fault_lines.add(self.line(start))
            return
        statement = self.automaton.statement
        context = self.context(start)
        wanted, hint = expectation(context)
        if missing == ("EQUAL",):
            wanted, hint = "`=`", f"a value stands after `=`: `{statement[-1]} = {_short(token)}`"
        elif missing == ("COLON",):
            wanted, hint = "`:`", f"a type stands after a colon: `{statement[-1]}: {token}`"
        elif missing == ("_NL",):
            wanted, hint = "the end of the line", "every statement stands on a line of its own"
        if token.type == "_NL" and statement:
            start = end = token_range(statement[-1])[1]
        at = self.prepared.span(start, end)
        unexpected = description(token, at_end=bool(_REST_IS_BLANK.match(source.text, at.end)))
        message = f"expected {wanted}, found {unexpected}"
        self.report("E002", message, at, hint=advice(token, context) or hint, fix=_fix(token, at, context))

    def context(self, at: int) -> Context:
        automaton = self.automaton
        brace = automaton.open[-1][0] if automaton.open else None
        one_line = brace is not None and self.line(token_range(brace)[0]) == self.line(at)
        one_line = one_line and automaton.in_block
        return Context(automaton.statement, automaton.bracket, automaton.at_start, one_line)


def _is_invisible(token: Token) -> bool:
    return category(token[0])[0] in "CZ"


def _short(token: Token) -> str:
    return "..." if token.type in TEXTS or len(token) > 20 else str(token)


def _fix(token: Token, at: Span, context: Context) -> Fix | None:
    if token.type != BAD:
        return None
    if token == ";" and context.one_line:
        return Fix(at, ",")
    if _is_invisible(token):
        return Fix(at, " " if category(token[0]) == "Zs" else "")
    plain = "" if token == ";" else lookalike(str(token))
    return None if plain is None else Fix(at, plain)
