"""Binding of conditions: what a turn, a step or a `let` of a conversation goes by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.template import lookup_reference
from synth.compiler.bind.expressions.values import FAILED, article, beyond_reach, constant, misses
from synth.compiler.bind.expressions.ways import Path
from synth.compiler.plan.conditions import ConditionPlan, holds, same, there
from synth.compiler.plan.types import RANGE, Type
from synth.dsl.syntax import Call, Condition, Damaged, List, Range, Reference, Statement

_COMPARED = ("text", "path", "enum", "count", "number", "ratio", "boolean", "unknown")
_NUMBERS = ("count", "number", "ratio", "unknown")


def bind_conditions(statement: Statement, scope: Scope) -> None:
    """Puts a statement's conditions into `scope.under`, each of them bound under those before it."""
    for condition in statement.conditions:
        plan = _bind(condition, scope)
        if plan is None:
            # What it would have left out is not known, so nobody can say what is always there.
            (scope.outer or scope).poisoned.add("")
        else:
            scope.under = (*scope.under, plan)


def written_as(statement: Statement) -> str:
    """A statement's conditions as they are written."""
    return " ".join(" ".join(condition.span.text.split()) for condition in statement.conditions)


def _bind(condition: Condition, scope: Scope) -> ConditionPlan | None:
    if isinstance(condition.values, Damaged):
        return None
    reference = condition.reference
    # Whether a step that is not in every sample is there is what may be asked of it.
    asks = len(reference.parts) == 1 and condition.values is None
    looked_up = lookup_reference(reference, scope, absent=asks)
    if looked_up is None:
        return None
    type_, _, path = looked_up
    declared = scope.find(reference.parts[0].text)
    if path is None or declared is None:
        scope.report(
            "E202",
            f"`{reference}` is the same in every sample, so nothing can go by it",
            reference.span,
            hint="a condition names what differs from sample to sample, such as what is drawn",
        )
        return None
    if condition.values is None:
        if type_.name not in ("boolean", "unknown") and not type_.optional and not declared.when:
            scope.report(
                "E202",
                f"`{reference}` is {article(type_)}, and always there",
                reference.span,
                secondary=(Label(declared.span, "declared here"),),
                hint=f"say which: `when {reference} in [...]`",
            )
            return None
        plan = ConditionPlan(path=path, negated=condition.negated)
        _know(plan.path, type_, scope)
        return plan
    return _compared(condition, type_, path, scope)


def _compared(condition: Condition, type_: Type, path: Path, scope: Scope) -> ConditionPlan | None:
    """A condition with `in`."""
    reference, written = condition.reference, condition.values
    assert written is not None
    members = _members(path[0], scope)
    is_member = type_.name == "record" and members is not None and len(path) == 1
    if is_member:
        # A member of a set is told by its name.
        path = (*path, "name")
    known = (
        None if members is None else [there(path[1:], member) if path[1:] else member for member in members]
    )
    if is_member or (members is not None and path[1:] == ("name",) and _is_label(path[0], scope)):
        type_ = Type("enum", words=tuple(dict.fromkeys(map(str, known or ()))))
    if type_.name not in _COMPARED:
        scope.report(
            "E202",
            f"`{reference}` is {article(type_)}, which cannot be compared",
            reference.span,
            hint="compare a field of it, or what a model is asked to say of it",
        )
        return None
    if not isinstance(written, Range | List | Reference):
        scope.report(
            "E202",
            f"`in` takes a list or a range, not `{written.span.text}`",
            written.span,
            hint=f"write `in [{written.span.text}]`" if not isinstance(written, Call) else "",
        )
        return None
    what = f"`{reference}`"
    if isinstance(written, Range) or _is_range(written, scope):
        if type_.name not in _NUMBERS:
            scope.report(
                "E202",
                f"{what} is {article(type_)}, and a range is of numbers",
                written.span,
                hint="list what it is to be: `in [...]`",
            )
            return None
        ends = constant(written, RANGE, scope, what)
        if ends is FAILED or not _is_reached(condition, type_, ends, scope):
            return None
        plan = ConditionPlan(path=path, negated=condition.negated, range=tuple(ends))
    else:
        values = constant(written, Type("list", (type_.required,)), scope, what)
        if values is FAILED:
            return None
        if known is not None and not _all_possible(condition, values, known, scope):
            return None
        plan = ConditionPlan(path=path, negated=condition.negated, values=tuple(values))
    if known is not None and not any(holds(plan, value) for value in known):
        scope.report(
            "E202",
            f"{what} is never {'other than' if condition.negated else 'in'} `{written.span.text}`",
            written.span,
            hint=f"it is {some_of([str(value) for value in dict.fromkeys(map(str, known))], 'or')}",
        )
        return None
    _know(path, type_, scope)
    return plan


def _is_reached(condition: Condition, type_: Type, ends: Sequence[Any], scope: Scope) -> bool:
    """Whether a number of a type can lie in a range at all."""
    if not misses(ends, type_):
        return True
    assert condition.values is not None
    written = condition.values.span
    scope.report(
        "E202",
        f"`{condition.reference}` is from {type_.low} to {type_.high}, and never in `{written.text}`",
        written,
        hint=beyond_reach(ends, type_),
    )
    return False


def _all_possible(condition: Condition, values: list[Any], known: list[Any], scope: Scope) -> bool:
    for value in values:
        if not any(same(value, possible) for possible in known):
            names = [str(possible) for possible in dict.fromkeys(map(str, known))]
            guess = suggest(str(value), names)
            scope.report(
                "E202",
                f"`{condition.reference}` is never `{value}`",
                condition.span,
                hint=f"did you mean `{guess}`?" if guess else f"it is {some_of(names, 'or')}",
            )
            return False
    return True


def _is_range(written: Any, scope: Scope) -> bool:
    """Whether a name stands for a range."""
    if not isinstance(written, Reference) or len(written.parts) != 1:
        return False
    declared = scope.find(written.parts[0].text)
    return declared is not None and declared.type is not None and declared.type.name == "range"


def _members(name: str, scope: Scope) -> list[Any] | None:
    """What an axis or a draw can be, or None for what nobody knows beforehand."""
    members = scope.known_ways().members.get(name)
    return None if members is None else list(members)


def _is_label(name: str, scope: Scope) -> bool:
    """Whether the `name` of what is drawn is that of a set's member, and no field of its schema."""
    declared = scope.find(name)
    schema = None if declared is None or declared.type is None else declared.type.schema
    return schema is not None and schema.field("name") is None


def _know(path: Path, type_: Type, scope: Scope) -> None:
    scope.known_ways().types.setdefault(path, type_)
