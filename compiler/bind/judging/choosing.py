"""Binding of `candidates`, `marks`, `pick` and `revise`: which of several answers becomes a step's value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from synth.base.diagnostics.diagnostic import Label
from synth.base.suggest import suggest
from synth.compiler.bind.blocks.asked import Fields
from synth.compiler.bind.blocks.bound import Choosing, Rubric
from synth.compiler.bind.expressions.kinds import PICKS
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.template import bind_template, lookup_reference
from synth.compiler.bind.expressions.values import FAILED, constant
from synth.compiler.bind.functions.bound_call import bind_call, find_function
from synth.compiler.bind.judging.given import bind_given
from synth.compiler.bind.judging.rubrics import has_judges
from synth.compiler.plan.steps import CallPlan, PickPlan, RefPlan, Template
from synth.compiler.plan.types import NUMBER, TEXT, Schema, Type
from synth.compiler.stdlib.render import references
from synth.dsl.syntax import Call, Expression, Integer, Reference, Text

# So many answers to one prompt are the most.
MOST_CANDIDATES = 64
# What a revision is told of the attempt before it.
_TOLD = {"refused": "what was refused", "reason": "why it was refused"}
_CANDIDATES = Type("count", low=1, high=MOST_CANDIDATES)
_AGREEMENT = replace(NUMBER, low=0, high=1)


def bind_choosing(
    fields: Fields, name: str, output: Type, retry: int, scope: Scope, *, goes_on: bool = False
) -> Choosing:
    """How the candidates of the step `name`, which a model writes, are marked and chosen.

    One that `goes_on` as the user is shown no prompt of its own, below which a revision could stand.
    """
    candidates: int | None = 1
    if (written := _value(fields, "candidates")) is not None:
        count = constant(written, _CANDIDATES, scope, "`candidates`")
        candidates = None if count is FAILED else count
    rubric: Rubric | None = None
    given: dict[str, Template | RefPlan] = {}
    if (written := _value(fields, "marks")) is not None:
        rubric, given = _bind_marks(written, output, name, scope)
    pick: PickPlan | None = PickPlan()
    if (written := _value(fields, "pick")) is not None:
        pick = _bind_pick(written, name, output, scope)
        if pick is not None:
            _check_pick(pick, fields, candidates, name, output, scope)
    revise = None
    if (written := _value(fields, "revise")) is not None:
        revise = _bind_revise(written, scope)
        if goes_on:
            scope.report(
                "E108",
                f"`{name}` goes on as the user, so a revision would be a message of its own",
                fields["revise"][1],
                secondary=(Label(fields["sees"][1], "goes on from these"),) if "sees" in fields else (),
                hint="drop it, or say in a `prompt` who the user is, with `sees = transcript`",
            )
        again = _value(fields, "retry")
        if not retry and (again is None or isinstance(again, Integer)):
            scope.report(
                "E107",
                f"`{name}` is revised in another attempt, and there is none",
                fields["revise"][1],
                hint="for example `retry = 2`",
            )
    span = fields["candidates"][1] if "candidates" in fields else None
    whole = pick is not None and (rubric is not None or "marks" not in fields)
    # Of a number that was not understood, none of what one candidate forbids is said.
    return Choosing(
        candidates or MOST_CANDIDATES, rubric, given, None, pick or PickPlan(), revise, span, whole
    )


def beside(name: str, output: Type, choosing: Choosing) -> Type:
    """The type of a step's value with what stands beside it: its calls of tools, its marks, and how many
    candidates agree."""
    fields = list(output.beside.fields) if output.beside is not None else []
    if choosing.rubric is not None:
        fields.append((choosing.rubric.plan.name, choosing.rubric.marks))
    if choosing.pick.by == "most_common":
        fields.append(("agreement", _AGREEMENT))
    return replace(output, beside=Schema(name, tuple(fields)) if fields else None)


def quoted(choosing: Choosing) -> Iterable[str]:
    """The first names of all that a step's judges and its revision are shown."""
    for value in choosing.given.values():
        yield from references(value) if isinstance(value, tuple) else (value.path[0],)
    for template in (choosing.of, choosing.revise):
        yield from references(template)
    arguments = choosing.pick.call.arguments.values() if choosing.pick.call is not None else ()
    yield from (argument.path[0] for argument in arguments if isinstance(argument, RefPlan))


def _value(fields: Fields, key: str) -> Expression | None:
    return fields[key][0].value if key in fields else None


def _bind_marks(
    written: Expression, output: Type, name: str, scope: Scope
) -> tuple[Rubric | None, dict[str, Template | RefPlan]]:
    """`marks = quality`, or `marks = quality(evidence)`, whose judges are shown that besides."""
    called = written.function if isinstance(written, Call) else written
    rubric: Rubric | None = scope.thing(
        called,
        (Rubric,),
        "a rubric",
        hint="for example `marks = quality`",
        instead={
            "model": 'a model marks by a rubric: `rubric quality by judge { helpful 1..5 = "..." }`, and '
            "`marks = quality`"
        },
    )
    if rubric is None or not isinstance(called, Reference) or not has_judges(rubric, called, scope):
        return None, {}
    own = rubric.plan.name
    if _has_field(output, own) or (output.beside is not None and output.beside.field(own) is not None):
        what = "a field" if _has_field(output, own) else "beside it"
        scope.report(
            "E104",
            f"`{name}` has {what} `{own}`, and its marks would be called so too",
            called.span,
            secondary=(Label(rubric.span, "this rubric"),),
            hint="give the rubric another name",
        )
    given = bind_given(written.arguments, scope) if isinstance(written, Call) else {}
    return rubric, given


