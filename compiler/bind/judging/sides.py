"""Binding of a preference's `chosen`, `rejected` and `margin`: which two answers are a pair."""

from __future__ import annotations

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.compiler.bind.blocks.bound import Conversation, Step
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import FAILED, constant
from synth.compiler.plan.steps import CallPlan
from synth.compiler.plan.types import NUMBER
from synth.dsl.syntax import Call, Expression, Reference

# Which side is the best of the marked answers, and which the worst.
_BY_MARKS = {"best": "chosen", "worst": "rejected"}


def bind_side(
    expression: Expression, side: str, conversation: Conversation, steps: list[Step], scope: Scope
) -> CallPlan | None:
    """`padded`, `direct.answer`, `attempts(direct.answer)`, or `best` or `worst` of it."""
    function, reference = "turn", expression
    if isinstance(expression, Call):
        function = str(expression.function)
        if function in ("attempts", *_BY_MARKS) and len(expression.arguments) != 1:
            scope.report(
                "E202",
                f"`{function}` is of one turn or step, and takes nothing besides",
                expression.span,
                hint=f"for example `{function}({_first(expression) or f'{conversation.name}.answer'})`"
                + (", by the total of its marks" if function in _BY_MARKS else ""),
            )
            return None
        if function not in ("attempts", *_BY_MARKS):
            scope.report(
                "E203",
                f"`{expression.function}` gives no answer",
                expression.function.span,
                hint=f"for example `rejected = attempts({conversation.name}.answer)`",
            )
            return None
        if _BY_MARKS.get(function, side) != side:
            scope.report(
                "E202",
                f"`{function}` is never `{side}`: it is the answer with the "
                f"{'highest' if function == 'best' else 'lowest'} marks",
                expression.function.span,
                hint=f"write `{_BY_MARKS[function]} = {expression.span.text}`",
            )
            return None
        reference = expression.arguments[0].value
    if not isinstance(reference, Reference):
        scope.report(
            "E202", f"`{side}` names a turn", reference.span, hint=f"for example `{conversation.name}.answer`"
        )
        return None
    parts = [part.text for part in reference.parts]
    if len(parts) == 1:
        declared = scope.resolve(reference.parts[0])
        if declared is None:
            return None
        if declared.what == "turn" and function == "turn":
            return CallPlan(name="step", arguments={"name": parts[0]})
    elif len(parts) == 2 and parts[0] == conversation.name:
        step = next((step for step in conversation.steps if step.name == parts[1]), None)
        if step is not None and _is_written(step):
            if function in _BY_MARKS and not step.choosing.may_be_marked:
                scope.report(
                    "E202",
                    f"`{reference}` has no marks, so none of its answers is the {function}",
                    reference.span,
                    secondary=(Label(step.span, "written here"),),
                    hint=f"have `{step.name}` marked by a rubric: `marks = quality`",
                )
                return None
            return CallPlan(name=function, arguments={"name": parts[1]})
        if parts[1] in conversation.poisoned:
            return None
    models = [f"`{conversation.name}.{step.name}`" for step in conversation.steps if step.role == "model"]
    scope.report(
        "E202",
        f"`{reference}` is no model turn that could be {side}",
        reference.span,
        hint=f"for example {models[0]}" if models else "",
    )
    return None


def _first(call: Call) -> str:
    """The first argument of a call as it is written, where it is a name."""
    value = call.arguments[0].value if call.arguments else None
    return str(value) if isinstance(value, Reference) else ""


def _is_written(step: Step) -> bool:
    """Whether it is a turn of the model, or a step that a model writes."""
    return step.role == "model" or (step.role is None and step.model is not None)


def marked_sides(sides: dict[str, CallPlan], conversation: Conversation) -> list[str]:
    """The sides that have marks."""
    marked = {step.name for step in conversation.steps if step.choosing.may_be_marked}
    return [side for side, plan in sides.items() if plan.name != "step" and plan.arguments["name"] in marked]


