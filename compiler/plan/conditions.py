"""Conditions: what of a conversation is in a sample only where they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from synth.base.canonical import Frozen


class ConditionPlan(Frozen):
    """`when hard`, `unless topic.name in [law]`, `when words in 3..`.

    What `path` leads to in a sample must be true, or there where it is no boolean; or be one of the
    `values`; or lie in the `range`, whose ends count.  `negated` turns all of that round.
    """

    path: tuple[str, ...]
    negated: bool = False
    values: tuple[JsonValue, ...] | None = None
    range: tuple[int | float | None, int | float | None] | None = None


def all_hold(conditions: Iterable[ConditionPlan], values: Mapping[str, Any]) -> bool:
    """Whether conditions hold in a sample.  `values` are as templates see them."""
    return all(holds(condition, there(condition.path, values)) for condition in conditions)


def holds(condition: ConditionPlan, value: Any) -> bool:
    """Whether a condition holds for what its path leads to, None for what is not there."""
    return _agrees(condition, value) != condition.negated


def there(path: Sequence[str], values: Any) -> Any:
    """What a path leads to, or None where something on the way is not there.

    What stands beside a step's value, such as its marks, is among the values under a name with a dot:
    `answer.quality`.
    """
    for number, name in enumerate(path):
        if not isinstance(values, Mapping):
            return None
        inner, after = values.get(name), path[number + 1 : number + 2]
        if after and (not isinstance(inner, Mapping) or after[0] not in inner):
            beside = f"{name}.{after[0]}"
            if beside in values:
                return there((beside, *path[number + 2 :]), values)
        values = inner
    return values


def same(left: Any, right: Any) -> bool:
    """Whether two values are one: `true` is no 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _agrees(condition: ConditionPlan, value: Any) -> bool:
    if value is None:
        return False
    if condition.values is not None:
        return any(same(value, wanted) for wanted in condition.values)
    if condition.range is None:
        return value is not False
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = condition.range
    return (low is None or value >= low) and (high is None or value <= high)
