"""Binding of one turn or step: who writes it, from what, and what it must satisfy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synth.base.diagnostics.diagnostic import Fix, Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import suggest
from synth.compiler.bind.blocks.asked import (
    Fields,
    asked_model,
    bounds_as_check,
    clause_span,
    field_constant,
    field_template,
    length_kept,
    written_type,
)
from synth.compiler.bind.blocks.bound import Bound, Calling, Choosing, Sees, Step
from synth.compiler.bind.blocks.check_blocks import bind_block, named_checks, varying, words_of
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.blocks.subject import Subject
from synth.compiler.bind.conversations.messages_turn import bind_opening, is_opening
from synth.compiler.bind.declarations.models import bind_sampling
from synth.compiler.bind.expressions.conditions import bind_conditions, written_as
from synth.compiler.bind.expressions.kinds import SEES
from synth.compiler.bind.expressions.scope import Declared, Scope
from synth.compiler.bind.expressions.template import bind_template
from synth.compiler.bind.expressions.written_types import plain_word
from synth.compiler.bind.judging.choosing import beside, bind_choosing, quoted
from synth.compiler.bind.tools.calling import bind_calling
from synth.compiler.bind.tools.calling import quoted as quoted_by_tools
from synth.compiler.plan.models import Sampling
from synth.compiler.plan.steps import CheckPlan, Role, Template
from synth.compiler.plan.types import CALLS, COUNT, UNKNOWN, Schema, Type
from synth.compiler.stdlib.checks import CHECKS
from synth.compiler.stdlib.render import references
from synth.compiler.stdlib.running import RUNNING
from synth.dsl.syntax import Reference, Rule, Statement, Text

ROLES: dict[str, Role] = {"user": "user", "model": "model", "system": "system"}
# What can be said of a turn that no model writes.
_OF_ANY_TURN = ("produces", "checks", "must_fail")


def bind_step(
    statement: Statement, word: str, earlier: Sequence[Step], bound: Bound, scope: Scope
) -> Step | None:
    """The turn or step a statement declares; declares its name for those below."""
    if statement.name is None:
        return None
    name = statement.name
    own = Scope(scope.diagnostics, place=f"`{name}`", outer=scope, later=scope.later)
    bind_conditions(statement, own)
    if word == "turn" and is_opening(statement):
        return bind_opening(statement, earlier, own, scope)
    fields: dict[str, tuple[Statement, Span]] = {}
    written: list[Statement] = []
    shaped = check_shape(statement.body or (), word, scope.diagnostics)
    for inner, kind in shaped:
        if isinstance(inner, Rule):
            continue
        if kind.word == "check":
            written.append(inner)
        elif inner.value is not None or kind.word == "produces":
            fields[kind.word] = (inner, inner.kind.span)

    role = _role(statement, own) if word == "turn" else None
    produces = fields.get("produces")
    typed = statement.type if word == "step" else produces[0].type if produces else None
    output = written_type(typed, bound.schemas, own)
    model = asked_model(statement, own)
    value = _template(statement, own)
    system, prompt = (field_template(fields, key, own) for key in ("system", "prompt"))
    sees: Sees = field_constant(fields, "sees", Type("enum", words=SEES), own) or "prompt"
    retry = field_constant(fields, "retry", COUNT, own) or 0
    on_length = length_kept(fields, output, own)
    sampling = Sampling()
    if model is not None:
        defaults = model.plan.sampling.model_dump(exclude_unset=True)
        sampling = Sampling(**{**defaults, **bind_sampling(statement, word, own)})
    calling = bind_calling(fields, role, name.text, own) if model is not None else Calling()
    if calling.span is not None:
        output = replace(output, beside=Schema(name.text, (("calls", CALLS),)))
    choosing = Choosing()
    if statement.clause("by") is not None:
        goes_on = role == "user" and (sees == "template" or (sees == "transcript" and "prompt" not in fields))
        choosing = bind_choosing(fields, name.text, output, retry, own, goes_on=goes_on)
        if statement.damaged or any(kind.word == "marks" and kind.word not in fields for _, kind in shaped):
            choosing = replace(choosing, whole=False)
    subject = Subject(output if choosing.whole else UNKNOWN, name.text, rubric=choosing.rubric)
    checks = bounds_as_check(output)
    checks += [plan for block in written for plan in bind_block(block, output, own, subject)]
    forbidden = [word for plan in checks if plan.name == "no_words" for word in words_of(plan)]
    checks += _named_checks(fields, "checks", output, own)
    # A field that was not understood may be the prompt.
    if len(shaped) == len(statement.body or ()):
        _check_author(statement, fields, sees, role, own)
    _forbidden_in_prompt(forbidden, fields, own)

    scope.later.pop(name.text, None)
    output = beside(name.text, output, choosing) if choosing.whole else UNKNOWN
    poisoned = scope.is_poisoned(name.text)
    declared = Declared(name.text, word, name.span, output, when=own.under, written=written_as(statement))
    if not poisoned and not scope.declare(declared):
        return None
    if word == "turn" and role is None:
        return None
    known = {step.name for step in earlier}
    needs = [step.name for step in earlier if sees != "prompt" and step.role is not None]
    for template in (value, system, prompt):
        needs += [ref for ref in references(template) if ref in known]
    refused = _named_checks(fields, "must_fail", output, own)
    for plan in refused:
        if plan.source or plan.against or CHECKS[plan.name].many:
            runs = "runs what was written" if plan.name in RUNNING else "is a Python function"
            what = runs if plan.source else "compares samples with each other"
            if plan.against:
                what = "compares with the rows of a source"
            own.report(
                "E202",
                f"`{plan.label}` {what}, which no single answer can be meant to fail",
                fields["must_fail"][1],
                hint="name checks of one text, such as `no_words(...)`",
            )
    needs += [ref for plan in (*checks, *refused) for ref in varying(plan) if ref in known]
    needs += [condition.path[0] for condition in own.under if condition.path[0] in known]
    needs += [ref for ref in (*quoted(choosing), *quoted_by_tools(calling)) if ref in known]
    return Step(
        name=name.text,
        role=role,
        model=model,
        output=output,
        value=value,
        call=None,
        system=system,
        prompt=prompt,
        sees=sees,
        sampling=sampling,
        checks=tuple(checks),
        must_fail=tuple(refused),
        retry=retry,
        choosing=choosing,
        calling=calling,
        on_length=on_length,
        needs=tuple(dict.fromkeys(needs)),
        span=name.span,
        role_span=statement.type.span if statement.type is not None else name.span,
        model_span=clause_span(statement, "by"),
        sees_span=fields["sees"][1] if "sees" in fields else None,
        when=own.under,
        written=written_as(statement),
    )


def _role(statement: Statement, scope: Scope) -> Role | None:
    if statement.type is None:
        return None
    word = plain_word(statement.type, "a turn's role", scope)
    if word in ROLES:
        return ROLES[word]
    guess = suggest(word, ROLES) or {"assistant": "model", "human": "user", "bot": "model"}.get(word)
    scope.report(
        "E202",
        f"a turn is said by `user`, `model` or `system`, not by `{word}`",
        statement.type.span,
        hint=f"did you mean `{guess}`?" if guess else "",
        fix=Fix(statement.type.span, guess) if guess else None,
    )
    return None


def _template(statement: Statement, scope: Scope) -> Template | None:
    value = statement.value
    if value is None:
        return None
    if isinstance(value, Text):
        return bind_template(value, scope)
    scope.report(
        "E202", "a turn is composed as text", value.span, hint='for example `= "{{ opening.words }}"`'
    )
    return None


def _check_author(
    statement: Statement,
    fields: Fields,
    sees: str,
    role: Role | None,
    scope: Scope,
) -> None:
    """A turn is written by a model from a prompt or the transcript, or composed; never both."""
    by = statement.clause("by")
    name = statement.name
    if name is None or statement.damaged:
        return
    if by is None and statement.value is None:
        scope.report(
            "E107",
            f"nobody writes `{name}`",
            name.span,
            hint='name a model, `by base`, or compose it, `= "{{ opening.words }}"`',
        )
    elif by is not None and statement.value is not None:
        scope.report(
            "E108",
            f"`{name}` is both composed and written by a model",
            statement.value.span,
            secondary=(Label(by.span, "by this model"),),
            hint="keep one of the two",
        )
    elif by is not None and sees == "template" and role != "user":
        scope.report(
            "E108",
            f"a chat template is gone on in by the user, and `{name}` is none of the user's turns",
            fields["sees"][1],
            hint="write `sees = transcript`",
        )
    elif by is not None and sees == "template" and "prompt" in fields:
        scope.report(
            "E108",
            f"`{name}` goes on in the chat template, so its `prompt` would not be shown",
            fields["prompt"][1],
            secondary=(Label(fields["sees"][1], "shown instead"),),
            hint="say it in `system`, or drop `sees`",
        )
    elif by is not None and "prompt" in fields and sees == "transcript" and role != "user":
        scope.report(
            "E108",
            f"`{name}` sees the transcript, so its `prompt` would not be shown",
            fields["prompt"][1],
            secondary=(Label(fields["sees"][1], "shown instead"),),
            hint="say it in `system`; or drop `sees` and quote the turns in the prompt, as `{{ question }}`",
        )
    elif by is not None and "prompt" not in fields and sees == "prompt":
        scope.report(
            "E107",
            f"`{name}` is written from nothing",
            name.span,
            hint='give it a `prompt = "..."`, or `sees = transcript`',
        )
    elif by is None:
        for key, (inner, span) in fields.items():
            written = inner.value
            if key in _OF_ANY_TURN:
                continue
            scope.report(
                "E108",
                f"`{key}` is for a turn that a model writes",
                span,
                secondary=(Label(name.span, "composed from text"),),
                hint=f"a `let` has marks of any text: `let m = {written.span.text}({name})`"
                if key == "marks" and isinstance(written, Reference)
                else "drop it, or add `by`",
            )


def _named_checks(fields: Fields, key: str, output: Type, scope: Scope) -> list[CheckPlan]:
    """The checks of `checks = [house_style.plain]` or `must_fail = [...]`."""
    if key not in fields or fields[key][0].value is None:
        return []
    return named_checks(fields[key][0].value, key, output, scope)  # type: ignore[arg-type]


def _forbidden_in_prompt(words: list[str], fields: Fields, scope: Scope) -> None:
    """W704: a prompt that holds the very word it is checked against invites it."""
    for key in ("prompt", "system"):
        value = fields[key][0].value if key in fields else None
        if not isinstance(value, Text):
            continue
        text = " ".join(part for part in value.parts if isinstance(part, str)).casefold()
        for word in words:
            if word.casefold() in text:
                scope.report(
                    "W704",
                    f"`{word}` is forbidden in the answer and stands in the prompt",
                    fields[key][1],
                    hint="models repeat what they read: say what to write instead",
                )
                break
