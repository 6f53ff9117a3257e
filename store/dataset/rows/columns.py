"""The columns that an export takes from samples: their values, and their types wherever rows are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any, TypeVar

from synth.base.canonical import canonical_json
from synth.base.errors import ConfigError
from synth.compiler.plan.conditions import there
from synth.compiler.plan.model import CohortPlan
from synth.compiler.plan.outputs import ColumnPlan, ExportPlan
from synth.compiler.plan.value_types import ValueType
from synth.store.dataset.inputs.environment import Environment, Record, RowLookup
from synth.store.dataset.inputs.messages import as_text
from synth.store.dataset.rows.tool_calls import SampleTools
from synth.store.log.payloads import EndedEitherWay

_DUCKDB = {
    "count": "BIGINT",
    "number": "DOUBLE",
    "ratio": "DOUBLE",
    "duration": "DOUBLE",
    "boolean": "BOOLEAN",
}
_FEATURES = {
    "VARCHAR": "string",
    "JSON": "json",
    "BIGINT": "int64",
    "DOUBLE": "float64",
    "BOOLEAN": "bool",
    "TINYINT": "int8",
}

# Samples whose rows are looked up together.
_CHUNK = 1024
_NOTHING: Mapping[str, Any] = {}
_Sample = TypeVar("_Sample", bound=tuple[Any, ...])

_TEXT = ValueType(kind="text")
_MADE_OF = {
    "chunk": ValueType(kind="record", fields=(("document", _TEXT), ("heading", _TEXT), ("text", _TEXT))),
    "range": ValueType(kind="list", items=ValueType(kind="number")),
    "messages": ValueType(
        kind="list", items=ValueType(kind="record", fields=(("role", _TEXT), ("content", _TEXT)))
    ),
}  # fmt: skip


class SampleColumns:
    """What an export's columns hold of the samples of one cohort, and of what a preference has `beside`
    each of them; with `tools` where those of a sample can be called."""

    def __init__(
        self, export: ExportPlan, cohort: CohortPlan, rows: RowLookup, beside: str | None = None
    ) -> None:
        self._columns = [
            (column, _path_in(column, cohort.name)) if isinstance(column, ColumnPlan) else (column, None)
            for column in export.columns
        ]
        self._beside = [
            (column, path)
            for column in export.columns
            if beside is not None and isinstance(column, ColumnPlan)
            if (path := _path_in(column, beside)) is not None
        ]
        typed = any(isinstance(column, ColumnPlan) for column in export.columns)
        self._environment = Environment(cohort) if typed else None
        self._cohort = cohort
        self._tools = SampleTools(cohort)
        self._rows = rows if (typed or self._tools.by_rows) and cohort.of_tables else None

    def along(self, samples: Iterable[_Sample]) -> Iterator[tuple[_Sample, dict[str, Any]]]:
        """Samples, of which each begins with its id and the payload of the event of its end, with their
        columns.  Raises ConfigError as `of` does."""
        remaining = iter(samples)
        while some := list(islice(remaining, _CHUNK)):
            rows: Sequence[Mapping[str, Any]] = [{}] * len(some)
            if self._rows is not None:
                rows = self._rows(self._cohort, [sample[1] for sample in some])
            for sample, of_it in zip(some, rows, strict=True):
                yield sample, self.of(sample[0], sample[1], of_it)

    def of(self, sample: str, payload: EndedEitherWay, rows: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
        """The columns of a sample by its id, the payload of the event of its end, and what its rows stand
        for by name.  Raises ConfigError where a number is one that no column can hold."""
        cell = payload["cell"]
        values = {} if self._environment is None else self._environment.of(payload, rows)
        found = self._tools.of(rows)
        for column, path in self._columns:
            if isinstance(column, str):
                found[column] = str(cell[column]) if column in cell else _said(payload["values"][column])
            else:
                found[column.name] = None if path is None else _value(sample, column, path, values)
        return found

    def beside(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that a pair of a name has of what is beside its sample.  Raises ConfigError as `of`
        does."""
        return {column.name: _value(name, column, path, values) for column, path in self._beside}


