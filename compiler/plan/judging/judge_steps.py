"""Checks that a model judges: what it is asked about a value, as a step of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import CheckPlan, FilterPlan, JsonOutput, RefPlan, StepPlan, Template

# What a judge's prompt calls the value it is asked about; no name in a recipe has a space.
JUDGED = "the value"
# A judge that gives no verdict is asked again so often.
_RETRY = 2

_VERDICT: dict[str, Any] = {
    "type": "object",
    "properties": {"why": {"type": "string", "maxLength": 400}, "holds": {"type": "boolean"}},
    "required": ["why", "holds"],
    "additionalProperties": False,
}
_REPLY = "\n\nReply with JSON: `why` in one sentence, then `holds`, true or false."


def judging(step: str, check: CheckPlan, sampling: Sampling) -> StepPlan:
    """The step that asks a check's judge about a value of `step`.  Its value is `why` and `holds`.

    `sampling` is as the recipe declares the judge.
    """
    arguments = check.arguments
    if sampling.temperature is None:
        sampling = sampling.model_copy(update={"temperature": 0.0})
    return StepPlan(
        name=f"{step}.{check.name}",
        model=str(arguments["judge"]),
        output=JsonOutput(schema_=_VERDICT),
        prompt=(*_PROMPTS[check.name](arguments), _REPLY),
        sampling=sampling,
        retry=_RETRY,
    )


def no_verdict(judge: str | None) -> str:
    """Why a value is refused of which a check's judge says nothing that can be read."""
    return f"`{judge}` gave no verdict on it"


def no_marks(judge: str | None) -> str:
    """Why a value is refused of which a judge of its step's rubric says nothing that can be read."""
    return f"`{judge}` gave no marks"


def is_unjudged(step: StepPlan, check: str, reason: str) -> bool:
    """Whether a value of a step was refused since a judge said nothing of it, so that nobody says it is
    bad."""
    if step.rubric is not None and check == step.rubric.name:
        return reason in {no_marks(judging.model) for judging in step.marked_by}
    judges = {judging.label or judging.name for judging in step.checks if "judge" in judging.arguments}
    return check in judges and reason in {no_verdict(judging.model) for judging in step.judged_by}


def _supported_by(arguments: Mapping[str, Any]) -> Template:
    return (
        "Do the passages support what the answer states?\n\nPassages:\n",
        *_passages(arguments["evidence"]),
        "\n\nAnswer:\n",
        RefPlan(path=(JUDGED,)),
        "\n\nIt holds when every statement of fact in it follows from the passages; questions, greetings "
        "and saying that something is not found there need no support.",
    )


def _approved_by(arguments: Mapping[str, Any]) -> Template:
    evidence, question = arguments.get("evidence"), arguments["question"]
    return (
        question if isinstance(question, RefPlan) else str(question),
        "\n\n",
        *(("Passages:\n", *_passages(evidence), "\n\n") if evidence is not None else ()),
        "Text:\n",
        RefPlan(path=(JUDGED,)),
        "\n\nIt holds when the answer to the question above is yes.",
    )


def _passages(evidence: Any) -> Template:
    assert isinstance(evidence, RefPlan), "passages are each sample's own"
    return (evidence.model_copy(update={"filters": (FilterPlan(name="numbered"),)}),)


_PROMPTS = {"supported_by": _supported_by, "approved_by": _approved_by}
