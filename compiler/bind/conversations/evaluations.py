"""Binding of `evaluation`: measures of a dataset and the bounds they must keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import Axis, Bound, Conversation, Draw, Evaluation, Rubric
from synth.compiler.bind.blocks.check_blocks import written_at
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.declarations.exports import OF_CONVERSATIONS, PAIRS
from synth.compiler.bind.expressions.arguments import bind_arguments
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.judging.measured import bind_measured, check_reachable
from synth.compiler.plan.outputs import EvaluationPlan, ExportPlan, MetricPlan
from synth.compiler.plan.signature import COLUMN_OR_PATH, COLUMN_OR_TEXT, SOURCE, Parameter
from synth.compiler.plan.types import COUNT, MODEL, NUMBER, PATH, RATIO, TEXT, WORD, Type
from synth.compiler.stdlib.checks import CHECKS, faults
from synth.compiler.stdlib.checks.faults import Fault
from synth.compiler.stdlib.running import by_place
from synth.dsl.syntax import Argument, Integer, Number, Range, Ratio, Rule, Statement

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


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure's signature, an example of it, and what can be wrong with its arguments' values."""

    parameters: tuple[Parameter, ...]
    example: str
    fault: Callable[[Mapping[str, Any]], Fault | None] | None = None


def _faulty_phrase(arguments: Mapping[str, Any]) -> Fault | None:
    faulty_word = CHECKS["no_words"].fault
    assert faulty_word is not None
    return faulty_word({"words": arguments["phrases"]})


def _faulty_top_k(arguments: Mapping[str, Any]) -> Fault | None:
    if arguments["top_k"] > 0:
        return None
    return Fault(
        arguments["top_k"], "questions are answered from at least one passage", "for example `top_k = 3`"
    )


MEASURES: Mapping[str, Metric] = {
    "json_errors": Metric((_STUDENT, *_SHARE), "json_errors(at_most = 0%)"),
    "forbidden_words": Metric(
        (Parameter("words", TEXT, variadic=True), _STUDENT, *_SHARE),
        'forbidden_words("AI", at_most = 0%)',
        CHECKS["no_words"].fault,
    ),
    "emoji": Metric((_STUDENT, *_SHARE), "emoji(at_most = 0%)"),
    "repetition": Metric(
        (Parameter("ngram", COUNT, 4), Parameter("share", RATIO, 15), _STUDENT, *_SHARE),
        "repetition(at_most = 1%)",
        CHECKS["max_repetition"].fault,
    ),
    "perplexity": Metric((Parameter("student", MODEL), *_LEVEL), "perplexity(student = small, at_most = 20)"),
    "rag_accuracy": Metric(
        (
            Parameter("student", MODEL),
            _JUDGE,
            Parameter("questions", PATH, optional=True),
            Parameter("source", SOURCE, optional=True),
            Parameter("top_k", COUNT, 3),
            *_SHARE,
        ),
        "rag_accuracy(student = small, judge = teacher, at_least = 80%)",
        _faulty_top_k,
    ),
    "marked": Metric(
        (Parameter("rubric", Type("rubric")), _STUDENT, *_LEVEL), "marked(quality, at_least = 9)"
    ),
    "tool_calls_valid": Metric((_STUDENT, *_SHARE), "tool_calls_valid(at_least = 100%)"),
    "tool_accuracy": Metric(
        (Parameter("student", MODEL), *_SHARE), "tool_accuracy(student = small, at_least = 80%)"
    ),
    "sql_accuracy": Metric(
        (
            Parameter("student", MODEL),
            Parameter("schema", COLUMN_OR_TEXT, optional=True),
            Parameter("database", COLUMN_OR_PATH, optional=True),
            *_SHARE,
        ),
        'sql_accuracy(student = small, database = "data/shop.db", at_least = 80%)',
        faults.without_data,
    ),
    "tone": Metric((_JUDGE, *_SHARE), "tone(at_least = 70%)"),
    "refusals": Metric(
        (
            Parameter("phrases", TEXT, variadic=True),
            Parameter("among", WORD, optional=True),
            _STUDENT,
            *_SHARE,
        ),
        'refusals("not found", among = hard_negative, at_least = 95%)',
        _faulty_phrase,
    ),
}


def bind_evaluation(statement: Statement, bound: Bound, scope: Scope) -> Evaluation | None:
    """The evaluation a statement declares."""
    clause = statement.clause("of")
    if statement.name is None or clause is None:
        return None
    export: ExportPlan | None = scope.thing(clause.value, (ExportPlan,), "an export")
    if export is not None and export.type in (*PAIRS, *OF_CONVERSATIONS):
        scope.report(
            "E202",
            f"`{export.name}` holds {export.type} rows, and an evaluation measures conversations",
            clause.value.span,
        )
        return None
    measures: list[MetricPlan] = []
    places: list[Span] = []
    for rule, _ in check_shape(statement.body or (), "evaluation", scope.diagnostics):
        if isinstance(rule, Rule):
            measure = _measure(rule, scope)
            if measure is not None and export is not None:
                _check_rows(rule, measure, bound.conversations.get(export.source), bound, scope)
                _check_columns(rule, measure, export, scope)
            if measure is not None:
                _check_questions(rule, measure, bound, scope)
                measures.append(measure)
                places.append(rule.span)
    if not statement.body:
        scope.report(
            "E107",
            f"`{statement.name}` measures nothing",
            statement.name.span,
            hint=f"for example `{MEASURES['emoji'].example}`",
        )
    if export is None:
        return None
    plan = EvaluationPlan(name=statement.name.text, of=export.name, measures=tuple(measures))
    return Evaluation(plan, statement.name.span, tuple(places))


