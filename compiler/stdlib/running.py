"""Checks that run what was written: in a plan they are functions, whose results are logged once.

Their source is a version by hand: another one runs everything anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synth.base.canonical import digest
from synth.compiler.plan.functions import FunctionPlan, ParameterPlan
from synth.compiler.plan.model import Plan
from synth.compiler.plan.steps import CheckPlan
from synth.compiler.plan.value_types import Kind, ValueType

_REASON = ValueType(kind="text", optional=True)
# What is given as a file is another argument than what is given as text.
_FILE = "_file"


def _function(name: str, version: int, **parameters: Kind) -> FunctionPlan:
    return FunctionPlan(
        name=name,
        path="",
        function=name,
        parameters=tuple(
            ParameterPlan(name=name, type=ValueType(kind=kind), required=number == 0)
            for number, (name, kind) in enumerate(parameters.items())
        ),
        returns=_REASON,
        source=digest([name, version]),
        files=(),
    )


RUNNING: Mapping[str, FunctionPlan] = {
    function.name: function
    for function in (
        _function(
            "sql_runs", 1, query="text", schema="text", schema_file="path", database="path", rows="range"
        ),
        _function(
            "python_runs", 1, code="text", tests="text", tests_file="path", seconds="number", memory="count"
        ),
    )
}


class InFile:
    """A value that names a file with what is meant."""

    def __init__(self, value: Any) -> None:
        self.value = value


def by_place(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with what names a file apart from what is meant itself."""
    return {
        f"{name}{_FILE}" if isinstance(value, InFile) else name: value.value
        if isinstance(value, InFile)
        else value
        for name, value in arguments.items()
    }


def as_called(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a check as its function takes them."""
    called = by_place(arguments)
    if called.get("database") is not None:
        # A query that gives nothing of real rows seldom asks what was meant.
        called.setdefault("rows", [1, None])
    return called


def is_running(function: FunctionPlan) -> bool:
    return not function.path


def of_text(value: str) -> bool:
    """Whether a text is what is meant, and not the name of a file that holds it."""
    return not value.endswith((".sql", ".py")) or any(map(str.isspace, value))


def run_by(plan: Plan) -> Iterator[CheckPlan]:
    """The checks of a plan that run what was written."""
    sources = {(function.name, function.source) for function in plan.functions if is_running(function)}
    if not sources:
        return
    for cohort in (*plan.cohorts, *plan.pair_cohorts):
        for check in (*cohort.keep, *(check for step in cohort.steps for check in step.checks)):
            if (check.name, check.source) in sources:
                yield check
    for source in plan.sources:
        yield from (check for check in source.keep if (check.name, check.source) in sources)
