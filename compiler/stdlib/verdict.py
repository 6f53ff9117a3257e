"""Whether a text holds: as JSON, against its schema, and by the checks that need no model.

The runtime judges answers and composed turns with it; the compiler judges what it can compose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from synth.base.canonical import canonical_json
from synth.compiler.plan.steps import CheckPlan, JsonOutput, RefPlan, StepPlan
from synth.compiler.stdlib.checks import CHECKS, group_of, run_check
from synth.compiler.stdlib.checks.conversation import is_conversation
from synth.compiler.stdlib.checks.strict_json import parse_json
from synth.compiler.stdlib.fitting import Unjudged, errors
from synth.compiler.stdlib.render import look_up


class Refusal(NamedTuple):
    """`check` names what refused a value; `reason` is a clause without a full stop."""

    check: str
    reason: str


def value_of(step: StepPlan, text: str) -> Any:
    """What a text stands for: itself, or the JSON that it is to be.  A Refusal where it is not."""
    if not isinstance(step.output, JsonOutput):
        return text
    try:
        value = parse_json(text)
    except ValueError as error:
        return Refusal("json_valid", str(error))
    reason = misfit(canonical_json(step.output.schema_), value)
    return value if reason is None else Refusal("schema", reason)


def refusal(step: StepPlan, value: Any, values: Mapping[str, Any]) -> Refusal | None:
    """The first check that a value of a step fails.  `values` are what the sample has so far, for
    checks whose arguments are each sample's own."""
    if not step.checks and not step.must_fail:
        return None
    text = step.said(value) if step.thinks else value
    for check in step.checks:
        # What a judge is asked about is judged once the value holds otherwise.
        # So is what a Python function is asked about, and what is compared with many rows.
        later = "judge" in check.arguments or check.source or check.against or of_marks(step, check)
        if later:
            continue
        reason = reason_against(check, judged_by(step, check, value, values) if check.of else text, values)
        if reason is not None:
            return Refusal(check.label or check.name, reason)
    for group in dict.fromkeys(group_of(check) for check in step.must_fail):
        checks = [check for check in step.must_fail if group_of(check) == group]
        if all(reason_against(check, text, values) is None for check in checks):
            return Refusal("must_fail", f"passes `{group}`, which it is meant to fail")
    return None


def judged_by(step: StepPlan, check: CheckPlan, value: Any, values: Mapping[str, Any]) -> Any:
    """What a check of a step looks at: of a turn that thinks what it says, and where the check is of the
    calls of tools these, which stand in `values` beside the step's."""
    if not check.of:
        return step.said(value) if step.thinks else value
    if step.tools and check.of[0] == "calls":
        return {"calls": values[f"{step.name}.calls"]}
    return value


def of_marks(step: StepPlan, check: CheckPlan) -> bool:
    """Whether a check is of the marks that a step's rubric gives, which are known last."""
    return step.rubric is not None and check.of is not None and check.of[:1] == (step.rubric.name,)


def own_marks_refusal(step: StepPlan, marks: Mapping[str, Any]) -> Refusal | None:
    """The first check of a step's marks that they fail; the reason ends with what the judge said."""
    assert step.rubric is not None
    for check in step.checks:
        if of_marks(step, check):
            reason = reason_against(check, {step.rubric.name: marks}, {})
            if reason is not None:
                return Refusal(check.label or check.name, f"{reason}; {_why(marks, check.of or ())}")
    return None


def _why(marks: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """What judges said of a criterion, or of all that a total is the sum of."""
    lines = [line for line in marks["why"].split("\n") if line.strip()]
    own = [line for line in lines if re.match(rf"{re.escape(path[-1])}( \(|:)", line)]
    return "; ".join(own or lines)


def composed_value(step: StepPlan, text: str, values: Mapping[str, Any]) -> Any:
    """The value of what was composed, or a Refusal.  A text stands as it is; white space around
    it is not looked at."""
    value = value_of(step, text)
    if isinstance(value, Refusal):
        return value
    if step.role is not None and not step.said(value).strip():
        return Refusal("not_empty", "says nothing")
    return refusal(step, value.strip() if isinstance(value, str) else value, values) or value


def resolved(arguments: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A function's arguments as they are in one sample."""
    return {
        name: look_up(argument, values) if isinstance(argument, RefPlan) else argument
        for name, argument in arguments.items()
    }


def is_complete(arguments: Mapping[str, Any]) -> bool:
    """Whether a sample has all that a check of it is to go by."""
    return all(argument is not None for argument in arguments.values())


def misfit(schema: str, value: Any) -> str | None:
    """Why a value does not fit a JSON Schema, given as text, or None.  A schema of others that takes too much
    work, or refers to what lies elsewhere, is said not to be judged, or raises."""
    from jsonschema.exceptions import best_match

    try:
        error = best_match(errors(schema, value))
    except Unjudged as unjudged:
        return f"cannot be judged by its schema: {unjudged}"
    if error is None:
        return None
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    message = error.message if len(error.message) <= 200 else error.message[:197] + "..."
    return f"does not fit its schema{f' at `{place}`' if place else ''}: {message}"


def reason_against(check: CheckPlan, value: Any, values: Mapping[str, Any]) -> str | None:
    """Why a value fails a check.  A sample that lacks what the check is to go by passes it."""
    arguments = resolved(check.arguments, values)
    if not is_complete(arguments):
        return None
    reasons = (run_check(check.name, arguments, part) for part in parts_of(value, check.of))
    reason = next((reason for reason in reasons if reason is not None), None)
    if reason is None or CHECKS[check.name].takes != "number":
        return reason
    # A number says nothing without its name.
    return f"{'.'.join(check.of or ())} {reason}"


def parts_of(value: Any, path: tuple[str, ...] | None) -> Iterator[Any]:
    """What a check is of: the value, or what lies at a path below it (`CheckPlan.of`) or beside what it
    begins with.  A conversation is one value, though it is a list."""
    if path is None:
        yield value
    elif isinstance(value, list) and (path or not value or not is_conversation(value)):
        for item in value:
            yield from parts_of(item, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, Mapping) and path[0] in value:
        inner, beside = value[path[0]], ".".join(path[:2])
        if len(path) > 1 and beside in value and not (isinstance(inner, Mapping) and path[1] in inner):
            yield from parts_of(value[beside], path[2:])
        else:
            yield from parts_of(inner, path[1:])
