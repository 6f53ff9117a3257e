"""What a rubric's judges are asked, each as a step of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth.compiler.plan.judging.judge_steps import JUDGED
from synth.compiler.plan.judging.rubrics import RubricPlan
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import FilterPlan, JsonOutput, RefPlan, StepPlan, Template

# What a judge's prompt calls all that comes before the value it marks, as text.
BEFORE = "all before"
# A judge that gives no marks is asked again so often.
_RETRY = 2
_LONGEST_REASON = 400


def marking(
    step: str,
    rubric: RubricPlan,
    judge: str,
    sampling: Sampling,
    given: Mapping[str, Template | RefPlan],
    *,
    judges: int = 1,
    of: Template | None = None,
) -> StepPlan:
    """The step that asks one of a rubric's `judges` for its marks of a value of `step`, or of what the
    template `of` gives.

    Its value is `{criterion: {why, mark}}`.  `given` is what the judge is shown besides, by its name;
    `sampling` is as the recipe declares the judge.
    """
    if sampling.temperature is None:
        sampling = sampling.model_copy(update={"temperature": 0.0})
    own = rubric.name if of is None else "marks"
    return StepPlan(
        name=f"{step}.{own}" if judges == 1 else f"{step}.{own}.{judge}",
        model=judge,
        output=JsonOutput(schema_=_schema(rubric)),
        prompt=_prompt(rubric, given, of),
        sampling=sampling,
        retry=_RETRY,
    )


def _schema(rubric: RubricPlan) -> dict[str, Any]:
    marks = {
        criterion.name: {
            "type": "object",
            # The reason comes first, so that the mark follows from it.
            "properties": {
                "why": {"type": "string", "maxLength": _LONGEST_REASON},
                "mark": {"type": "integer", "minimum": criterion.low, "maximum": criterion.high},
            },
            "required": ["why", "mark"],
            "additionalProperties": False,
        }
        for criterion in rubric.criteria
    }
    return {
        "type": "object",
        "properties": marks,
        "required": list(marks),
        "additionalProperties": False,
    }


def _prompt(rubric: RubricPlan, given: Mapping[str, Template | RefPlan], of: Template | None) -> Template:
    prompt: list[str | RefPlan] = ["Mark a text by each of these questions.\n"]
    for criterion in rubric.criteria:
        prompt.append(
            f"\n- {criterion.name}, from {criterion.low} (least) to {criterion.high} (most): "
            f"{criterion.question}"
        )
    if of is None:
        prompt += ["\n\nWhat comes before the text:\n", RefPlan(path=(BEFORE,))]
    for name, value in given.items():
        prompt += [f"\n\n{name}:\n", *_given(value)]
    prompt += ["\n\nThe text:\n", *((RefPlan(path=(JUDGED,)),) if of is None else of)]
    prompt.append(
        "\n\nReply with JSON: for each question `why` in one sentence, then the whole number `mark`."
    )
    merged: list[str | RefPlan] = []
    for part in prompt:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)


def _given(value: Template | RefPlan) -> Template:
    return value if isinstance(value, tuple) else (value,)


def passages(reference: RefPlan) -> RefPlan:
    """Passages as a judge is shown them."""
    return reference.model_copy(update={"filters": (FilterPlan(name="numbered"),)})
