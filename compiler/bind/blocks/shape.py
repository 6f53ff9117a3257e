"""Pass: every statement is of a kind that exists where it stands and has the parts it needs."""

from __future__ import annotations

from collections.abc import Sequence

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics, Fix
from synth.base.diagnostics.source import Span
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.expressions.kinds import HOLDERS, Arity, Block, Kind
from synth.compiler.bind.expressions.remedies import elsewhere, is_sure
from synth.dsl.syntax import Rule, Statement

_PARTS = {
    "name": "a name",
    "type": "a type after `:`",
    "quantity": "a quantity",
    "scale": "a range",
    "value": "a value after `=`",
    "body": "braces",
}


def check_shape(
    statements: Sequence[Statement | Rule], holder_name: str, diagnostics: Diagnostics
) -> list[tuple[Statement | Rule, Kind]]:
    """Pairs each statement with its kind, here and not below; what has none is reported and left out.

    A misspelt kind is paired with the one suggested, so that its inside is still bound.
    """
    holder = HOLDERS[holder_name]
    paired: list[tuple[Statement | Rule, Kind]] = []
    first: dict[tuple[str, str], Span] = {}
    stray = faulty = False
    for statement in statements:
        if isinstance(statement, Rule):
            kind = Kind(statement.name.text, "") if holder.rules else None
        else:
            kind = _kind(statement, holder)
        if kind is None:
            # Of statements in a row that do not belong here, the first is reported: the line that
            # opened their block is gone, say, and they all stray for one reason.
            guess = _report_unknown(statement, holder_name, diagnostics, quiet=stray)
            stray = guess is None
            if guess is not None:
                paired.append((statement, holder.kinds[guess]))
            continue
        stray = False
        if isinstance(statement, Rule):
            paired.append((statement, kind))
            continue
        word = statement.kind.text
        if not kind.repeats or kind is holder.member:
            named = (kind.word, word)
            if named in first:
                diagnostics.add(_twice(word, statement.kind.span))
                continue
            first[named] = statement.kind.span
        if _check_parts(statement, kind, diagnostics, quiet=faulty and kind is holder.member):
            faulty = True
        paired.append((statement, kind))
    return paired


def _kind(statement: Statement, holder: Block) -> Kind | None:
    """In a block with members, what has what only a member can have is one, whatever its word."""
    known = holder.kinds.get(statement.kind.text)
    if known is None and _is_field(statement, holder):
        return None
    if known is None or (holder.member is not None and _is_member(statement)):
        return holder.member
    return known


def _is_field(statement: Statement, holder: Block) -> bool:
    """Whether it can only be a field of a block that has members besides, whose name is misspelt."""
    if holder.member is None or not holder.kinds or holder.member.value is not Arity.NO:
        return False
    return statement.value is not None and not _is_member(statement)


def _is_member(statement: Statement) -> bool:
    has_quantity = statement.quantity is not None or statement.scale is not None
    return has_quantity or statement.type is not None or bool(statement.clauses)


def _check_parts(statement: Statement, kind: Kind, diagnostics: Diagnostics, *, quiet: bool) -> bool:
    """Reports the first part that is too many or too few, unless `quiet`: members of one block
    mostly fail alike."""
    if statement.damaged:
        return False
    fault = _wrong_part(statement, kind)
    if fault is not None and not quiet:
        diagnostics.add(fault)
    return fault is not None


def _wrong_part(statement: Statement, kind: Kind) -> Diagnostic | None:
    word = statement.kind.text
    parts: dict[str, tuple[Arity, Span | None]] = {
        "name": (kind.name, statement.name.span if statement.name else None),
        "type": (kind.type, statement.type.span if statement.type else None),
        "quantity": (kind.quantity, statement.quantity.span if statement.quantity else None),
        "scale": (kind.scale, statement.scale.span if statement.scale else None),
        "value": (kind.value, statement.value.span if statement.value else None),
        "body": (kind.body, statement.kind.span if statement.body is not None else None),
    }
    for part, (need, span) in parts.items():
        if need is Arity.NO and span is not None:
            return _too_many(word, _PARTS[part].split(" ", 1)[-1], span, kind)
    written: set[str] = set()
    for clause in statement.clauses:
        if clause.word not in kind.clauses:
            return _too_many(word, f"`{clause.word}`", clause.span, kind)
        if clause.word in written and clause.word != "over":
            return _twice(clause.word, clause.span)
        written.add(clause.word)
    if statement.conditions and not kind.conditional:
        return _too_many(word, "condition", statement.conditions[0].span, kind)
    lacking = [_PARTS[part] for part, (need, span) in parts.items() if need is Arity.MUST and span is None]
    lacking += [
        f"`{wanted}`"
        for wanted, need in kind.clauses.items()
        if need is Arity.MUST and statement.clause(wanted) is None
    ]
    return _missing(statement, kind, lacking[0]) if lacking else None


def _too_many(word: str, part: str, span: Span, kind: Kind) -> Diagnostic:
    return Diagnostic("E108", f"`{word}` takes no {part}", span, hint=f"for example `{kind.example}`")


def _missing(statement: Statement, kind: Kind, part: str) -> Diagnostic:
    what = f"`{statement.name}`" if statement.name else f"`{statement.kind}`"
    return Diagnostic(
        "E107",
        f"{what} needs {part}",
        (statement.name or statement.kind).span,
        hint=f"for example `{kind.example}`",
    )


def _twice(word: str, span: Span) -> Diagnostic:
    return Diagnostic("E104", f"`{word}` is given twice", span, hint="keep one of them")


def _report_unknown(
    statement: Statement | Rule, holder_name: str, diagnostics: Diagnostics, *, quiet: bool
) -> str | None:
    """The kind that was probably meant, or None.  A likely one is always reported."""
    holder = HOLDERS[holder_name]
    name = statement.name if isinstance(statement, Rule) else statement.kind
    guess = None if is_sure(name.text) else suggest(name.text, holder.kinds)
    if quiet and guess is None:
        return None
    is_field = isinstance(statement, Statement) and statement.value is not None and statement.name is None
    if is_field:
        code, message = "E102", f"{holder.phrase} has no `{name}`"
    else:
        code, message = "E103", f"{holder.phrase} holds no `{name}`"
    if guess is not None:
        hint, fix = f"did you mean `{guess}`?", Fix(name.span, guess)
    else:
        known = some_of(holder.kinds)
        hint = elsewhere(holder_name, name.text) or (f"it holds {known}" if known else "")
        fix = None
    diagnostics.add(Diagnostic(code, message, name.span, hint=hint, fix=fix))
    return guess
