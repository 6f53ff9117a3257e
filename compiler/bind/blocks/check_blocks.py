"""Binding of checks: `check { }` blocks, `keep { }` filters and lists of named checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synth.base.diagnostics.diagnostic import Fix
from synth.base.diagnostics.source import Span
from synth.base.suggest import some_of, suggest
from synth.compiler.bind.blocks.shape import check_shape
from synth.compiler.bind.expressions.arguments import bind_arguments
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import article, resolve_type
from synth.compiler.plan.model import CheckPlan, RefPlan
from synth.compiler.plan.signature import TEXT_OR_ROLE
from synth.compiler.plan.types import MODEL, ROLE, Schema, Type, is_transcript
from synth.compiler.stdlib.checks import CHECKS, Check
from synth.dsl.syntax import Expression, List, Reference, Rule, Statement, Text


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


def bind_block(statement: Statement, checked: Type | None, scope: Scope) -> list[CheckPlan]:
    """The checks of a block, for values of a type; None takes any."""
    found: list[CheckPlan] = []
    for rule, _ in check_shape(statement.body or (), "checks", scope.diagnostics):
        if not isinstance(rule, Rule):
            continue
        check = CHECKS.get(rule.name.text)
        if check is None:
            _report_unknown(rule, scope)
            continue
        if checked is not None and not _may_check(check.takes, checked):
            # What is checked is at fault more often than the checks: one word is enough.
            if scope.first(_once(statement)):
                scope.report(
                    "E202",
                    f"`{check.name}` checks {check.takes}, and this is {article(checked)}",
                    rule.name.span,
                )
            continue
        if _asks_a_model(rule, check) and (statement.kind.text != "check" or statement.name is not None):
            scope.report(
                "E202",
                f"`{check.name}` asks a model here, which only the `check {{ }}` of a turn or step can",
                rule.name.span,
            )
            continue
        arguments = bind_arguments(
            check.name, rule.arguments, check.parameters, rule.span, check.example, scope
        )
        if arguments is not None and _may_be_asked(statement, rule, check, arguments, checked, scope):
            found.append(CheckPlan(name=check.name, arguments=arguments))
    return found


def named_checks(expression: Expression, what: str, checked: Type, scope: Scope) -> list[CheckPlan]:
    """The checks that a list names; each keeps the name it was listed under."""
    if not isinstance(expression, List):
        scope.report(
            "E202", f"`{what}` is a list of checks", expression.span, hint=f"for example `{what} = [plain]`"
        )
        return []
    found: list[CheckPlan] = []
    for item in expression.items:
        named: NamedCheck | None = scope.thing(item, (NamedCheck,), "a check")
        if named is None:
            continue
        if named.takes is not None and not _may_check(_kind(named.takes), checked):
            scope.report(
                "E202",
                f"`{item.span.text}` checks {article(named.takes)}, and this is {article(checked)}",
                item.span,
            )
            continue
        found += [plan.model_copy(update={"label": f"{item.span.text}.{plan.name}"}) for plan in named.checks]
    return found


def varying(plan: CheckPlan) -> Iterator[str]:
    """The steps and draws that a check's arguments are taken from."""
    for value in plan.arguments.values():
        if isinstance(value, RefPlan):
            yield value.path[0]


def words_of(plan: CheckPlan) -> list[str]:
    words: Any = plan.arguments.get("words")
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


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


def _asks_a_model(rule: Rule, check: Check) -> bool:
    place, judge = next(((n, p) for n, p in enumerate(check.parameters) if p.type == MODEL), (0, None))
    if judge is None:
        return False
    named = [each.name.text for each in rule.arguments if each.name is not None]
    return not judge.optional or judge.name in named or len(rule.arguments) - len(named) > place


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
        (each for each in rule.arguments if each.name is not None and each.name.text == "share"), None
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


def _may_check(takes: str, checked: Type) -> bool:
    """JSON is checked as its text; a conversation only by what takes messages, or either."""
    return takes == "any" or checked.name == "unknown" or takes == _kind(checked)
