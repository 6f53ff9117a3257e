"""Binding of `rubric`: questions about a text, and the models that answer them with marks."""

from __future__ import annotations

from collections.abc import Iterator

from synth.base.diagnostics.diagnostic import Label
from synth.compiler.bind.blocks.bound import Model, Rubric
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.expressions.meant import declared_as
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, constant, is_empty
from synth.compiler.plan.judging.rubrics import CriterionPlan, RubricPlan
from synth.compiler.plan.types import TEXT
from synth.dsl.syntax import Expression, List, Reference, Statement

# What marks have besides those of the criteria.
_OWN = {"total": "the sum of the marks", "why": "the reasons"}
_EXAMPLE = '`helpful 1..5 = "Does it do what was asked?"`'


def bind_rubric(statement: Statement, scope: Scope) -> Rubric | None:
    """The rubric a statement declares, or None where its faults leave nothing to mark by.

    That of a library has no judges: a recipe names them, `rubric fair from house.fair by judge`.
    """
    if statement.name is None:
        return None
    by, taken = statement.clause("by"), statement.clause("from")
    judges = tuple(_judges(by.value, scope)) if by is not None else ()
    if taken is not None:
        shared: Rubric | None = scope.thing(taken.value, (Rubric,), "a rubric")
        criteria = list(shared.plan.criteria) if shared is not None else []
        if statement.body is not None:
            scope.report(
                "E108",
                f"`{statement.name}` has the questions of `{taken.value.span.text}`, and others in braces",
                taken.value.span,
                hint="keep one of the two",
            )
    else:
        criteria = list(_criteria(statement, scope))
    if not criteria or (by is not None and not judges):
        return None
    plan = RubricPlan(name=statement.name.text, criteria=tuple(criteria))
    return Rubric(plan, judges, statement.name.span, (statement.name.span if by is None else by.value.span))


def has_judges(rubric: Rubric, called: Reference, scope: Scope) -> bool:
    """E107 for the rubric of a library, which names no models."""
    if rubric.judges:
        return True
    name = rubric.plan.name
    scope.report(
        "E107",
        f"nobody marks by `{called}`: a library names no models",
        called.span,
        secondary=(Label(rubric.span, "declared here"),),
        hint=f"say who does: `rubric {name} from {called} by judge`, and then `marks = {name}`",
    )
    return False


def _criteria(statement: Statement, scope: Scope) -> Iterator[CriterionPlan]:
    for inner, _ in check_shape(statement.body or (), "rubric", scope.diagnostics):
        criterion = _criterion(inner, scope) if isinstance(inner, Statement) else None
        if criterion is not None:
            yield criterion
    if not statement.body and not statement.damaged and statement.name is not None:
        scope.report(
            "E107", f"`{statement.name}` asks nothing", statement.name.span, hint=f"for example {_EXAMPLE}"
        )


def _judges(written: Expression, scope: Scope) -> Iterator[Model]:
    """The models after `by`: one, or a list of them."""
    items = written.items if isinstance(written, List) else (written,)
    if not items:
        scope.report("E107", "nobody marks by this rubric", written.span, hint="name a model: `by judge`")
    seen: dict[str, Expression] = {}
    for item in items:
        judge: Model | None = scope.thing(item, (Model,), "a model", hint=declared_as(item))
        if judge is None:
            continue
        name = judge.plan.name
        if name in seen:
            scope.report(
                "E104",
                f"`{name}` marks twice",
                item.span,
                secondary=(Label(seen[name].span, "first here"),),
                hint="marks are the mean of different models': keep one of the two",
            )
            continue
        seen[name] = item
        yield judge


def _criterion(statement: Statement, scope: Scope) -> CriterionPlan | None:
    """`helpful 1..5 = "Does it do what was asked?"`."""
    name, scale, question = statement.kind, statement.scale, statement.value
    if scale is None or question is None or statement.damaged:
        return None
    if name.text in _OWN:
        scope.report(
            "E104",
            f"marks have a `{name}` already: {_OWN[name.text]}",
            name.span,
            hint="give the question another name",
        )
        return None
    if not isinstance(scale.low, int) or not isinstance(scale.high, int):
        scope.report(
            "E202",
            f"`{name}` is marked from one whole number to another, and `{scale.span.text}` says otherwise",
            scale.span,
            hint=f"for example `{name} 1..5 = ...`",
        )
        return None
    if is_empty(scale) or scale.low == scale.high:
        scope.report(
            "E202",
            f"`{scale.span.text}` leaves a judge no choice",
            scale.span,
            hint="the worst mark comes first, then a higher one: `1..5`",
        )
        return None
    text = constant(question, TEXT, scope, f"the question of `{name}`")
    if text is FAILED:
        return None
    if not str(text).strip():
        scope.report(
            "E202", f"`{name}` asks nothing", question.span, hint=f"a question stands there: {_EXAMPLE}"
        )
        return None
    return CriterionPlan(name=name.text, low=scale.low, high=scale.high, question=str(text).strip())
