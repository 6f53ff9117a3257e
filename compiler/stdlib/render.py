"""The text of a plan's templates for one sample.

A template is a tuple of text and references.  Rendering puts values in once and reads nothing in
them: a `{{` that a model wrote stays two braces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth.compiler.plan.conditions import there
from synth.compiler.plan.steps import RefPlan, Template
from synth.compiler.stdlib.filters import FILTERS


def render(template: Template, values: Mapping[str, Any]) -> str:
    """The text of a template for one sample.

    `values` has a mapping for each record that was drawn, and text or JSON for each step.
    """
    return "".join(part if isinstance(part, str) else _show(part, values) for part in template)


def references(template: Template | None) -> tuple[str, ...]:
    """The first names of all references, in order of appearance, each once."""
    names = (part.path[0] for part in template or () if isinstance(part, RefPlan))
    return tuple(dict.fromkeys(names))


def look_up(reference: RefPlan, values: Mapping[str, Any]) -> Any:
    """What a reference stands for in one sample, before any filter."""
    value: Any = values
    try:
        for name in reference.path:
            value = value[name]
    except (KeyError, TypeError):
        # Not below the value, but perhaps beside it.
        value = there(reference.path, values)
        if value is None:
            raise
    return value


def _show(part: RefPlan, values: Mapping[str, Any]) -> str:
    value = look_up(part, values)
    for filter_ in part.filters:
        value = FILTERS[filter_.name].function(value, *filter_.arguments)
    # An optional field that a member does not give prints as nothing.
    return "" if value is None else value if isinstance(value, str) else str(value)
