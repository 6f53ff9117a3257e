"""What is to be said of one answer by the measures that a pure function can take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synth.compiler.plan.outputs import MetricPlan
from synth.compiler.plan.steps import JsonOutput, StepPlan
from synth.compiler.stdlib.checks import run_check
from synth.runtime.calls.validate import Rejected, validate
from synth.runtime.evaluation.items import Answer, Item
from synth.runtime.evaluation.verdicts import VerdictCounts

# The reason why an answer counts against a measure, or None.
Fault = Callable[[Mapping[str, Any], Answer], str | None]


def json_errors(arguments: Mapping[str, Any], answer: Answer) -> str | None:
    """No JSON, or JSON that does not fit the schema its row was made with."""
    assert answer.schema is not None, "only answers that must be JSON are judged"
    step = StepPlan(name="answer", output=JsonOutput(schema_=dict(answer.schema)))
    verdict = validate(step, answer.text, "stop")
    return f"{verdict.check}: {verdict.reason}" if isinstance(verdict, Rejected) else None


def forbidden_words(arguments: Mapping[str, Any], answer: Answer) -> str | None:
    return run_check("no_words", {"words": arguments["words"]}, answer.text)


def emoji(arguments: Mapping[str, Any], answer: Answer) -> str | None:
    return run_check("no_emoji", {}, answer.text)


def repetition(arguments: Mapping[str, Any], answer: Answer) -> str | None:
    bounds = {"ngram": arguments["ngram"], "share": arguments["share"]}
    return run_check("max_repetition", bounds, answer.text)


FAULTS: Mapping[str, Fault] = {
    "json_errors": json_errors,
    "forbidden_words": forbidden_words,
    "emoji": emoji,
    "repetition": repetition,
}

# Measures of answers, whoever gives them.
OF_ANSWERS = frozenset((*FAULTS, "refusals"))


def concerns(metric: MetricPlan, item: Item, answer: Answer) -> bool:
    """Whether a measure looks at a row's answer at all: JSON errors are for what must be JSON, and
    refusals are counted among rows made so."""
    among = metric.arguments.get("among")
    return (among is None or among in item.columns.values()) and (
        metric.name != "json_errors" or answer.schema is not None
    )


def count_answer(metric: MetricPlan, row: str, answer: Answer, counts: VerdictCounts) -> None:
    """Adds one answer to the counts of such a measure."""
    if metric.name == "refusals":
        phrase = run_check("no_words", {"words": metric.arguments["phrases"]}, answer.text)
        counts.add(row, phrase is not None, answer.text)
    else:
        reason = FAULTS[metric.name](metric.arguments, answer)
        counts.add(row, reason is not None, reason or answer.text)
