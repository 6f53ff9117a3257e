"""Template filters: how a value that is not text is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compiler.plan import canonical_json
from compiler.types import Type


@dataclass(frozen=True, slots=True)
class TemplateFilter:
    """`accepts` are the names of the types it prints."""

    name: str
    accepts: tuple[str, ...]
    function: Callable[[Any], str]


FILTERS: Mapping[str, TemplateFilter] = {
    each.name: each
    for each in (
        TemplateFilter("json", ("json", "record", "list", "text", "count", "number"), canonical_json),
        TemplateFilter("json_schema", ("schema",), canonical_json),
    )
}


def printers(type_: Type) -> tuple[str, ...]:
    """The filters that print a type, for hints."""
    return tuple(each.name for each in FILTERS.values() if type_.name in each.accepts)
