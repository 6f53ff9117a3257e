"""Pass: what is composed from what is known by now must hold, and differ where it is to be distinct.

A lost sample's replacement has the members of the one it replaces.  So a turn that is composed of
members alone, and does not hold, would be lost for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice, product
from math import prod
from typing import Any

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics
from synth.base.display import quoted
from synth.compiler.bind.blocks.bound import Bound, Step
from synth.compiler.plan.conditions import all_hold
from synth.compiler.plan.model import CohortPlan, Plan
from synth.compiler.plan.presence import drawn, may_be_there, varying
from synth.compiler.plan.steps import CheckPlan, JsonOutput, RefPlan, StepPlan, Template
from synth.compiler.plan.strata import stretches
from synth.compiler.plan.tables.dependent import goes_with
from synth.compiler.plan.tables.draws import Member
from synth.compiler.stdlib.checks import CHECKS
from synth.compiler.stdlib.near_duplicates import NearDuplicates
from synth.compiler.stdlib.render import references, render
from synth.compiler.stdlib.verdict import Refusal, composed_value

# So many combinations of members are composed at most, and numbers within each.
_MOST = 2_000
_NUMBERS = 20
# So many samples are counted one by one.
_COUNTED = 50_000
_SHOWN = 60


def _remedy(template: Template | None) -> str:
    for part in template or ():
        if isinstance(part, RefPlan) and any(call.name == "json" for call in part.filters):
            return (
                "`| json` prints all of a member, its name and null for what it lacks: "
                f"`{{{{ {'.'.join(part.path)} | fields }}}}` prints the fields that it has"
            )
    return "change the text or the check; a sample whose composed turn fails is lost"


def check_composed(bound: Bound, plan: Plan, diagnostics: Diagnostics) -> None:
    """E506 for composed turns that fail their checks, E305 for those that repeat and must not."""
    for conversation in bound.conversations.values():
        cohort = plan.cohort(conversation.name)
        for step in conversation.steps:
            _check(step, cohort, plan, diagnostics)
    for preference in bound.preferences.values():
        pairs = next((cohort for cohort in plan.pair_cohorts if cohort.name == preference.name), None)
        for step in preference.steps:
            if pairs is not None:
                _check(step, pairs, plan, diagnostics)


def ingredients(cohort: CohortPlan, step: StepPlan, *, checks: bool = False) -> set[str] | None:
    """The axes and draws, and perhaps `nth`, that a composed step's text is made of; with
    `checks`, also those that its checks go by.  None where something else goes into it."""
    if step.value is None:
        return None
    quoted_names = set(references(step.value))
    if checks:
        arguments = [value for check in step.checks for value in check.arguments.values()]
        quoted_names |= {value.path[0] for value in arguments if isinstance(value, RefPlan)}
    # Of a draw in parts each sample has a value of its own.
    varies = {*varying(cohort), "nth"} - {draw.name for draw in cohort.draws if draw.in_parts}
    quoted_names |= {condition.path[0] for condition in step.when}
    varied: set[str] = set()
    for name in quoted_names:
        earlier = next((other for other in cohort.steps if other.name == name), None)
        within = {name} & varies if earlier is None else ingredients(cohort, earlier)
        if not within:
            if earlier is not None and within is not None:
                continue
            return None
        varied |= within
    return varied


def _check(step: Step, cohort: CohortPlan, plan: Plan, diagnostics: Diagnostics) -> None:
    lowered = _judged_now(cohort.step(step.name))
    judged = lowered.checks or lowered.must_fail or isinstance(lowered.output, JsonOutput)
    if not judged and not _may_say_nothing(lowered):
        return
    names = ingredients(cohort, lowered, checks=True)
    if names is None:
        return
    fault = _never_holds(cohort, lowered, names)
    if fault is not None:
        where, refused = fault
        diagnostics.add(
            Diagnostic(
                "E506",
                f"`{step.name}` fails `{refused.check}` {where}: it {refused.reason}",
                step.span,
                hint=_remedy(lowered.value),
            )
        )
        return
    distinct = next((check for check in lowered.checks if _is_distinct(check)), None)
    made_of = ingredients(cohort, lowered)
    if distinct is None or made_of is None or "nth" in made_of:
        return
    alike = _alike(plan, cohort, lowered, made_of, float(str(distinct.arguments["similarity"])))
    if alike is not None:
        diagnostics.add(
            Diagnostic(
                "E305",
                f"`{step.name}` is to be distinct in {cohort.quota} samples, and {alike}",
                step.span,
                hint="quote what a model writes, or `{{ nth }}`; or drop `distinct`, or make fewer samples",
            )
        )


def _may_say_nothing(step: StepPlan) -> bool:
    """Whether a composed turn is nothing but what it quotes, and white space."""
    texts = [part for part in step.value or () if isinstance(part, str)]
    return step.role is not None and not "".join(texts).strip()


def _judged_now(step: StepPlan) -> StepPlan:
    """A step without the checks that need a package which need not be installed here, and without
    Python functions and the rows of sources."""
    if all(_is_ready(check) for check in (*step.checks, *step.must_fail)):
        return step
    checks = tuple(check for check in step.checks if _is_ready(check))
    return step.model_copy(update={"checks": checks, "must_fail": ()})


def _is_distinct(check: CheckPlan) -> bool:
    """Whether it compares the texts of samples as a whole."""
    return not check.source and not check.of and CHECKS[check.name].many


def _is_ready(check: CheckPlan) -> bool:
    return not check.source and not check.against and CHECKS[check.name].prepare is None


def _never_holds(cohort: CohortPlan, step: StepPlan, names: set[str]) -> tuple[str, Refusal] | None:
    """Where a composed step fails, in words, and how; None where it holds, as far as was looked."""
    numbers = range(1, (min(cohort.times, _NUMBERS) if "nth" in names else 1) + 1)
    total, failed = 0, []
    for members in islice(_combinations(cohort, names), _MOST):
        if not may_be_there(cohort, step, drawn(cohort, members)):
            continue
        total += 1
        refused: Any = None
        for number in numbers:
            refused = _compose(cohort, step, members, number)
            if not isinstance(refused, Refusal):
                break
        if isinstance(refused, Refusal):
            failed.append((members, refused))
    if not failed:
        return None
    members, refused = failed[0]
    if len(failed) == total:
        return "in every sample", refused
    where = " and ".join(f"`{name}` is `{member.label}`" for name, member in members.items())
    return f"where {where}", refused


def _alike(plan: Plan, cohort: CohortPlan, step: StepPlan, names: set[str], similarity: float) -> str | None:
    """What shows that some samples' texts are too much alike, or None."""
    if prod(len(members) for members in _members(cohort, names)) > _MOST:
        return None
    texts = {
        tuple((name, member.label) for name, member in members.items()): _text(cohort, step, members)
        for members in _combinations(cohort, names)
        if may_be_there(cohort, step, drawn(cohort, members))
    }
    counts = _counted(plan, cohort, names)
    if counts is None:
        if step.when:
            return None
        different = len(set(texts.values()))
        return f"there are {different} texts for it" if different < cohort.quota else None
    by_text: Counter[str] = Counter()
    for labels, count in counts.items():
        if labels in texts:
            by_text[texts[labels]] += count
    if not by_text:
        return None
    text, most = max(by_text.items(), key=lambda item: item[1])
    if most > 1:
        return f"{most} of them say {quoted(text, _SHOWN)}"
    if similarity < 1:
        index = NearDuplicates(similarity)
        for text in by_text:
            near = index.find(text)
            if near is not None:
                return f"{quoted(text, _SHOWN)} is {near[1]:.0%} like {quoted(near[0], _SHOWN)}"
            index.keep(text, text)
    return None


