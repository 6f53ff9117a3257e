"""The ways in which the conditions of a conversation can fall, and what is there in each.

What conditions go by is taken apart into parts that vary freely: an axis or draw is one, with its
members; so is a field of a row or of what a model writes.  Of all values of a part only those are
looked at that the conditions tell apart.  Whether a conditional step is there is no such part: it
follows from its own conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import prod
from typing import Any

from synth.compiler.plan.conditions import ConditionPlan, holds, there
from synth.compiler.plan.steps import CallPlan, RefPlan
from synth.compiler.plan.tables.draws import Member
from synth.compiler.plan.types import Type

Path = tuple[str, ...]
Conditions = tuple[ConditionPlan, ...]

MOST = 10_000

# A value of which nothing else is known, and one that no condition names.
_THERE = object()
_OTHER = "\0"


class TooManyWays(Exception):
    """Conditions can fall in more ways than are looked at one by one."""


@dataclass(slots=True)
class Ways:
    """What is known of a conversation while it is bound.

    `members` are the values of axes and draws, as templates see them; `types` those of other
    paths; `steps` the conditions of steps, and `eithers` what an `either` takes one of: paths, and
    None for a text, which is always there.
    """

    members: dict[str, Sequence[Any]] = field(default_factory=dict)
    types: dict[Path, Type] = field(default_factory=dict)
    steps: dict[str, Conditions] = field(default_factory=dict)
    eithers: dict[str, tuple[Path | None, ...]] = field(default_factory=dict)

    def add(self, name: str, when: Conditions, call: CallPlan | None) -> None:
        """Takes note of a step, which may be an `either`."""
        if when:
            self.steps[name] = when
        if call is not None and call.name == "either":
            choices = call.arguments.values()
            self.eithers[name] = tuple(
                choice.path if isinstance(choice, RefPlan) else None for choice in choices
            )

    def implies(self, given: Conditions, wanted: Conditions) -> bool:
        """Whether some conditions hold wherever others do."""
        if not wanted or set(wanted) <= set(given):
            return True
        try:
            return all(way.hold(wanted) for way in self.fall((*given, *wanted)) if way.hold(given))
        except TooManyWays:
            return False

    def certain(self, given: Conditions, path: Path, type_: Type) -> bool:
        """Whether what a path leads to is there wherever conditions hold."""
        self.types.setdefault(path, type_)
        asked = ConditionPlan(path=path)
        try:
            return all(way.value(path) is not None for way in self.fall((*given, asked)) if way.hold(given))
        except TooManyWays:
            return False

    def fall(self, conditions: Iterable[ConditionPlan]) -> Iterator[Way]:
        """Every way in which conditions can fall.  Raises TooManyWays."""
        parts: dict[Path, dict[ConditionPlan, None]] = {}
        self._take_apart(conditions, parts)
        domains = {part: self._domain(part, list(asked)) for part, asked in parts.items()}
        if prod(len(domain) for domain in domains.values()) > MOST:
            raise TooManyWays
        for values in product(*domains.values()):
            yield Way(self, dict(zip(domains, values, strict=True)))

    def _take_apart(
        self, conditions: Iterable[ConditionPlan], parts: dict[Path, dict[ConditionPlan, None]]
    ) -> None:
        for condition in conditions:
            first, *rest = condition.path
            self._take_apart(self.steps.get(first, ()), parts)
            if first in self.eithers:
                for path in self.eithers[first]:
                    if path is not None:
                        asked = (
                            condition.model_copy(update={"path": (*path, *rest)}),
                            ConditionPlan(path=path),
                        )
                        self._take_apart(asked, parts)
                continue
            if first in self.steps and not rest and condition.values is None and condition.range is None:
                continue
            part = (first,) if first in self.members else condition.path
            parts.setdefault(part, {})[condition] = None

    def _domain(self, part: Path, asked: Sequence[ConditionPlan]) -> list[Any]:
        """Values of a part, one of each that conditions tell apart."""
        if part[0] in self.members:
            candidates = self.members[part[0]]
            paths = [condition.path[1:] for condition in asked]
        else:
            candidates = _candidates(self.types.get(part), asked)
            paths = [()] * len(asked)
        by_answers: dict[tuple[Any, ...], Any] = {}
        for value in candidates:
            known = [there(path, value) if path else value for path in paths]
            answers = [
                (holds(c, known_value), known_value is None)
                for c, known_value in zip(asked, known, strict=True)
            ]
            by_answers.setdefault(tuple(answers), value)
        return list(by_answers.values())


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which conditions can fall: a value for each part."""

    ways: Ways
    parts: Mapping[Path, Any]

    def hold(self, conditions: Conditions) -> bool:
        return all(holds(condition, self.value(condition.path)) for condition in conditions)

    def value(self, path: Path) -> Any:
        """What a path leads to here, None for what is not there."""
        first, *rest = path
        if not self.hold(self.ways.steps.get(first, ())):
            return None
        if first in self.ways.eithers:
            for either in self.ways.eithers[first]:
                if either is None:
                    return _THERE
                if self.value(either) is not None:
                    return self.value((*either, *rest))
            return None
        if first in self.ways.members:
            if (first,) not in self.parts:
                return _THERE
            return there(rest, self.parts[first,]) if rest else self.parts[first,]
        for length in range(1, len(path)):
            if self.parts.get(path[:length], _THERE) is None:
                return None
        return self.parts.get(path, _THERE)


def seen(members: Iterable[Member], *, plain: bool = False) -> list[Any]:
    """Members as templates see them; a `plain` one is its value."""
    if plain:
        return [member.fields["value"] for member in members]
    return [{"name": member.label, **member.fields} for member in members]


def _candidates(type_: Type | None, asked: Sequence[ConditionPlan]) -> list[Any]:
    """Values of a type among which are all that conditions tell apart."""
    named = [value for condition in asked for value in condition.values or ()]
    ends = [end for condition in asked for end in condition.range or () if end is not None]
    values: list[Any]
    if type_ is not None and type_.name == "boolean":
        values = [True, False]
    elif type_ is not None and type_.name == "enum":
        values = list(type_.words)
    elif type_ is not None and type_.name in ("count", "number", "ratio"):
        values = _numbers([*named, *ends], type_)
    else:
        values = [*named, _OTHER if named else _THERE]
    return [*values, None] if type_ is None or type_.optional else values


def _numbers(named: Sequence[Any], type_: Type) -> list[Any]:
    """Numbers, those between them, below and above them, within a type's bounds."""
    ordered = sorted({value for value in named if isinstance(value, int | float)})
    if not ordered:
        return [_THERE]
    if type_.name == "count":
        around = {int(value) + step for value in ordered for step in (-1, 0, 1)}
        numbers: list[Any] = sorted(value for value in around if value >= 0)
    else:
        between = [(low + high) / 2 for low, high in pairwise(ordered)]
        numbers = sorted({*ordered, *between, ordered[0] - 1, ordered[-1] + 1})
    return [
        value
        for value in numbers
        if (type_.low is None or value >= type_.low) and (type_.high is None or value <= type_.high)
    ] or [_THERE]
