"""Binding of `tool`: a Python function that a turn's model may call, or what another model plays."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from synth.base.diagnostics.diagnostic import Label
from synth.base.diagnostics.source import Span
from synth.compiler.bind.blocks.asked import bounds_as_check, field_constant, field_template, written_type
from synth.compiler.bind.blocks.bound import Model, Step, Tool, ToolArgument
from synth.compiler.bind.blocks.check_blocks import bind_block
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.blocks.subject import Subject
from synth.compiler.bind.declarations.models import bind_sampling
from synth.compiler.bind.expressions.meant import declared_as
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.values import article
from synth.compiler.bind.expressions.written_types import resolve_type
from synth.compiler.bind.functions.bound_call import find_function, takes
from synth.compiler.bind.functions.module import PythonModule
from synth.compiler.bind.tools.docstrings import read_docs
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import CallPlan, CheckPlan
from synth.compiler.plan.types import CALLS, COUNT, Schema
from synth.compiler.stdlib.checks import CHECKS
from synth.dsl.syntax import Name, Reference, Rule, Statement

# The parameter of a function that is given the calls before.
SEEN = "calls"
# Services take no longer names, and no other letters.
_LONGEST = 64
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_EXAMPLE = '`tool wiki: text by world { query: text, prompt = "Answer: {{ query }}" }`'


def bind_tool(statement: Statement, schemas: dict[str, Schema], scope: Scope) -> Tool | None:
    """The tool that a statement declares, or None where its faults leave nothing to call."""
    clause = statement.clause("by")
    if statement.name is None or clause is None or not _may_be_called(statement.name, scope):
        return None
    by = clause.value
    declared = scope.find(by.parts[0].text) if isinstance(by, Reference) else None
    if isinstance(by, Reference) and declared is not None and isinstance(declared.thing, PythonModule):
        return _of_function(statement, by, scope)
    model: Model | None = scope.thing(
        by, (Model,), "a Python function or a model", hint=declared_as(by) or "for example `by shop.refund`"
    )
    return None if model is None else _played(statement, model, by.span, schemas, scope)


def _may_be_called(name: Name, scope: Scope) -> bool:
    if len(name.text) <= _LONGEST:
        return True
    scope.report(
        "E202",
        f"the name of a tool has at most {_LONGEST} characters, and this one has {len(name.text)}",
        name.span,
        hint="services refuse longer ones",
    )
    return False


def _of_function(statement: Statement, by: Reference, scope: Scope) -> Tool | None:
    """`tool refund by shop.refund`."""
    assert statement.name is not None
    function = find_function(by, scope)
    if function is None:
        return None
    extra = statement.type.span if statement.type is not None else None
    if statement.body is not None:
        extra = extra or statement.kind.span
    if extra is not None:
        scope.report(
            "E108",
            f"`{by}` is a Python function, whose signature says what it takes and gives",
            extra,
            secondary=(Label(function.span, "declared here"),),
            hint=f"write `tool {statement.name} by {by}`; what a model plays has a type and braces",
        )
        return None
    given = [each for each in function.parameters if each.name != SEEN]
    odd = next((each.name for each in given if not _PLAIN.fullmatch(each.name)), None)
    odd = odd or next((each.name for each in given if len(each.name) > _LONGEST), None)
    if odd is not None:
        scope.report(
            "E202",
            f"`{odd}` of `{by}` is no name that services take for an argument",
            by.span,
            secondary=(Label(function.span, "declared here"),),
            hint=f"such names have letters without accents, digits and `_`, {_LONGEST} at most",
        )
        return None
    seen = next((each for each in function.parameters if each.name == SEEN), None)
    if seen is not None and not takes(CALLS, seen.type):
        scope.report(
            "E202",
            f"`{SEEN}` of `{by}` is {article(seen.type)}, and a tool is given the calls before there",
            by.span,
            secondary=(Label(function.span, "declared here"),),
            hint=f"write `{SEEN}: list[dict[str, object]]`, or give the parameter another name",
        )
        return None
    names = {each.name for each in given}
    said, of = read_docs(function.docs, names)
    above, of_above = read_docs("\n".join(statement.docs), names)
    return Tool(
        name=statement.name.text,
        about=above or said,
        arguments=tuple(
            ToolArgument(
                each.name,
                each.type,
                each.required and not each.type.optional,
                of_above.get(each.name, of.get(each.name, "")),
            )
            for each in given
        ),
        span=statement.name.span,
        call=CallPlan(name=function.plan.name, source=function.plan.source),
        sees_calls=seen is not None,
    )


def _played(
    statement: Statement, model: Model, place: Span, schemas: dict[str, Schema], scope: Scope
) -> Tool | None:
    """`tool wiki: text by world { query: text, prompt = "..." }`."""
    assert statement.name is not None
    name = statement.name
    if statement.type is None or statement.body is None:
        if not statement.damaged:
            lacking = "a type" if statement.type is None else "braces with its prompt"
            scope.report(
                "E107",
                f"`{name}` is played by a model, and has not {lacking}",
                name.span,
                hint=f"for example {_EXAMPLE}",
            )
        return None
    own = Scope(
        scope.diagnostics,
        place=f"`{name}`",
        outer=scope,
        unknown=f"a tool knows its arguments alone: declare it as one, and fill it in the turn, as in "
        f"`tools = [{name}(order = order)]`",
    )
    shaped = check_shape(statement.body, "tool", scope.diagnostics)
    fields: dict[str, tuple[Statement, Span]] = {}
    written: list[Statement] = []
    arguments: list[ToolArgument] = []
    for inner, kind in shaped:
        if isinstance(inner, Rule):
            continue
        if kind.word == "check":
            written.append(inner)
        elif not kind.word:
            argument = _argument(inner, schemas, own)
            arguments += [argument] if argument is not None else []
        elif inner.value is not None:
            fields[kind.word] = (inner, inner.kind.span)
    said, of = read_docs("\n".join(statement.docs), {each.name for each in arguments})
    arguments = [replace(each, about=each.about or of.get(each.name, "")) for each in arguments]
    if "prompt" not in fields and len(shaped) == len(statement.body) and not statement.damaged:
        scope.report(
            "E107",
            f"`{name}` is written from nothing",
            name.span,
            hint='give it a `prompt = "..."`, which quotes its arguments',
        )
    output = written_type(statement.type, schemas, own)
    system, prompt = (field_template(fields, key, own) for key in ("system", "prompt"))
    given = model.plan.sampling.model_dump(exclude_unset=True)
    sampling = Sampling(**{**given, **bind_sampling(statement, "tool", own)})
    checks = bounds_as_check(output)
    for each in written:
        checks += bind_block(each, output, own, Subject(output, name.text))
    checks = list(_answerable(checks, written, own))
    played = Step(
        name=name.text,
        role=None,
        output=output,
        span=name.span,
        role_span=statement.type.span,
        model=model,
        system=system,
        prompt=prompt,
        sampling=sampling,
        checks=tuple(checks),
        retry=field_constant(fields, "retry", COUNT, own) or 0,
        model_span=place,
    )
    return Tool(
        name=name.text,
        about=said,
        arguments=tuple(arguments),
        span=name.span,
        played=played,
        unused=tuple(each for key, each in own.names.items() if key not in own.used),
    )


def _argument(statement: Statement, schemas: dict[str, Schema], scope: Scope) -> ToolArgument | None:
    """`query: text(1..200)`, with what is written above it."""
    name = statement.kind
    type_ = resolve_type(statement.type, scope, schemas) if statement.type is not None else None
    if type_ is None:
        scope.poisoned.add(name.text)
        return None
    if len(name.text) > _LONGEST:
        scope.report(
            "E202",
            f"the name of an argument has at most {_LONGEST} characters",
            name.span,
            hint="services refuse longer ones",
        )
    if not scope.declare(Declared(name.text, "argument", name.span, type_)):
        scope.poisoned.add(name.text)
        return None
    about, _ = read_docs("\n".join(statement.docs), ())
    return ToolArgument(name.text, type_, not type_.optional, about)


def _answerable(
    checks: Collection[CheckPlan], written: Collection[Statement], scope: Scope
) -> Iterator[CheckPlan]:
    """The checks of what a model plays that can be made while a turn goes on."""
    for plan in checks:
        what = "is a Python function" if plan.source else ""
        if plan.against or (not plan.source and CHECKS[plan.name].many):
            what = "compares with other samples or rows"
        if "judge" in plan.arguments:
            what = "asks a judge"
        if not what:
            yield plan
            continue
        scope.report(
            "E202",
            f"`{plan.name}` {what}, and what a tool answers is checked by what it says alone",
            next(iter(written)).kind.span,
            hint="check the turn that calls it: `check { env.reached(reply.calls) }`",
        )
