"""Binding of checks: `check { }` blocks, `keep { }` filters and lists of named checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from synth.base.diagnostics.diagnostic import Fix, Label
from synth.base.diagnostics.source import Span
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.blocks.apart import bind_apart, is_apart
from synth.compiler.bind.blocks.compared import compared_by, rows_compared
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.blocks.subject import Subject, report_no_field
from synth.compiler.bind.expressions.arguments import bind_arguments
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import article
from synth.compiler.bind.expressions.written_types import resolve_type
from synth.compiler.bind.functions.bound_call import (
    bind_call,
    find_function,
    first_field,
    gives_reason,
    takes,
)
from synth.compiler.plan.signature import TEXT_OR_ROLE
from synth.compiler.plan.steps import CheckPlan, RefPlan
from synth.compiler.plan.types import CALL_SCHEMA, MODEL, ROLE, Schema, Type, is_transcript
from synth.compiler.stdlib.checks import CHECKS, Check
from synth.compiler.stdlib.running import RUNNING, as_called
from synth.dsl.syntax import Argument, Expression, List, Reference, Rule, Statement, Text


@dataclass(frozen=True, slots=True)
class NamedCheck:
    """`check plain: text { ... }`: what it takes and what it is made of."""

    name: str
    takes: Type | None
    checks: tuple[CheckPlan, ...]
    span: Span


def bind_named(statement: Statement, schemas: dict[str, Schema], scope: Scope) -> NamedCheck | None:
    """A check that is declared; None where it has no name."""
    if statement.name is None:
        return None
    takes = resolve_type(statement.type, scope, schemas) if statement.type else None
    if (
        takes is not None
        and statement.type is not None
        and (takes.optional or (takes.low, takes.high) != (None, None))
    ):
        scope.report(
            "E202",
            f"a check's type says what it is of, and `{statement.type.span.text}` says more",
            statement.type.span,
            hint=f"write `{takes.name}`; `length(1..400)` is a check of its own",
        )
    checks = tuple(bind_block(statement, takes, scope))
    return NamedCheck(statement.name.text, takes, checks, statement.name.span)


def bind_block(
    statement: Statement, checked: Type | None, scope: Scope, subject: Subject | None = None
) -> list[CheckPlan]:
    """The checks of a block, for values of a type; None takes any.  With a `subject`, the first argument of
    a check may say what of the value is checked."""
    checks: list[CheckPlan] = []
    whole = checked
    for rule, _ in check_shape(statement.body or (), "checks", scope.diagnostics):
        if not isinstance(rule, Rule):
            continue
        if len(rule.function.parts) > 1:
            checks += _bind_function(rule, whole, scope, subject)
            continue
        if is_apart(rule, subject):
            checks += bind_apart(rule, statement.kind.text, subject, scope)
            continue
        check = CHECKS.get(rule.name.text)
        if check is None:
            _report_unknown(rule, scope)
            continue
        taken = _taken(rule, check, subject, scope)
        if taken is False:
            continue
        of, checked = (None, whole) if taken is None else taken
        if taken is not None and not _may_check_field(check, taken[1]):
            first = rule.arguments[0].span
            message = f"`{check.name}` checks {check.takes}, and `{first.text}` is {article(taken[1])}"
            scope.report("E202", message, first)
            continue
        if of is None and not _may_check_whole(check, checked):
            # What is checked is at fault more often than the checks: one word is enough.
            if scope.first(_once(statement)):
                scope.report(
                    "E202",
                    f"`{check.name}` checks {check.takes}, and this is {_of_what(checked)}",
                    rule.name.span,
                    hint=f"name them: `{check.example}`" if check.takes == "calls" else "",
                )
            continue
        written = rule.arguments if of is None else rule.arguments[1:]
        if _asks_a_model(written, check) and (statement.kind.text != "check" or statement.name is not None):
            scope.report(
                "E202",
                f"`{check.name}` asks a model here, which only the `check {{ }}` of a turn or step can",
                rule.name.span,
            )
            continue
        parameters, against = check.parameters, None
        if check.name == "differs_from":
            against = rows_compared(written, statement.kind.text, scope)
            if against is False:
                continue
            if against is not None:
                written, parameters = written[1:], compared_by(written[1:])
        own = _with_subject(scope, subject, rule.span) if check.name in RUNNING else scope
        arguments = bind_arguments(check.name, written, parameters, rule.span, check.example, own)
        if arguments is not None and _may_be_asked(statement, rule, check, arguments, checked, scope):
            if check.name in RUNNING:
                arguments, source = as_called(arguments), RUNNING[check.name].source
                checks.append(CheckPlan(name=check.name, of=of, arguments=arguments, source=source))
            else:
                checks.append(CheckPlan(name=check.name, of=of, against=against or (), arguments=arguments))
    return checks


def _bind_function(
    rule: Rule, checked: Type | None, scope: Scope, subject: Subject | None
) -> Iterator[CheckPlan]:
    """The check that a Python function is."""
    function = find_function(rule.function, scope)
    if function is None or not gives_reason(function, rule.function, scope):
        return
    inner = _with_subject(scope, subject, rule.span)
    wanted = function.parameters[0].type
    first = rule.arguments[0] if rule.arguments else None
    taken: tuple[tuple[str, ...], Type] | Literal[False] | None = None
    if (
        subject is not None
        and first is not None
        and first.name is None
        and isinstance(first.value, Reference)
    ):
        taken = subject.below(first.value, scope)
    if taken is False:
        return
    # What takes a list is given all of it, and what takes one of its items each.
    whole = taken is not None and wanted.name in ("list", "any")
    of, type_ = (None, checked) if taken is None or whole else taken
    if not whole and type_ is not None and not takes(replace(type_, optional=False), wanted):
        field = first_field(type_) if taken is None else ""
        name = f"{subject.name}." if subject is not None and subject.name is not None else ""
        scope.report(
            "E202",
            f"`{rule.name}` checks {article(wanted)}, and this is {article(type_)}",
            rule.name.span if taken is None or first is None else first.span,
            secondary=(Label(function.span, "declared here"),),
            hint=f"say which part of it: `{rule.name}({name}{field}, ...)`" if field and subject else "",
        )
        return
    written = rule.arguments if of is None else rule.arguments[1:]
    arguments = bind_call(function, written, rule.span, inner, first_given=not whole)
    if arguments is not None:
        yield CheckPlan(name=str(rule.function), of=of, arguments=arguments, source=function.plan.source)


def _with_subject(scope: Scope, subject: Subject | None, place: Span) -> Scope:
    """A scope in which what is judged can be an argument too."""
    inner = Scope(scope.diagnostics, place=scope.place, outer=scope, later=scope.later)
    if subject is not None:
        inner.names |= subject.names(place)
    return inner


def named_checks(expression: Expression, what: str, checked: Type, scope: Scope) -> list[CheckPlan]:
    """The checks that a list names; each keeps the name it was listed under."""
    if not isinstance(expression, List):
        scope.report(
            "E202", f"`{what}` is a list of checks", expression.span, hint=f"for example `{what} = [plain]`"
        )
        return []
    checks: list[CheckPlan] = []
    for item in expression.items:
        instead = {"rubric": f"its marks are asked for below: `check {{ marked({item.span.text}, 4..) }}`"}
        named: NamedCheck | None = scope.thing(item, (NamedCheck,), "a check", instead=instead)
        if named is None:
            continue
        if named.takes is not None and not _may_be(_kind(named.takes), checked):
            scope.report(
                "E202",
                f"`{item.span.text}` checks {article(named.takes)}, and this is {article(checked)}",
                item.span,
            )
            continue
        checks += [
            plan.model_copy(update={"label": f"{item.span.text}.{plan.name}"}) for plan in named.checks
        ]
    return checks


def varying(plan: CheckPlan) -> Iterator[str]:
    """The steps and draws that a check's arguments are taken from."""
    for value in plan.arguments.values():
        if isinstance(value, RefPlan):
            yield value.path[0]