def bind_margin(
    given: tuple[Expression, Span] | None,
    sides: dict[str, CallPlan],
    conversation: Conversation,
    scope: Scope,
) -> float | None:
    """How far apart the marks of a pair's answers are at least."""
    if given is None:
        return None
    written, span = given
    margin = constant(written, NUMBER, scope, "`margin`")
    if margin is FAILED:
        return None
    if margin <= 0:
        scope.report(
            "E202",
            f"`margin` is above 0, not {margin}",
            written.span,
            hint="without it, pairs whose marks differ at all are made",
        )
        return None
    without = [side for side in sides if side not in marked_sides(sides, conversation)]
    if without:
        written_here = sides[without[0]].name == "step"
        scope.report(
            "E108",
            f"`margin` is between two marks of the conversation, and `{without[0]}` is written for the pair"
            if written_here
            else f"`margin` is between two marks, and `{without[0]}` has none",
            span,
            hint=f"drop it, or compare `best({conversation.name}.answer)` with "
            f"`worst({conversation.name}.answer)`",
        )
        return None
    step = next(s for s in conversation.steps if s.name == sides["chosen"].arguments["name"])
    if step.choosing.rubric is None:
        return None
    criteria = step.choosing.rubric.plan.criteria
    most = sum(criterion.high - criterion.low for criterion in criteria)
    if margin > most:
        scope.report(
            "E202",
            f"no two answers to `{step.name}` are {margin} apart: `{step.choosing.rubric.plan.name}` has "
            f"{most} between the worst and the best",
            written.span,
            hint=f"ask for {most} at most",
        )
        return None
    least: float = margin
    return least


def same_prompt(
    sides: dict[str, CallPlan],
    fields: dict[str, tuple[Expression, Span]],
    conversation: Conversation,
    scope: Scope,
) -> None:
    """E503: two turns of the conversation answer the same prompt only if they are the same.  A step that
    is no turn may be the draft of one."""
    chosen, rejected = (side.arguments["name"] for side in (sides["chosen"], sides["rejected"]))
    if "step" in (sides["chosen"].name, sides["rejected"].name) or chosen == rejected:
        if sides["chosen"] == sides["rejected"]:
            scope.report(
                "E503",
                "`chosen` and `rejected` are the same answer",
                fields["rejected"][0].span,
                secondary=(Label(fields["chosen"][0].span, "chosen"),),
                hint=f"for example `rejected = attempts({conversation.name}.{chosen})`",
            )
        elif chosen == rejected:
            _report_same_answer(sides, fields, conversation, scope)
        return
    turns = [step.name in (chosen, rejected) for step in conversation.steps if step.role is not None]
    if sum(turns) == 1:
        return
    scope.report(
        "E503",
        f"`{chosen}` and `{rejected}` answer different prompts",
        fields["rejected"][0].span,
        secondary=(Label(fields["chosen"][0].span, "chosen"),),
        hint="a pair compares two answers to one prompt",
    )


def _report_same_answer(
    sides: dict[str, CallPlan],
    fields: dict[str, tuple[Expression, Span]],
    conversation: Conversation,
    scope: Scope,
) -> None:
    """E503: the best of one candidate is the worst as well, and the answer that was taken."""
    names = (sides["chosen"].name, sides["rejected"].name)
    step = next(s for s in conversation.steps if s.name == sides["chosen"].arguments["name"])
    if "attempts" in names or "step" in names or not step.choosing.whole:
        return
    path = f"{conversation.name}.{step.name}"
    if step.choosing.candidates == 1:
        why = f"`{step.name}` has one candidate"
        hint = f"for example `candidates = 4`; or compare with what was refused, `attempts({path})`"
    elif names == ("best", "turn") and step.choosing.pick.by == "best":
        why, hint = f"`{step.name}` is the best of its candidates", f"for example `rejected = worst({path})`"
    else:
        return
    scope.report(
        "E503",
        f"`chosen` and `rejected` are the same answer: {why}",
        fields["rejected"][0].span,
        secondary=(Label(fields["chosen"][0].span, "chosen"),),
        hint=hint,
    )