def _check_questions(rule: Rule, measure: MetricPlan, bound: Bound, scope: Scope) -> None:
    """What `rag_accuracy` is of: questions that passages answer, or a judge's view of the rows."""
    arguments = measure.arguments
    if measure.name != "rag_accuracy":
        return
    if ("questions" in arguments) != ("source" in arguments):
        scope.report(
            "E107",
            "`questions` are answered from passages: `rag_accuracy` needs them and a `source` together",
            rule.span,
            hint='for example `questions = "data/questions.jsonl", source = docs`',
        )
    elif "questions" not in arguments and "judge" not in arguments:
        scope.report(
            "E107",
            "`rag_accuracy` needs `questions` with their facts, or a `judge`",
            rule.span,
            hint=f"for example `{MEASURES[measure.name].example}`",
        )
    source = bound.sources.get(str(arguments.get("source")))
    if source is not None and source.plan.type != "chunk":
        scope.report(
            "E202",
            f"questions are answered from chunks, and `{source.plan.name}` gives messages",
            rule.span,
            secondary=(Label(source.span, "declared here"),),
        )


def _check_rows(
    rule: Rule, measure: MetricPlan, conversation: Conversation | None, bound: Bound, scope: Scope
) -> None:
    """Measures that need to know how a row was made are of one conversation's rows."""
    arguments = measure.arguments
    varies: tuple[Draw | Axis, ...] = ()
    if conversation is not None:
        varies = (*conversation.draws, *conversation.axes)
    if measure.name == "tone" and not any(
        (isinstance(varied, Draw) and varied.personas)
        or (isinstance(varied, Axis) and varied.set.what == "personas")
        for varied in varies
    ):
        scope.report(
            "E202",
            "`tone` compares voices, and no persona is drawn for these rows",
            rule.span,
            hint="it is for an export of a conversation with `draw person from people`",
        )
    if "among" in arguments:
        labels = [
            member.label
            for varied in varies
            for member in (varied.members if isinstance(varied, Draw) else varied.set.members)
        ]
        sets = [varied.source if isinstance(varied, Draw) else varied.set.name for varied in varies]
        # A member that was at fault is missing here for that alone.
        whole = all(bound.sets[name].whole for name in sets if name in bound.sets)
        if arguments["among"] not in labels and whole and scope.first(f"{arguments['among']} is no row"):
            guess = suggest(str(arguments["among"]), labels)
            scope.report(
                "E102",
                f"no row is made as `{arguments['among']}`",
                rule.span,
                hint=f"did you mean `{guess}`?"
                if guess
                else "it names a member of what is drawn for the rows",
            )


def _check_columns(rule: Rule, measure: MetricPlan, export: ExportPlan, scope: Scope) -> None:
    """Columns of the rows that a measure goes by."""
    names = [column if isinstance(column, str) else column.name for column in export.columns]
    for value in measure.arguments.values():
        column = value.get("column") if isinstance(value, dict) else None
        if column is not None and column not in names:
            guess = suggest(str(column), names)
            scope.report(
                "E102",
                f"`{export.name}` has no column `{column}`",
                written_at(rule, column),
                hint=f"did you mean `{guess}`?" if guess else f"give it one: `columns {{ {column} = ... }}`",
            )


def _measure(rule: Rule, scope: Scope) -> MetricPlan | None:
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
    known = MEASURES[name]
    written, parameters = rule.arguments, known.parameters
    by: tuple[Rubric, str] | None = None
    if name == "marked":
        by = bind_measured(rule, known.example, scope)
        if by is None:
            return None
        written, parameters = written[1:], parameters[1:]
    if _unnamed_bound(name, written, parameters, known.example, scope):
        return None
    values = bind_arguments(name, written, parameters, rule.span, known.example, scope)
    if values is None:
        return None
    fault = known.fault(values) if known.fault is not None else None
    if fault is not None:
        scope.report("E202", fault.message, written_at(rule, fault.value), hint=fault.hint)
        return None
    bounds = {key: values.pop(key, None) for key in ("at_most", "at_least")}
    if bounds["at_most"] is None and bounds["at_least"] is None:
        scope.report(
            "E202", f"`{name}` has no bound to keep", rule.span, hint=f"for example `{known.example}`"
        )
        return None
    if by is None:
        return MetricPlan(name=name, arguments=by_place(values), **bounds)
    rubric, mark = by
    if not check_reachable(rubric, mark, bounds, rule, scope):
        return None
    asked = {"mark": mark, "judges": [judge.plan.name for judge in rubric.judges]}
    return MetricPlan(name=name, arguments={**values, **asked}, rubric=rubric.plan, **bounds)


def _unnamed_bound(
    name: str, arguments: Sequence[Argument], parameters: Sequence[Parameter], example: str, scope: Scope
) -> bool:
    """E202 for a bound without a name, which would be taken for what comes first."""
    of_model = bool(parameters) and parameters[0].type == MODEL
    for place, argument in enumerate(arguments):
        value = argument.value
        number = isinstance(value, Integer | Number | Ratio) and of_model and place == 0
        if argument.name is not None or not (isinstance(value, Range) or number):
            continue
        ends = {"at_least": value.low, "at_most": value.high} if isinstance(value, Range) else {}
        meant = ", ".join(f"{key} = {end}" for key, end in ends.items() if end is not None)
        scope.report(
            "E202",
            f"`{name}` takes its bound by name, `at_least` or `at_most`",
            argument.span,
            hint=f"write `{meant}`" if meant else f"for example `{example}`",
        )
        return True
    return False