def _counted(plan: Plan, cohort: CohortPlan, names: set[str]) -> Counter[tuple[tuple[str, str], ...]] | None:
    """How many samples have each combination of members; None where there are too many to count."""
    if cohort.quota > _COUNTED:
        return None
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    for cells, dealt in stretches(plan, cohort):
        for index, count in Counter(dealt).items():
            counts[tuple(label for label in cells[index].labels if label[0] in names)] += count
    return counts


def _members(cohort: CohortPlan, names: set[str]) -> list[list[Member]]:
    axes = [list(axis.members) for axis in cohort.axes if axis.name in names]
    draws = [[m for m in draw.members if m.weight] for draw in cohort.draws if draw.name in names]
    return axes + draws


def _combinations(cohort: CohortPlan, names: set[str]) -> Iterator[dict[str, Member]]:
    """The members of axes and draws that go together, by name, axes first as in a cell's labels."""
    ordered = [name for name in varying(cohort) if name in names]
    for members in product(*_members(cohort, names)):
        combination = dict(zip(ordered, members, strict=True))
        if goes_with(cohort, combination):
            yield combination


def _text(cohort: CohortPlan, step: StepPlan, members: Mapping[str, Member]) -> str:
    assert step.value is not None
    return render(step.value, _values(cohort, step, members, 1)).strip()


def _compose(cohort: CohortPlan, step: StepPlan, members: Mapping[str, Member], number: int) -> Any:
    assert step.value is not None
    values = _values(cohort, step, members, number)
    return composed_value(step, render(step.value, values), values)


def _values(cohort: CohortPlan, step: StepPlan, members: Mapping[str, Member], number: int) -> dict[str, Any]:
    """What a composed step's templates can print, as far as it is known by now."""
    values: dict[str, Any] = {"nth": number, **drawn(cohort, members)}
    for earlier in cohort.steps:
        if earlier.name == step.name:
            break
        names = ingredients(cohort, earlier)
        if names is not None and names <= {*members, "nth"} and not all_hold(earlier.when, values):
            values[earlier.name] = None
        elif names is not None and earlier.value is not None and names <= {*members, "nth"}:
            values[earlier.name] = composed_value(earlier, render(earlier.value, values), values)
    return values
