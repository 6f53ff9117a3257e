"""Binding of the measure `marked(quality, at_least = 9)`: by which rubric, and which of its marks."""

from __future__ import annotations

from typing import Any

from synth.base.suggest import some_of, suggest
from synth.compiler.bind.blocks.bound import Rubric
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.plan.types import Type
from synth.dsl.syntax import Reference, Rule


def bind_measured(rule: Rule, example: str, scope: Scope) -> tuple[Rubric, str] | None:
    """The rubric that a measure names, and one of its questions or `total`; None after a report."""
    first = rule.arguments[0] if rule.arguments else None
    if first is None or first.name is not None or not isinstance(first.value, Reference):
        scope.report(
            "E202",
            "`marked` names the rubric that answers are marked by",
            rule.span if first is None else first.span,
            hint=f"for example `{example}`",
        )
        return None
    reference = first.value
    rubric: Rubric | None = scope.thing(
        Reference(reference.parts[:1], reference.parts[0].span), (Rubric,), "a rubric"
    )
    if rubric is None:
        return None
    mark = ".".join(part.text for part in reference.parts[1:]) or "total"
    type_ = mark_type(rubric, mark)
    if type_ is None or type_.name != "number":
        names = [*(criterion.name for criterion in rubric.plan.criteria), "total"]
        guess = suggest(mark, names)
        scope.report(
            "E102",
            f"`{rubric.plan.name}` has no mark `{mark}`",
            reference.parts[1].span,
            hint=f"did you mean `{guess}`?" if guess else f"it has {some_of(names)}",
        )
        return None
    return rubric, mark


def mark_type(rubric: Rubric, mark: str) -> Type | None:
    """The type of one of a rubric's marks."""
    schema = rubric.marks.schema
    return schema.field(mark) if schema is not None else None


def check_reachable(rubric: Rubric, mark: str, bounds: dict[str, Any], rule: Rule, scope: Scope) -> bool:
    """Whether a mark can be within the bounds that it is to keep, and beyond them."""
    type_ = mark_type(rubric, mark)
    assert type_ is not None
    assert type_.low is not None
    assert type_.high is not None
    least, most = bounds["at_least"], bounds["at_most"]
    reached = (least is None or least <= type_.high) and (most is None or most >= type_.low)
    asked = (least is not None and least > type_.low) or (most is not None and most < type_.high)
    if reached and asked:
        return True
    scope.report(
        "E202",
        f"`{rule.arguments[0].value.span.text}` is from {type_.low} to {type_.high}, and keeps "
        f"{'any such bound' if reached else 'no such bound'}",
        rule.span,
        hint=f"ask for more than {type_.low} at least, or for less than {type_.high} at most",
    )
    return False
