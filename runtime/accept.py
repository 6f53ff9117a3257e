"""Whether an answer becomes a step's value, and if not, why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from compiler.checks import group_of, run_check
from compiler.checks.strict_json import parse_json
from compiler.plan import CheckPlan, JsonOutput, RefPlan, StepPlan, canonical_json
from compiler.template import look_up


@dataclass(frozen=True, slots=True)
class Accepted:
    value: Any


@dataclass(frozen=True, slots=True)
class Rejected:
    """`check` names what refused the answer; `reason` is a clause without a full stop."""

    check: str
    reason: str


def judge(
    step: StepPlan, text: str, finish_reason: str, values: Mapping[str, Any] | None = None
) -> Accepted | Rejected:
    """The verdict on one answer.  White space around text is not part of its value.

    `values` are what the sample has so far, for checks whose arguments are each sample's own.
    """
    text = text.strip()
    if not text:
        return Rejected("not_empty", "the answer is empty")
    value: Any = text
    if isinstance(step.output, JsonOutput):
        if finish_reason == "length":
            return Rejected("complete", "was cut off at max_tokens, so its JSON cannot be trusted")
        try:
            value = parse_json(text)
        except ValueError as error:
            return Rejected("json_valid", str(error))
        reason = _misfit(canonical_json(step.output.schema_), value)
        if reason is not None:
            return Rejected("schema", reason)
    # Of a turn that thinks, what is checked is what it says.
    said = step.said(value) if step.thinks else value
    for check in step.checks:
        # What a judge is asked about is judged once the value holds otherwise.
        reason = None if "judge" in check.arguments else _reason(check, said, values or {})
        if reason is not None:
            return Rejected(check.label or check.name, reason)
    for group in dict.fromkeys(group_of(check) for check in step.must_fail):
        checks = [check for check in step.must_fail if group_of(check) == group]
        if all(_reason(check, said, values or {}) is None for check in checks):
            return Rejected("must_fail", f"passes `{group}`, which it is meant to fail")
    return Accepted(value)


def _reason(check: CheckPlan, value: Any, values: Mapping[str, Any]) -> str | None:
    """Why a value fails a check.  A sample that lacks what the check is to go by passes it."""
    arguments = resolved(check.arguments, values)
    return run_check(check.name, arguments, value) if is_complete(arguments) else None


def in_one_sample(checks: tuple[CheckPlan, ...], values: Mapping[str, Any]) -> tuple[CheckPlan, ...]:
    """Checks with their arguments as they are in one sample, without those that it passes for lack
    of one."""
    if not checks or not any(
        isinstance(argument, RefPlan) for check in checks for argument in check.arguments.values()
    ):
        return checks
    given = [(check, resolved(check.arguments, values)) for check in checks]
    return tuple(
        CheckPlan.model_construct(name=check.name, arguments=arguments, label=check.label)
        for check, arguments in given
        if is_complete(arguments)
    )


def is_complete(arguments: Mapping[str, Any]) -> bool:
    """Whether a sample has all that a check of it is to go by."""
    return all(argument is not None for argument in arguments.values())


def resolved(arguments: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A function's arguments as they are in one sample."""
    return {
        name: look_up(argument, values) if isinstance(argument, RefPlan) else argument
        for name, argument in arguments.items()
    }


def prepare(steps: Iterable[StepPlan]) -> None:
    """Loads what verdicts on JSON need, so that the first of them does not wait for it."""
    for step in steps:
        if isinstance(step.output, JsonOutput):
            _misfit(canonical_json(step.output.schema_), None)


def _misfit(schema: str, value: Any) -> str | None:
    from jsonschema.exceptions import best_match

    error = best_match(_validator(schema).iter_errors(value))
    if error is None:
        return None
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    message = error.message if len(error.message) <= 200 else error.message[:197] + "..."
    return f"does not fit its schema{f' at `{place}`' if place else ''}: {message}"


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))
