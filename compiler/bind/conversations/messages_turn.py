"""Binding of `turn before: messages = row.chat`: a conversation that opens with messages that are there."""

from __future__ import annotations

from collections.abc import Sequence

from synth.compiler.bind.blocks.bound import Step
from synth.compiler.bind.expressions.arguments import path_of
from synth.compiler.bind.expressions.conditions import written_as
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import article
from synth.compiler.bind.expressions.written_types import plain_word
from synth.compiler.plan.steps import CallPlan, RefPlan
from synth.compiler.plan.types import MESSAGES, is_transcript
from synth.dsl.syntax import Reference, Statement

_EXAMPLE = "turn before: messages = row.chat"


def is_opening(statement: Statement) -> bool:
    """Whether a turn is the messages of something else."""
    return statement.type is not None and statement.type.name.text == "messages"


def bind_opening(statement: Statement, earlier: Sequence[Step], own: Scope, scope: Scope) -> Step | None:
    """The turn; declares its name in `scope` for what stands below.  `own` knows its conditions."""
    name, type_, value = statement.name, statement.type, statement.value
    assert name is not None
    assert type_ is not None
    plain_word(type_, "a turn's role", own)
    scope.later.pop(name.text, None)
    extra = next((clause.span for clause in statement.clauses), None)
    if extra is None and statement.body:
        extra = statement.body[0].span
    if extra is not None:
        own.report(
            "E108",
            f"`{name}` is messages that are there already, and takes nothing else",
            extra,
            hint=f"for example `{_EXAMPLE}`",
        )
        return None
    if not isinstance(value, Reference):
        if not statement.damaged:
            own.report(
                "E202",
                f"`{name}` names the messages that it is",
                value.span if value is not None else name.span,
                hint=f"for example `{_EXAMPLE}`",
            )
        return None
    typed_path = path_of(value, own)
    if typed_path is None:
        return None
    held, path = typed_path
    if not is_transcript(held) or held.optional:
        own.report(
            "E202",
            f"`{value}` is {article(held)}, not messages",
            value.span,
            hint=f"put it under `when {value}`"
            if is_transcript(held)
            else "it takes a field of type `messages`: `schema Chat { chat: messages }`",
        )
        return None
    declared = Declared(name.text, "turn", name.span, MESSAGES, when=own.under, written=written_as(statement))
    if not scope.declare(declared):
        return None
    known = {step.name for step in earlier}
    quoted = (path[0], *(condition.path[0] for condition in own.under))
    return Step(
        name=name.text,
        role="messages",
        output=MESSAGES,
        call=CallPlan(name="opening", arguments={"messages": RefPlan(path=path)}),
        needs=tuple(dict.fromkeys(first for first in quoted if first in known)),
        span=name.span,
        role_span=type_.span,
        when=own.under,
        written=written_as(statement),
    )
