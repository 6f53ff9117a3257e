"""A conversation's `keep`: checks of the finished sample, each of which names first what it is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from synth.compiler.bind.blocks.check_blocks import bind_block
from synth.compiler.bind.blocks.subject import Subject
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.plan.steps import CheckPlan, RefPlan
from synth.compiler.plan.types import Schema, Type, record
from synth.dsl.syntax import Statement

# What a sample has to be judged by.
_OF_SAMPLES = ("axis", "draw", "let", "step", "turn", "number of the sample in its cell")


def bind_keep(statement: Statement, name: str, scope: Scope) -> list[CheckPlan]:
    """The checks of a finished sample of the conversation `name`, whose names `scope` has."""
    fields: dict[str, Type] = {
        declared.name: declared.type
        for declared in scope.names.values()
        if declared.type is not None and declared.what in _OF_SAMPLES
    }
    inner = Scope(scope.diagnostics, "this `keep`", outer=scope)
    sample = record(Schema(name, tuple(fields.items())))
    checks = bind_block(statement, sample, inner, Subject(sample, sample=True))
    for check in checks:
        if check.of:
            scope.use(check.of[0])
    return checks


def paths_kept(checks: Iterable[CheckPlan]) -> list[Mapping[str, object]]:
    """Where the checks of a sample look, as references."""
    return [{"of": RefPlan(path=check.of) if check.of else None, **check.arguments} for check in checks]
