"""Checks that go by paths, where others go by what is judged: `same`, `marked`."""

from __future__ import annotations

from collections.abc import Iterator

from synth.base.suggest import some_of, suggest
from synth.compiler.bind.blocks.bound import Rubric
from synth.compiler.bind.blocks.subject import Subject, report_no_field
from synth.compiler.bind.expressions.arguments import bind_arguments, path_of
from synth.compiler.bind.expressions.scope import Scope
from synth.compiler.bind.expressions.values import article, beyond_reach, misses
from synth.compiler.plan.steps import CheckPlan, RefPlan
from synth.compiler.plan.types import Type
from synth.compiler.stdlib.checks import CHECKS
from synth.dsl.syntax import Name, Reference, Rule

_NUMBERS = ("count", "number", "ratio", "unknown")


def is_apart(rule: Rule, subject: Subject | None) -> bool:
    """Whether a check is bound here."""
    whole_sample = subject is not None and subject.sample
    return rule.name.text in ("same", "marked") or (whole_sample and rule.name.text == "distinct")


def bind_apart(rule: Rule, place: str, subject: Subject | None, scope: Scope) -> Iterator[CheckPlan]:
    """The check that a rule is, in a block called `place`; nothing after a report."""
    if rule.name.text == "marked" and subject is not None:
        yield from _bind_marked(rule, subject, scope)
    elif rule.name.text == "same" and subject is not None and subject.sample:
        yield from _bind_same(rule, scope)
    else:
        _report_misplaced(rule, scope)


def _bind_same(rule: Rule, scope: Scope) -> Iterator[CheckPlan]:
    """`same(a, b)`: two paths of a sample lead to equal values."""
    names = ("one", "other")
    values = [argument.value for argument in rule.arguments if argument.name is None]
    if (
        len(values) != 2
        or len(rule.arguments) != 2
        or not all(isinstance(value, Reference) for value in values)
    ):
        scope.report(
            "E202",
            "`same` compares two values of a sample",
            rule.span,
            hint="for example `same(shown, voted)`",
        )
        return
    typed_paths = [path_of(value, scope) for value in values if isinstance(value, Reference)]
    paths = [typed[1] for typed in typed_paths if typed is not None]
    if len(paths) == 2:
        references = {name: RefPlan(path=path) for name, path in zip(names, paths, strict=True)}
        yield CheckPlan(name="same", arguments=dict(references))


def _report_misplaced(rule: Rule, scope: Scope) -> None:
    reasons = {
        "same": "compares two values of a finished sample, which the `keep` of a conversation judges",
        "marked": "says by its path what it is of, and a check of its own is of any text",
        "distinct": "compares samples with each other, and a `keep` judges each by itself",
    }
    hint = {
        "distinct": "ask for it in the `check { }` of a turn or step",
        "same": "write `keep { same(a, b) }` in the conversation",
        "marked": "ask for it in the `check { }` of a turn or step",
    }
    name = rule.name.text
    scope.report("E202", f"`{name}` {reasons[name]}", rule.name.span, hint=hint.get(name, ""))


def _bind_marked(rule: Rule, subject: Subject, scope: Scope) -> Iterator[CheckPlan]:
    """`marked(quality.truthful, 4..)`, or of another number, which its path names."""
    check = CHECKS["marked"]
    first = rule.arguments[0] if rule.arguments else None
    if first is None or first.name is not None or not isinstance(first.value, Reference):
        scope.report(
            "E202",
            "`marked` names the number that is to be in a range",
            rule.span if first is None else first.span,
            hint=f"for example `{check.example}`",
        )
        return
    number = _number(first.value, subject, scope)
    if number is None:
        return
    path, type_ = number
    arguments = bind_arguments(
        check.name, rule.arguments[1:], check.parameters, rule.span, check.example, scope
    )
    if arguments is None:
        return
    if misses(arguments["range"], type_):
        scope.report(
            "E202",
            f"`{first.value}` is from {type_.low} to {type_.high}, and never in "
            f"`{rule.arguments[1].value.span.text}`",
            rule.arguments[1].value.span,
            hint=beyond_reach(arguments["range"], type_),
        )
        return
    yield CheckPlan(name="marked", of=path, arguments=arguments)


