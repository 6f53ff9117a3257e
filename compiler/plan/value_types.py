"""The type of a value as a plan says it: of a row's field, a column, what a function takes and gives."""

from __future__ import annotations

from typing import Literal

from synth.base.canonical import Frozen
from synth.compiler.plan.types import Type

Kind = Literal[
    "text",
    "path",
    "count",
    "number",
    "ratio",
    "range",
    "duration",
    "boolean",
    "enum",
    "list",
    "record",
    "messages",
    "chunk",
    "any",
]


class ValueType(Frozen):
    """`items` is what a list holds, `fields` are a record's in declared order, `words` an enum's.  A record
    without fields is any one, whose values are all `items` where that is given.

    `low` and `high` bound a text's characters, a list's items or a number.  A value that is
    `optional` may be null.
    """

    kind: Kind
    items: ValueType | None = None
    fields: tuple[tuple[str, ValueType], ...] = ()
    words: tuple[str, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    optional: bool = False

    def field(self, name: str) -> ValueType | None:
        """The type of a record's field."""
        return dict(self.fields).get(name)


def value_type(type_: Type) -> ValueType:
    """The same of a type of the language.  JSON is what it holds; what no value can be is `any`."""
    if type_.name == "json":
        inner = value_type(type_.arguments[0])
        return inner.model_copy(update={"optional": inner.optional or type_.optional})
    if type_.name == "record" and type_.schema is not None:
        fields = tuple((name, value_type(field)) for name, field in type_.schema.fields)
        return ValueType(kind="record", fields=fields, optional=type_.optional)
    if type_.name == "record":
        inside = value_type(type_.arguments[0]) if type_.arguments else None
        return ValueType(kind="record", items=inside, optional=type_.optional)
    if type_.name not in _KINDS:
        return ValueType(kind="any", optional=type_.optional)
    return ValueType(
        kind=_KINDS[type_.name],
        items=value_type(type_.arguments[0]) if type_.name == "list" else None,
        words=type_.words,
        low=type_.low,
        high=type_.high,
        optional=type_.optional,
    )


_KINDS: dict[str, Kind] = {
    "text": "text",
    "path": "path",
    "count": "count",
    "number": "number",
    "ratio": "ratio",
    "range": "range",
    "duration": "duration",
    "boolean": "boolean",
    "enum": "enum",
    "list": "list",
    "messages": "messages",
    "chunk": "chunk",
}