def words_of(plan: CheckPlan) -> list[str]:
    words: Any = plan.arguments.get("words")
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _taken(
    rule: Rule, check: Check, subject: Subject | None, scope: Scope
) -> tuple[tuple[str, ...], Type] | Literal[False] | None:
    """What of the value a check's first argument names, as `Subject.below` has it."""
    first = rule.arguments[0] if rule.arguments else None
    if subject is None:
        return None
    if first is not None and first.name is None and isinstance(first.value, Reference):
        below = subject.below(first.value, scope)
        if below is not None:
            return below
        if subject.name is None and scope.find(first.value.parts[0].text) is None:
            report_no_field(subject.type, first.value.parts[0], scope)
            return False
    if subject.name is None:
        fields = [name for name, _ in subject.type.schema.fields] if subject.type.schema is not None else []
        example = f", such as `{check.name}({fields[0]}, ...)`" if fields else ""
        scope.report(
            "E202",
            f"`{check.name}` does not say {'what' if subject.sample else 'which field'} it is of",
            rule.name.span,
            hint=f"name {'it' if subject.sample else 'a field'} first{example}",
        )
        return False
    return None


def _may_check_field(check: Check, type_: Type) -> bool:
    """Whether a check can be of what lies at a path: of numbers there are none but those that compare."""
    if type_.name in ("unknown", "any") or check.many:
        return True
    if type_.name in ("count", "number", "ratio", "range", "duration", "boolean"):
        return False
    return _may_check(check, type_)


