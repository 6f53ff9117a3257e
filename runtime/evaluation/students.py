"""A student that the recipe does not know of: what is measured is measured of it as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth.compiler.outside.backends import BACKENDS
from synth.compiler.plan.model import Plan
from synth.compiler.plan.models import ModelPlan
from synth.compiler.plan.outputs import MetricPlan
from synth.runtime.evaluation.faults import OF_ANSWERS
from synth.runtime.settings import STUDENT, Settings


def with_student(plan: Plan, settings: Settings) -> tuple[Plan, list[str]]:
    """The plan with each measure that can be also taken of the model `student`, wherever the
    settings have it run; and warnings about those that cannot be."""
    spec = settings.given[STUDENT]
    models = plan.models
    if not any(model.name == STUDENT for model in models):
        models = (*models, ModelPlan(name=STUDENT, capabilities=("chat",), backend=spec.backend, id=spec.id))
    # Whether it can say how likely an answer is.
    scores = "logprobs" in BACKENDS[spec.backend].capabilities
    evaluations, warnings = [], []
    for evaluation in plan.evaluations:
        wanted = [*evaluation.measures, *_of_student(evaluation.measures)]
        measures = [each for each in wanted if scores or not _scores(each)]
        if len(measures) < len(wanted):
            warnings.append(
                f"`perplexity` is not taken of `{STUDENT}`: {spec.backend} gives no token probabilities"
            )
        evaluations.append(evaluation.model_copy(update={"measures": tuple(measures)}))
    return changed(plan, models=models, evaluations=tuple(evaluations)), warnings


def _scores(metric: MetricPlan) -> bool:
    return metric.name == "perplexity" and metric.arguments["student"] == STUDENT


def _of_student(measures: Sequence[MetricPlan]) -> list[MetricPlan]:
    """The measures that are not taken of the student yet, and can be."""
    made: list[MetricPlan] = []
    for each in measures:
        of_student = each.model_copy(update={"arguments": {**each.arguments, "student": STUDENT}})
        of_any = each.name in (*OF_ANSWERS, "tool_calls_valid") or each.rubric is not None
        if (of_any or "student" in each.arguments) and of_student not in (*measures, *made):
            made.append(of_student)
    return made


def changed(plan: Plan, **parts: Any) -> Plan:
    """A plan with some parts replaced, and nothing cached of the old one."""
    kept = {name: getattr(plan, name) for name in Plan.model_fields}
    return Plan(**{**kept, **parts}).below(plan.folder)