def _number(reference: Reference, subject: Subject, scope: Scope) -> tuple[tuple[str, ...], Type] | None:
    """The path to a number and its type, of marks as a whole that to their total; None after a report."""
    parts = reference.parts
    declared = scope.find(parts[0].text)
    if declared is not None and isinstance(declared.thing, Rubric):
        scope.use(declared.name)
        return _of_own_marks(reference, declared.thing, subject, scope)
    own = subject.rubric if subject.rubric is not None and parts[0].text == subject.name else None
    if own is not None and parts[1:2] and parts[1].text == own.plan.name:
        return _of_own_marks(Reference(parts[1:], reference.span), own, subject, scope)
    if subject.name is not None and parts[0].text != subject.name:
        if scope.resolve_path(reference)[0] is not None:
            scope.report(
                "E202",
                f"`{reference}` is not of `{subject.name}`, which is what is judged here",
                reference.span,
                hint="the `keep` of the conversation goes by all of a sample: "
                f"`keep {{ marked({reference}, ...) }}`",
            )
        return None
    below = subject.below(reference, scope)
    if below is None and declared is None and not subject.sample:
        report_no_field(subject.type, parts[0], scope)
    elif below is None and scope.resolve_path(reference)[0] is not None:
        scope.report("E202", f"`{reference}` is nothing of a sample that could be in a range", reference.span)
    if not below:
        return None
    path, type_ = below
    if _is_marks(type_):
        path, type_ = (*path, "total"), _field(type_, "total")
    if type_.name not in _NUMBERS:
        scope.report("E202", f"`{reference}` is {article(type_)}, and a range is of numbers", reference.span)
        return None
    return path, type_


def _of_own_marks(
    reference: Reference, rubric: Rubric, subject: Subject, scope: Scope
) -> tuple[tuple[str, ...], Type] | None:
    """`quality.truthful`, or `quality` for the total: of the marks that the value judged is given."""
    name = rubric.plan.name
    if rubric is not subject.rubric and subject.type.name == "unknown":
        return None
    if rubric is not subject.rubric:
        marked = [
            f"{step}.{name}"
            for step, type_ in (subject.type.schema.fields if subject.type.schema is not None else ())
            if type_.beside is not None and type_.beside.field(name) is not None
        ]
        scope.report(
            "E202",
            f"`{reference}` does not say whose marks are meant"
            if subject.sample
            else f"`{subject.name or 'this'}` has no marks by `{name}`",
            reference.span,
            hint=f"write `{marked[0]}{reference.span.text.removeprefix(name)}`"
            if subject.sample and marked
            else f"say `marks = {name}` above the check",
        )
        return None
    rest = reference.parts[1:] or (Name("total", reference.span),)
    marks = rubric.marks.schema
    type_ = marks.field(rest[0].text) if marks is not None else None
    if type_ is not None and type_.name == "text":
        scope.report("E202", f"`{reference}` is text, and a range is of numbers", reference.span)
        return None
    if type_ is None or len(rest) > 1:
        names = [criterion.name for criterion in rubric.plan.criteria]
        guess = suggest(rest[0].text, [*names, "total"])
        scope.report(
            "E102",
            f"`{name}` has no mark `{'.'.join(part.text for part in rest)}`",
            rest[0].span,
            hint=f"did you mean `{guess}`?" if guess else f"it has {some_of([*names, 'total'])}",
        )
        return None
    return (name, rest[0].text), type_


def _is_marks(type_: Type) -> bool:
    """Whether a record is of marks: a number for each question, their total and the reasons."""
    fields = type_.schema.fields if type_.name == "record" and type_.schema is not None else ()
    names = [name for name, _ in fields]
    return names[-2:] == ["total", "why"] and all(
        field_type.name == "number" for _, field_type in fields[:-1]
    )


def _field(type_: Type, name: str) -> Type:
    inner = type_.schema.field(name) if type_.schema is not None else None
    assert inner is not None
    return inner
