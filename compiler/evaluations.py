"""Binding of `evaluation`: measures of a dataset and the bounds they must keep."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.bound import Bound
from compiler.calls import Parameter, bind_arguments
from compiler.plan import EvaluationPlan, ExportPlan, MeasurePlan
from compiler.scope import Scope
from compiler.shape import check_shape
from compiler.types import COUNT, MODEL, NUMBER, RATIO, TEXT
from dsl.suggest import suggest
from dsl.syntax import Rule, Statement

_SHARE = (
    Parameter("at_most", RATIO, optional=True),
    Parameter("at_least", RATIO, optional=True),
)
_LEVEL = (
    Parameter("at_most", NUMBER, optional=True),
    Parameter("at_least", NUMBER, optional=True),
)
_STUDENT = Parameter("student", MODEL, optional=True)
_JUDGE = Parameter("judge", MODEL, optional=True)

MEASURES: Mapping[str, tuple[tuple[Parameter, ...], str]] = {
    "json_errors": ((_STUDENT, *_SHARE), "json_errors(at_most = 0%)"),
    "forbidden_words": (
        (Parameter("words", TEXT, variadic=True), _STUDENT, *_SHARE),
        'forbidden_words("AI", at_most = 0%)',
    ),
    "emoji": ((_STUDENT, *_SHARE), "emoji(at_most = 0%)"),
    "repetition": ((Parameter("ngram", COUNT, 4), _STUDENT, *_SHARE), "repetition(at_most = 15%)"),
    "perplexity": ((Parameter("student", MODEL), *_LEVEL), "perplexity(student = small, at_most = 20)"),
    "rag_accuracy": (
        (Parameter("student", MODEL), _JUDGE, *_SHARE),
        "rag_accuracy(student = small, at_least = 80%)",
    ),
    "tone": ((_JUDGE, *_SHARE), "tone(at_least = 70%)"),
    "refusals": ((_STUDENT, *_SHARE), "refusals(at_least = 95%)"),
}


def bind_evaluation(statement: Statement, bound: Bound, scope: Scope) -> EvaluationPlan | None:
    """The evaluation a statement declares."""
    clause = statement.clause("of")
    if statement.name is None or clause is None:
        return None
    export: ExportPlan | None = scope.thing(clause.value, (ExportPlan,), "an export")
    measures: list[MeasurePlan] = []
    for rule, _ in check_shape(statement.body or (), "evaluation", scope.diagnostics):
        if isinstance(rule, Rule):
            measure = _measure(rule, scope)
            if measure is not None:
                measures.append(measure)
    if export is None:
        return None
    return EvaluationPlan(name=statement.name.text, of=export.name, measures=tuple(measures))


def _measure(rule: Rule, scope: Scope) -> MeasurePlan | None:
    name = rule.name.text
    if name not in MEASURES:
        guess = suggest(name, MEASURES)
        scope.report(
            "E203",
            f"there is no measure `{name}`",
            rule.name.span,
            hint=f"did you mean `{guess}`?" if guess else f"measures are {', '.join(MEASURES)}",
        )
        return None
    parameters, example = MEASURES[name]
    values = bind_arguments(name, rule.arguments, parameters, rule.span, example, scope)
    if values is None:
        return None
    bounds = {key: values.pop(key, None) for key in ("at_most", "at_least")}
    if bounds["at_most"] is None and bounds["at_least"] is None:
        scope.report("E202", f"`{name}` has no bound to keep", rule.span, hint=f"for example `{example}`")
        return None
    return MeasurePlan(name=name, arguments=values, **bounds)