def _report_unknown(rule: Rule, scope: Scope) -> None:
    guess = suggest(rule.name.text, CHECKS)
    scope.report(
        "E203",
        f"there is no check `{rule.name}`",
        rule.name.span,
        hint=f"did you mean `{guess}`?"
        if guess
        else f"checks are {some_of(CHECKS)}; `synth explain` lists all",
        fix=Fix(rule.name.span, guess) if guess else None,
    )


def _once(statement: Statement) -> str:
    """Names what a block that checks the wrong kind of value is told once."""
    return f"{statement.span.start} checks"


def _asks_a_model(written: Sequence[Argument], check: Check) -> bool:
    place, judge = next(((n, p) for n, p in enumerate(check.parameters) if p.type == MODEL), (0, None))
    if judge is None:
        return False
    named = [argument.name.text for argument in written if argument.name is not None]
    return not judge.optional or judge.name in named or len(written) - len(named) > place


def _may_be_asked(
    statement: Statement,
    rule: Rule,
    check: Check,
    arguments: Mapping[str, Any],
    checked: Type | None,
    scope: Scope,
) -> bool:
    """Whether arguments of the right types make sense, to the check and of what is checked."""
    fault = check.fault(arguments) if check.fault is not None else None
    if fault is not None:
        scope.report("E202", fault.message, written_at(rule, fault.value), hint=fault.hint)
        return False
    shared = next(
        (
            argument
            for argument in rule.arguments
            if argument.name is not None and argument.name.text == "share"
        ),
        None,
    )
    if "judge" in arguments and shared is not None:
        scope.report(
            "E108",
            "a judge compares no words, so `share` says nothing beside `judge`",
            shared.span,
            hint="drop one of the two; both can be checks of one turn",
        )
        return False
    for argument in rule.arguments:
        # A role that is asked of a text would be looked for as a word.
        if (
            any(parameter.type == TEXT_OR_ROLE for parameter in check.parameters)
            and isinstance(argument.value, Reference)
            and str(argument.value) in ROLE.words
            and checked is not None
            and _kind(checked) == "text"
        ):
            if scope.first(_once(statement)):
                scope.report(
                    "E202",
                    f"`{rule.span.text}` asks whose message it is, and this is {article(checked)}",
                    argument.value.span,
                )
            return False
    return "has" not in arguments or _has_field(rule, arguments["has"], checked, scope)


def _has_field(rule: Rule, name: str, checked: Type | None, scope: Scope) -> bool:
    """Whether the messages to be checked can have a field; those of a source can have any."""
    items = checked.arguments[0] if checked is not None and checked.name == "json" else None
    schema = items.arguments[0].schema if items is not None and items.name == "list" else None
    if schema is None or schema.field(name) is not None:
        return True
    guess = suggest(name, [field for field, _ in schema.fields])
    scope.report(
        "E102",
        f"`{schema.name}` has no `{name}`",
        rule.arguments[-1].value.span,
        hint=f"did you mean `{guess}`?" if guess else "",
    )
    return False


def written_at(rule: Rule, value: object) -> Span:
    """Where a value is written, or the whole check when it comes from elsewhere."""
    for argument in rule.arguments:
        items = argument.value.items if isinstance(argument.value, List) else (argument.value,)
        for item in items:
            plain = item.plain if isinstance(item, Text) else item.span.text
            if plain == str(value):
                return item.span
    return rule.span


def _kind(type_: Type) -> str:
    return "messages" if is_transcript(type_) else "text"


def _may_check(check: Check, checked: Type) -> bool:
    """What is run is a text of its own, and no JSON that holds one."""
    if check.name in RUNNING:
        return checked.name in ("text", "enum", "unknown", "any")
    return _may_be(check.takes, checked)


def _may_check_whole(check: Check, checked: Type | None) -> bool:
    """Whether a check can be of all that is judged: calls stand beside it."""
    if check.takes == "calls":
        return False
    return checked is None or _may_check(check, checked)


def _of_what(checked: Type | None) -> str:
    return "any value" if checked is None else article(checked)


def _may_be(takes: str, checked: Type) -> bool:
    """JSON is checked as its text; a conversation only by what takes messages, or either."""
    if takes == "calls":
        return checked.name == "unknown" or checked.schema == CALL_SCHEMA
    return takes == "any" or checked.name == "unknown" or takes == _kind(checked)