def _said(value: Any) -> str | None:
    """A value as text; None for what conditions left out."""
    return None if value is None else as_text(value)


def nulls(export: ExportPlan) -> dict[str, Any]:
    """The columns of a row that is made of no sample."""
    return {column if isinstance(column, str) else column.name: None for column in export.columns}


def duckdb_type(type_: ValueType) -> str:
    """The DuckDB type of a column, which is that of Parquet."""
    type_ = _MADE_OF.get(type_.kind, type_)
    if type_.kind == "list" and type_.items is not None:
        return f"{duckdb_type(type_.items)}[]"
    if type_.kind == "record" and type_.fields:
        fields = ", ".join(f'"{name}" {duckdb_type(of)}' for name, of in type_.fields)
        return f"STRUCT({fields})"
    return _DUCKDB.get(type_.kind, "VARCHAR")


def feature(type_: ValueType | str) -> list[str]:
    """The lines of a card that say the type of a column, or of a struct's field, below its name."""
    if isinstance(type_, str):
        of = _FEATURES[type_.removesuffix("[]")]
        return [f"list: {of}" if type_.endswith("[]") else f"dtype: {of}"]
    type_ = _MADE_OF.get(type_.kind, type_)
    if type_.kind == "record" and type_.fields:
        return ["struct:", *_fields(type_)]
    if type_.kind == "list" and type_.items is not None:
        inner = _MADE_OF.get(type_.items.kind, type_.items)
        if inner.kind == "record" and inner.fields:
            return ["list:", *_fields(inner)]
        (first, *more) = feature(inner)
        if first.startswith("dtype: "):
            return [first.replace("dtype", "list")]
        return ["list:", *(f"  {line}" for line in (first, *more))]
    return feature(_DUCKDB.get(type_.kind, "VARCHAR"))


def _fields(type_: ValueType) -> Iterator[str]:
    for name, of in type_.fields:
        # Quoted, since YAML takes names such as `on` and `no` for truth values.
        yield f"- name: {json.dumps(name)}"
        yield from (f"  {line}" for line in feature(of))


def _path_in(column: ColumnPlan, cohort: str) -> tuple[str, ...] | None:
    """Where a cohort's samples have a column, None where they do not."""
    return next((place.path for place in column.places if place.source == cohort), None)


def _value(sample: str, column: ColumnPlan, path: tuple[str, ...], values: Mapping[str, Any]) -> Any:
    # What is optional may be absent, and a step that was left out is null.
    value = there(path, values)
    if column.rest:
        return canonical_json(value.rest) if isinstance(value, Record) else None
    if isinstance(value, Record) and value.label is not None:
        return value.label
    try:
        return _shaped(value, column.type)
    except (OverflowError, TypeError, ValueError, AttributeError):
        raise ConfigError(
            f"the sample {sample} has a `{column.name}` that no column of `{duckdb_type(column.type)}` "
            "holds: leave the column out, or bound the numbers in its schema"
        ) from None


def _shaped(value: Any, type_: ValueType) -> Any:
    """A value as its type has it: each field of a record is there, in the order of the schema."""
    if value is None:
        return None
    type_ = _MADE_OF.get(type_.kind, type_)
    match type_.kind:
        case "count":
            whole = int(value)
            if whole != value or not -(2**63) <= whole < 2**63:
                raise ValueError
            return whole
        case "number" | "ratio" | "duration":
            # A fraction in every row, so that readers who go by the first rows see one.
            number = float(value)
            if not isfinite(number):
                raise ValueError
            return number
        case "boolean":
            return bool(value)
        case "list" if type_.items is not None:
            return [_shaped(each, type_.items) for each in value]
        case "record" if type_.fields:
            return {name: _shaped(value.get(name), of) for name, of in type_.fields}
    return as_text(value)
