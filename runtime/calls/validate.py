"""Whether an answer becomes a step's value, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synth.base.canonical import canonical_json
from synth.compiler.plan.steps import CheckPlan, JsonOutput, RefPlan, StepPlan
from synth.compiler.stdlib.verdict import (
    Refusal,
    composed_value,
    is_complete,
    misfit,
    refusal,
    resolved,
    value_of,
)
from synth.runtime.calls.attempt import Answer
from synth.runtime.calls.rules import CURRENT, Rules


@dataclass(frozen=True, slots=True)
class Accepted:
    value: Any


@dataclass(frozen=True, slots=True)
class Rejected:
    """`check` names what refused the answer; `reason` is a clause without a full stop."""

    check: str
    reason: str


def validate(
    step: StepPlan,
    text: str,
    finish_reason: str,
    values: Mapping[str, Any] | None = None,
    *,
    thought: str | None = None,
    rules: Rules = CURRENT,
) -> Accepted | Rejected:
    """The verdict on what an answer says.  White space around text is not part of its value.

    `values` are what the sample has so far, for checks whose arguments are each sample's own;
    `thought` is the thinking that came with the answer.
    """
    text, cut = text.strip(), finish_reason == "length"
    if not text:
        return Rejected("not_empty", "the answer is empty") if thought is None else _only_thinks(step, cut)
    if cut and isinstance(step.output, JsonOutput):
        return Rejected("complete", "was cut off at max_tokens, so its JSON cannot be trusted")
    if cut and rules.heeds_length and step.on_length == "refuse":
        remedy = "ask for less" if step.sampling.max_tokens is None else "raise it"
        return Rejected(
            "complete",
            f"was cut off at {_limit(step)}: {remedy}, or keep such answers with `on_length = keep`",
        )
    value = value_of(step, text)
    why = value if isinstance(value, Refusal) else refusal(step, value, values or {})
    return Accepted(value) if why is None else Rejected(*why)


def validate_composed(step: StepPlan, text: str, values: Mapping[str, Any]) -> Accepted | Rejected:
    """The verdict on what no model wrote, but for that of judges."""
    value = composed_value(step, text, values)
    return Rejected(*value) if isinstance(value, Refusal) else Accepted(value)


def _only_thinks(step: StepPlan, cut: bool) -> Rejected:
    why = f", cut off at {_limit(step)}" if cut else ": no answer follows it"
    return Rejected("thinking", f"is nothing but thinking{why}")


def _limit(step: StepPlan) -> str:
    most = step.sampling.max_tokens
    return "the model's own limit of tokens" if most is None else f"max_tokens = {most}"


def in_one_sample(checks: tuple[CheckPlan, ...], values: Mapping[str, Any]) -> tuple[CheckPlan, ...]:
    """Checks with their arguments as they are in one sample, without those that it passes for lack
    of one, those that compare with rows, and Python functions, which may be given what is yet to be said."""
    if not checks or not any(
        check.against
        or check.source
        or any(isinstance(argument, RefPlan) for argument in check.arguments.values())
        for check in checks
    ):
        return checks
    resolved_checks = [
        (check, resolved(check.arguments, values))
        for check in checks
        if not check.against and not check.source
    ]
    return tuple(
        CheckPlan.model_construct(name=check.name, of=check.of, arguments=arguments, label=check.label)
        for check, arguments in resolved_checks
        if is_complete(arguments)
    )


def prepare(steps: Iterable[StepPlan]) -> None:
    """Loads what verdicts on JSON need, so that the first of them does not wait for it."""
    for step in steps:
        if isinstance(step.output, JsonOutput):
            misfit(canonical_json(step.output.schema_), None)


def verdict_on(
    step: StepPlan, answer: Answer, rules: Rules, values: Mapping[str, Any]
) -> Accepted | Rejected:
    """What becomes of an answer; how likely a model finds a text is never refused, nor what it calls where
    that is what is asked."""
    if step.calls_tools:
        calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in answer.calls]
        spoken: dict[str, Any] = {"text": answer.text, "calls": calls}
        return Accepted(spoken if answer.malformed is None else {**spoken, "malformed": answer.malformed})
    if not step.scores:
        return validate(step, answer.text, answer.finish_reason, values, thought=answer.thought, rules=rules)
    return Accepted({"logprob": answer.logprob, "tokens": answer.scored_tokens})
