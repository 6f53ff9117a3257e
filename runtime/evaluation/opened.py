"""Which measure is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from synth.compiler.plan.model import Plan
from synth.compiler.plan.outputs import MetricPlan
from synth.runtime.evaluation.faults import OF_ANSWERS
from synth.runtime.evaluation.metrics import (
    Marked,
    Metric,
    OfDataset,
    OfQuestions,
    OfReferences,
    OfStudent,
    Perplexity,
    Tone,
)
from synth.runtime.evaluation.queries import SqlAccuracy
from synth.runtime.evaluation.tool_calls import CallAccuracy, CallsValid

_KINDS: Mapping[str, type[Metric]] = {
    "perplexity": Perplexity,
    "rag_accuracy": OfReferences,
    "marked": Marked,
    "tone": Tone,
    "sql_accuracy": SqlAccuracy,
    "tool_calls_valid": CallsValid,
    "tool_accuracy": CallAccuracy,
}


def open_metric(plan: Plan, of: str, metric: MetricPlan, allowed: Sequence[Path] = ()) -> Metric:
    """A measure, ready to see rows.  Raises ConfigError for questions that cannot be read."""
    if metric.name in OF_ANSWERS:
        kind = OfDataset if "student" not in metric.arguments else OfStudent
        return kind(plan, of, metric)
    if metric.name == "rag_accuracy" and "questions" in metric.arguments:
        return OfQuestions(plan, of, metric, allowed)
    return _KINDS[metric.name](plan, of, metric)
