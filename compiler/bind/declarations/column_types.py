"""The types that columns have: those of their values without bounds, and of several places one."""

from __future__ import annotations

from dataclasses import replace

from synth.compiler.plan.types import TEXT, UNKNOWN, Type


def without_bounds(type_: Type) -> Type:
    """A type without bounds, which say nothing of a column."""
    inner = type_.arguments[0] if type_.name == "json" else type_
    if inner.schema is not None:
        fields = tuple((name, without_bounds(field)) for name, field in inner.schema.fields)
        inner = replace(inner, schema=replace(inner.schema, fields=fields))
    arguments = tuple(map(without_bounds, inner.arguments))
    return replace(inner, arguments=arguments, low=None, high=None, optional=inner.optional or type_.optional)


_WRITTEN = ("text", "path", "enum")


def common_type(one: Type, other: Type) -> Type | None:
    """The type that holds the values of both, or None."""
    optional = one.optional or other.optional
    if "unknown" in (one.name, other.name):
        return UNKNOWN
    if one.name in _WRITTEN and other.name in _WRITTEN:
        if one.name == other.name == "enum":
            words = tuple(dict.fromkeys((*one.words, *other.words)))
            return Type("enum", words=words, optional=optional)
        return replace(TEXT, optional=optional)
    if {one.name, other.name} == {"count", "number"}:
        return Type("number", optional=optional)
    if one.name != other.name:
        return None
    if one.name == "list":
        inner = common_type(one.arguments[0], other.arguments[0])
        return None if inner is None else Type("list", (inner,), optional=optional)
    if one.schema is not None and other.schema is not None:
        if [name for name, _ in one.schema.fields] != [name for name, _ in other.schema.fields]:
            return None
        pairs = zip(one.schema.fields, other.schema.fields, strict=True)
        fields = [(name, common_type(left, right)) for (name, left), (_, right) in pairs]
        if any(field is None for _, field in fields):
            return None
        schema = replace(
            one.schema, fields=tuple((name, field) for name, field in fields if field is not None)
        )
        return Type("record", schema=schema, optional=optional)
    return replace(one, optional=optional)
