"""Binding of one turn or step: who writes it, from what, and what it must satisfy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.bound import Bound, Model, Step
from compiler.checks import CHECKS, Check
from compiler.models import bind_sampling
from compiler.plan import CheckPlan, Role, Sampling, Template
from compiler.scope import Declared, Scope
from compiler.shape import check_shape
from compiler.template import bind_template, references
from compiler.types import COUNT, TEXT, Type
from compiler.values import FAILED, constant, resolve_type
from dsl.diagnostic import Fix, Label
from dsl.source import Span
from dsl.suggest import suggest
from dsl.syntax import Argument, Name, Reference, Rule, Statement, Text

ROLES: dict[str, Role] = {"user": "user", "model": "model"}


def bind_step(
    statement: Statement, word: str, earlier: Sequence[Step], bound: Bound, scope: Scope
) -> Step | None:
    """The turn or step a statement declares; declares its name for those below."""
    if statement.name is None:
        return None
    name = statement.name
    own = Scope(scope.diagnostics, place=f"`{name}`", outer=scope, later=scope.later)
    fields: dict[str, tuple[Statement, Span]] = {}
    checks: list[CheckPlan] = []
    for inner, kind in check_shape(statement.body or (), word, scope.diagnostics):
        if isinstance(inner, Rule):
            continue
        if kind.word == "check":
            checks += _bind_checks(inner, own)
        elif inner.value is not None or kind.word == "produces":
            fields[kind.word] = (inner, inner.kind.span)

    role = _role(statement, own) if word == "turn" else None
    output = _output(statement, word, fields.get("produces"), bound, own)
    model = _model(statement, own)
    value = _template(statement, own)
    system, prompt = (_field_template(fields.get(key), own) for key in ("system", "prompt"))
    sees = _constant(fields, "sees", Type("enum", words=("prompt", "transcript")), own) or "prompt"
    retry = _constant(fields, "retry", COUNT, own) or 0
    sampling = Sampling()
    if model is not None:
        given = model.plan.sampling.model_dump(exclude_unset=True)
        sampling = Sampling(**{**given, **bind_sampling(statement, word, own)})
    _check_author(statement, word, fields, own)

    scope.later.pop(name.text, None)
    poisoned = scope.is_poisoned(name.text)
    if not poisoned and not scope.declare(Declared(name.text, word, name.span, output)):
        return None
    if word == "turn" and role is None:
        return None
    needs = [each.name for each in earlier if sees == "transcript" and each.role is not None]
    for template in (value, system, prompt):
        needs += [ref for ref in references(template) if any(each.name == ref for each in earlier)]
    return Step(
        name=name.text,
        role=role,
        model=model,
        output=output,
        value=value,
        system=system,
        prompt=prompt,
        sees=sees,
        sampling=sampling,
        checks=tuple(checks),
        retry=retry,
        needs=tuple(dict.fromkeys(needs)),
        span=name.span,
        role_span=statement.type.span if statement.type is not None else name.span,
        model_span=_clause_span(statement, "by"),
        sees_span=fields["sees"][1] if "sees" in fields else None,
    )


def _role(statement: Statement, scope: Scope) -> Role | None:
    if statement.type is None:
        return None
    word = statement.type.name.text
    if word in ROLES:
        return ROLES[word]
    guess = suggest(word, ROLES) or {"assistant": "model", "human": "user"}.get(word)
    scope.report(
        "E202",
        f"a turn is said by `user` or `model`, not by `{word}`",
        statement.type.span,
        hint=f"did you mean `{guess}`?" if guess else "",
        fix=Fix(statement.type.span, guess) if guess else None,
    )
    return None


def _output(
    statement: Statement, word: str, produces: tuple[Statement, Span] | None, bound: Bound, scope: Scope
) -> Type:
    """The type of what is written: a step's annotation, or a turn's `produces`."""
    written = statement.type if word == "step" else produces[0].type if produces else None
    if written is None:
        return TEXT
    type_ = resolve_type(written, scope, bound.schemas)
    if type_ is None:
        return TEXT
    if type_.name not in ("text", "json"):
        scope.report(
            "E202",
            f"a model writes text or json, not {type_}",
            written.span,
            hint="for example `json<Command>`",
        )
        return TEXT
    return type_


def _model(statement: Statement, scope: Scope) -> Model | None:
    clause = statement.clause("by")
    if clause is None or not isinstance(clause.value, Reference):
        if clause is not None:
            scope.report("E202", "`by` names a model", clause.value.span, hint="for example `by base`")
        return None
    declared = scope.resolve(clause.value.parts[0])
    if declared is None:
        return None
    if not isinstance(declared.thing, Model):
        scope.report(
            "E202",
            f"`{clause.value}` is a {declared.what}, not a model",
            clause.value.span,
            secondary=(Label(declared.span, "declared here"),),
        )
        return None
    return declared.thing


def _clause_span(statement: Statement, word: str) -> Span | None:
    clause = statement.clause(word)
    return clause.value.span if clause is not None else None


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


def _field_template(given: tuple[Statement, Span] | None, scope: Scope) -> Template | None:
    if given is None or given[0].value is None:
        return None
    value = given[0].value
    if isinstance(value, Text):
        return bind_template(value, scope)
    written = constant(value, TEXT, scope, f"`{given[0].kind}`")
    return None if written is FAILED else (written,)


def _constant(fields: dict[str, tuple[Statement, Span]], key: str, wanted: Type, scope: Scope) -> Any:
    if key not in fields or fields[key][0].value is None:
        return None
    value = constant(fields[key][0].value, wanted, scope, f"`{key}`")  # type: ignore[arg-type]
    return None if value is FAILED else value


def _check_author(
    statement: Statement, word: str, fields: dict[str, tuple[Statement, Span]], scope: Scope
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
    elif by is not None and "prompt" not in fields and "sees" not in fields:
        scope.report(
            "E107",
            f"`{name}` is written from nothing",
            name.span,
            hint='give it a `prompt = "..."`, or `sees = transcript`',
        )
    elif by is None:
        for key, (_, span) in fields.items():
            scope.report(
                "E108",
                f"`{key}` is for a turn that a model writes",
                span,
                secondary=(Label(name.span, "composed from text"),),
                hint="drop it, or add `by`",
            )


# Checks ------------------------------------------------------------------------------------


def _bind_checks(statement: Statement, scope: Scope) -> list[CheckPlan]:
    found: list[CheckPlan] = []
    for rule, _ in check_shape(statement.body or (), "checks", scope.diagnostics):
        if not isinstance(rule, Rule):
            continue
        check = CHECKS.get(rule.name.text)
        if check is None:
            guess = suggest(rule.name.text, CHECKS)
            scope.report(
                "E203",
                f"there is no check `{rule.name}`",
                rule.name.span,
                hint=f"did you mean `{guess}`?" if guess else f"checks are {', '.join(CHECKS)}",
                fix=Fix(rule.name.span, guess) if guess else None,
            )
            continue
        plan = _bind_check(rule, check, scope)
        if plan is not None:
            found.append(plan)
    return found


def _bind_check(rule: Rule, check: Check, scope: Scope) -> CheckPlan | None:
    values: dict[str, Any] = {}
    positional = [p for p in check.parameters if not p.variadic]
    for argument in rule.arguments:
        parameter = _parameter(argument, positional, values, check)
        if parameter is None:
            scope.report(
                "E202",
                f"`{check.name}` takes no such argument",
                argument.span,
                hint=f"for example `{check.example}`",
            )
            return None
        value = constant(argument.value, parameter.type, scope, f"`{check.name}`")
        if value is FAILED:
            return None
        values[parameter.name] = value
    for parameter in check.parameters:
        if parameter.name not in values:
            if parameter.default is None:
                scope.report(
                    "E202",
                    f"`{check.name}` needs {parameter.type}",
                    rule.span,
                    hint=f"for example `{check.example}`",
                )
                return None
            values[parameter.name] = parameter.default
    return CheckPlan(name=check.name, arguments=values)


def _parameter(argument: Argument, positional: list[Any], values: dict[str, Any], check: Check) -> Any:
    if argument.name is None:
        return next((p for p in positional if p.name not in values), None)
    name: Name = argument.name
    return next((p for p in check.parameters if p.name == name.text and p.name not in values), None)