def _bind_pick(written: Expression, name: str, output: Type, scope: Scope) -> PickPlan | None:
    """`pick = best`, or `pick = most_common(vote.label)`."""
    example = f"for example `pick = most_common({name})`"
    if isinstance(written, Call):
        word = str(written.function)
        if word != "most_common":
            guess = suggest(word, PICKS)
            scope.report(
                "E203" if word not in PICKS else "E202",
                f"candidates are not picked by `{word}`" if word not in PICKS else f"`{word}` takes nothing",
                written.function.span,
                hint=f"write `pick = {word}`"
                if word in PICKS
                else f"did you mean `{guess}`?"
                if guess
                else f"there is {', '.join(PICKS)}",
            )
            return None
        if len(written.arguments) != 1 or written.arguments[0].name is not None:
            scope.report(
                "E202", "`most_common` takes what candidates are to agree on", written.span, hint=example
            )
            return None
        return _bind_most_common(written.arguments[0].value, name, output, scope)
    by = constant(written, Type("enum", words=PICKS), scope, "`pick`")
    if by == "most_common":
        scope.report(
            "E202", "`most_common` takes what candidates are to agree on", written.span, hint=example
        )
        return None
    return None if by is FAILED else PickPlan(by=by)


def _bind_most_common(written: Expression, name: str, output: Type, scope: Scope) -> PickPlan | None:
    """What candidates agree on: what lies at a path of the value, or what a function gives for it."""
    # Here the step's name is each of its candidates.
    inner = Scope(scope.diagnostics, place=scope.place, outer=scope)
    inner.names[name] = Declared(name, "value", written.span, output)
    if isinstance(written, Call):
        function = find_function(written.function, inner)
        if function is None:
            return None
        arguments = bind_call(function, written.arguments, written.span, inner)
        if arguments is None:
            return None
        call = CallPlan(name=str(written.function), arguments=arguments, source=function.plan.source)
        looks = any(
            isinstance(argument, RefPlan) and argument.path[0] == name for argument in arguments.values()
        )
        if function.returns is not None and looks:
            return PickPlan(by="most_common", call=call)
        scope.report(
            "E202",
            f"`{written.function}` {'gives nothing' if looks else f'is not given `{name}`'}, so there is "
            "nothing to agree on",
            written.span,
            secondary=(Label(function.span, "declared here"),),
            hint=f"for example `most_common({written.function}({name}))`",
        )
        return None
    if isinstance(written, Reference) and _is_of_marks(written, name, output, scope):
        scope.report(
            "E202",
            f"candidates agree on what they say, and `{written}` is what judges say of it",
            written.span,
            hint=f"for example `pick = most_common({name})`; by their marks one is taken with `pick = best`",
        )
        return None
    looked_up = lookup_reference(written, inner) if isinstance(written, Reference) else None
    if isinstance(written, Reference) and looked_up is None:
        return None
    path = None if looked_up is None else looked_up[2]
    if path is None or path[0] != name:
        scope.report(
            "E202",
            f"`{written.span.text}` is the same for all candidates of `{name}`",
            written.span,
            hint=f"candidates agree on a part of what they say: `most_common({name})`",
        )
        return None
    return PickPlan(by="most_common", of=path[1:])


def _is_of_marks(written: Reference, name: str, output: Type, scope: Scope) -> bool:
    """Whether a path is of marks: `quality.helpful`, or `answer.quality.helpful`."""
    parts = [part.text for part in written.parts]
    if parts[0] == name and parts[1:] and not _has_field(output, parts[1]):
        parts = parts[1:]
    declared = scope.find(parts[0])
    return declared is not None and isinstance(declared.thing, Rubric)


def _check_pick(
    pick: PickPlan, fields: Fields, candidates: int | None, name: str, output: Type, scope: Scope
) -> None:
    span = fields["pick"][1]
    if pick.by == "best" and "marks" not in fields:
        scope.report(
            "E107",
            f"`{name}` takes the best of its candidates, and nobody marks them",
            span,
            hint="name a rubric, as in `marks = quality`",
        )
    # A parameter may be 1 in one of several runs, and 4 in the next.
    elif pick.by != "first" and candidates == 1 and not isinstance(_value(fields, "candidates"), Reference):
        scope.report(
            "E108",
            f"`{name}` has one candidate, so there is none to pick",
            span,
            hint="for example `candidates = 4`; or drop `pick`",
        )
    if pick.by == "most_common" and _has_field(output, "agreement"):
        scope.report(
            "E104",
            f"`{name}` has a field `agreement`, and the share of its candidates that agree is called so too",
            span,
            hint="give the field another name",
        )


def _bind_revise(written: Expression, scope: Scope) -> Template | None:
    inner = Scope(scope.diagnostics, place=scope.place, outer=scope, later=scope.later)
    for word, what in _TOLD.items():
        known = scope.find(word)
        if known is not None:
            scope.report(
                "E104",
                f"`{word}` is a {known.what}, and in `revise` it is {what}",
                written.span,
                secondary=(Label(known.span, "declared here"),),
                hint="give it another name",
            )
        inner.names[word] = Declared(word, "text of the attempt before", written.span, TEXT)
    if isinstance(written, Text):
        return bind_template(written, inner)
    value = constant(written, TEXT, scope, "`revise`")
    return None if value is FAILED else (value,)


def _has_field(output: Type, name: str) -> bool:
    record = output.arguments[0] if output.name == "json" else output
    return record.schema is not None and record.schema.field(name) is not None
