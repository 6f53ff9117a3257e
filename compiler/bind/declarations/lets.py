"""Binding of a conversation's `let`: what is looked up or put together between the turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import suggest
from synth.compiler.bind.blocks.bound import Bound, Choosing, Draw, Rubric, Step
from synth.compiler.bind.expressions.arguments import bind_arguments
from synth.compiler.bind.expressions.conditions import bind_conditions, written_as
from synth.compiler.bind.expressions.either import bind_either
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.template import bind_template
from synth.compiler.bind.functions.bound_call import bind_call, find_function
from synth.compiler.bind.judging.choosing import quoted as shown
from synth.compiler.bind.judging.given import bind_marks_of
from synth.compiler.plan.signature import HOW_MANY, SOURCE, Parameter
from synth.compiler.plan.steps import CallPlan, RefPlan
from synth.compiler.plan.types import CHUNKS, COUNT, TEXT, Type
from synth.compiler.stdlib.render import references
from synth.dsl.syntax import Argument, Call, Expression, Statement, Text

PARAMETERS: Mapping[str, tuple[Parameter, ...]] = {
    "retrieve": (
        Parameter("source", SOURCE),
        Parameter("query", TEXT, varies=True),
        Parameter("top_k", COUNT, 3),
        Parameter("documents", HOW_MANY, optional=True, varies=True),
        Parameter("where", TEXT, optional=True, varies=True),
        Parameter("pick", Type("enum", words=("varied", "nearest")), "varied"),
    ),
    "sample": (
        Parameter("source", SOURCE),
        Parameter("about", TEXT, optional=True, varies=True),
        Parameter("count", COUNT, 1),
        Parameter("where", TEXT, optional=True, varies=True),
    ),
}
EXAMPLES = {
    "retrieve": "retrieve(docs, query = topic.about, top_k = 3)",
    "sample": "sample(docs, about = topic.about)",
}


def bind_let(
    statement: Statement, earlier: Sequence[Step], draws: Sequence[Draw], bound: Bound, scope: Scope
) -> Step | None:
    """The let a statement declares; declares its name for those below."""
    name, value = statement.name, statement.value
    if name is None or value is None:
        return None
    scope.later.pop(name.text, None)
    own = Scope(scope.diagnostics, place=f"`{name}`", outer=scope, later=scope.later)
    bind_conditions(statement, own)
    known = {step.name for step in earlier}
    output: Type
    choosing, rubric = Choosing(), _rubric(value, own)
    if isinstance(value, Call) and rubric is not None:
        template, marks = None, bind_marks_of(value, rubric, own)
        if marks is None:
            return None
        call, choosing, output = marks
    elif isinstance(value, Call) and str(value.function) == "either":
        template, either = None, bind_either(value, own)
        if either is None:
            return None
        call, output = either
    elif isinstance(value, Text):
        template, call, output = bind_template(value, own), None, TEXT
    else:
        template, output = None, CHUNKS
        call = None
        if isinstance(value, Call) and len(value.function.parts) > 1:
            made = _bind_function(value, own)
            if made is None:
                return None
            call, output = made
        elif isinstance(value, Call):
            call = _bind_call(value, draws, bound, own)
        if call is None:
            if not isinstance(value, Call):
                own.report(
                    "E202",
                    "`let` is a text or a call",
                    value.span,
                    hint=f"for example `let evidence = {EXAMPLES['retrieve']}`",
                )
            return None
    quoted = [*references(template), *shown(choosing), *(condition.path[0] for condition in own.under)]
    if call is not None:
        quoted += [value.path[0] for value in call.arguments.values() if isinstance(value, RefPlan)]
    declared = Declared(name.text, "let", name.span, output, when=own.under, written=written_as(statement))
    if not scope.declare(declared):
        return None
    return Step(
        name=name.text,
        role=None,
        output=output,
        value=template,
        call=call,
        needs=tuple(dict.fromkeys(name for name in quoted if name in known)),
        choosing=choosing,
        span=name.span,
        role_span=name.span,
        when=own.under,
        written=written_as(statement),
    )


def _rubric(value: Expression, scope: Scope) -> Rubric | None:
    """The rubric that is called: `quality(answer)`."""
    if not isinstance(value, Call) or len(value.function.parts) > 1:
        return None
    declared = scope.find(str(value.function))
    if declared is None or not isinstance(declared.thing, Rubric):
        return None
    scope.use(declared.name)
    return declared.thing


def _bind_function(value: Call, scope: Scope) -> tuple[CallPlan, Type] | None:
    """What a Python function gives."""
    function = find_function(value.function, scope)
    if function is None:
        return None
    if function.returns is None:
        scope.report(
            "E202",
            f"`{value.function}` gives nothing",
            value.function.span,
            secondary=(Label(function.span, "declared here"),),
            hint="say what it gives, such as `-> str`, and give it",
        )
        return None
    arguments = bind_call(function, value.arguments, value.span, scope)
    if arguments is None:
        return None
    name, source = str(value.function), function.plan.source
    return CallPlan(name=name, arguments=arguments, source=source), function.returns


def _bind_call(value: Call, draws: Sequence[Draw], bound: Bound, scope: Scope) -> CallPlan | None:
    function = str(value.function)
    if function not in PARAMETERS:
        guess = suggest(function, (*PARAMETERS, "either"))
        scope.report(
            "E203",
            f"there is no function `{function}`",
            value.function.span,
            hint=f"did you mean `{guess}`?" if guess else f"there is {', '.join((*PARAMETERS, 'either'))}",
        )
        return None
    arguments = bind_arguments(
        function, value.arguments, PARAMETERS[function], value.span, EXAMPLES[function], scope
    )
    if arguments is None:
        return None
    source = bound.sources.get(str(arguments["source"]))
    if source is not None and source.plan.type != "chunk":
        gives = "messages" if source.plan.type == "messages" else "rows"
        scope.report(
            "E202",
            f"`{function}` takes a source of chunks, and `{source.plan.name}` gives {gives}",
            value.span,
            secondary=(Label(source.span, "declared here"),),
        )
        return None
    if function == "retrieve":
        _check_documents(value, arguments, draws, bound, scope)
    return CallPlan(name=function, arguments=arguments)


def _check_documents(
    value: Call, arguments: dict[str, object], draws: Sequence[Draw], bound: Bound, scope: Scope
) -> None:
    """E304: passages cannot come from more documents than there are passages."""
    wanted, top_k = arguments.get("documents"), arguments["top_k"]
    top_k_span = _argument_span(value.arguments, "top_k") or value.span
    param = bound.params.get(top_k_span.text)
    origin = f"{top_k}, from line {param.span.source.position(param.span.start)[0]}" if param else str(top_k)
    if not isinstance(top_k, int):
        return
    if isinstance(wanted, list) and isinstance(wanted[0], int) and wanted[0] > top_k:
        span = _argument_span(value.arguments, "documents") or value.span
        scope.report(
            "E304",
            f"{wanted[0]} documents are needed, and {top_k} passages are retrieved",
            span,
            secondary=(Label(top_k_span, origin),),
            hint="raise `top_k`, or ask for fewer documents",
        )
    if not isinstance(wanted, RefPlan) or len(wanted.path) != 2:
        return
    draw = next((draw for draw in draws if draw.name == wanted.path[0]), None)
    set_ = bound.sets.get(draw.source) if draw is not None else None
    if set_ is None:
        return
    for member in set_.members:
        asked = member.fields.get(wanted.path[1])
        low = asked[0] if isinstance(asked, list) else asked
        if isinstance(low, int) and low > top_k:
            scope.report(
                "E304",
                f"`{member.label}` needs {low} documents, and {top_k} passages are retrieved",
                set_.places.get((member.label, wanted.path[1]), set_.span),
                secondary=(Label(top_k_span, origin),),
                hint=f"raise `top_k`, or lower `{wanted.path[1]}`",
            )


def _argument_span(arguments: Sequence[Argument], name: str) -> Span | None:
    return next((a.value.span for a in arguments if a.name is not None and a.name.text == name), None)
