"""A dataset as it was written, and its rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from synth.base.canonical import canonical_json
from synth.base.display import escaped
from synth.base.errors import ConfigError
from synth.base.extras import install
from synth.base.html import html_table
from synth.compiler.plan.outputs import ExportPlan
from synth.store.dataset.output.files import quoted
from synth.store.dataset.output.trainers import advice, misread, missing_labels
from synth.store.log.connection import connect
from synth.store.log.served import in_words

# Rows and characters of a text that a notebook shows.
_ROWS = 5
_CHARACTERS = 400
_CHUNK = 4096


@dataclass(frozen=True, slots=True, repr=False)
class Dataset:
    """One export as it was written.  `rows` counts each split; `missing` are its samples or pairs,
    as `unit` says, that a run has still to make.

    Iterating over it gives its rows as dictionaries, of all splits one after the other, read from
    its files as they are asked for.
    """

    export: ExportPlan
    folder: Path
    rows: Mapping[str, int]
    missing: int
    unit: str
    manifest: Mapping[str, Any]
    # The columns' DuckDB types, in order.
    types: Mapping[str, str]
    # Rows in which nothing stands before the answer.
    without_prompt: int = 0

    @property
    def forgotten(self) -> int:
        """How many samples, pairs or rows of sources are left out, since the log has forgotten them."""
        return int(self.manifest.get("forgotten", 0))

    @property
    def advice(self) -> str | None:
        """A line on what trainers have to be told, where the rows do not say it to all of them."""
        return advice(self.export, self.manifest)

    @property
    def warnings(self) -> list[str]:
        """What will trouble who reads it or trains on it, a clause each."""
        if not len(self):
            return ["it has no row, and `load_dataset` refuses such a dataset"]
        small = "the dataset is small for its split"
        empty = [f"no row fell into {name}: {small}" for name, rows in self.rows.items() if not rows]
        bare = self.without_prompt
        begins = [
            f"{bare:,} row{' has' if bare == 1 else 's have'} an empty prompt, which TRL refuses: what is "
            "trained on opens the conversation; leave such conversations out, or export `messages`"
        ]
        return [
            *empty,
            *(begins if bare else []),
            *missing_labels(self.manifest),
            *misread(self.export, self.manifest),
            *_served_by_others(self.manifest),
        ]

    def __len__(self) -> int:
        return sum(self.rows.values())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.read()

    def read(self, split: str | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a split, or of all.  Raises ConfigError where there is no such split, or its
        file is gone."""
        files = self._files(split)
        return (row for file in files for row in _rows(file))

    def to_arrow(self, split: str | None = None) -> Any:
        """The rows of a split, or of all, as a `pyarrow.Table`.  Raises ConfigError where pyarrow is
        not installed."""
        _require("pyarrow", "arrow", "to_arrow")
        files = ", ".join(map(quoted, self._files(split)))
        read = f"read_parquet([{files}])"
        if self.export.format != "parquet":
            typed = ", ".join(f"{quoted(name)}: {quoted(type_)}" for name, type_ in self.types.items())
            read = (
                f"read_json([{files}], format = 'newline_delimited', columns = {{{typed}}}, "
                "maximum_object_size = 1073741824)"
            )
        with connect() as connection:
            return connection.sql(f"SELECT * FROM {read}").to_arrow_table()

    def to_pandas(self, split: str | None = None) -> Any:
        """The rows of a split, or of all, as a `pandas.DataFrame`.  Raises ConfigError where pandas is
        not installed."""
        _require("pandas", "pandas", "to_pandas")
        import pandas

        return pandas.DataFrame.from_records(list(self.read(split)), columns=list(self.types))

    def _files(self, split: str | None) -> list[Path]:
        if split is not None and split not in self.rows:
            splits = " and ".join(f"`{name}`" for name in self.rows)
            raise ConfigError(f"{self.folder} has no split `{split}`: it has {splits}")
        files = {
            entry["split"]: self.folder / name
            for name, entry in self.manifest["files"].items()
            if "split" in entry
        }
        wanted = [path for name, path in files.items() if split in (None, name)]
        for path in wanted:
            if not path.is_file():
                raise ConfigError(f"{path} is gone: materialize the dataset again")
        return wanted

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {rows:,}" for name, rows in self.rows.items())
        missing = f"; {self.missing:,} missing" if self.missing else ""
        return escaped(f"<Dataset {self.export.name} in {self.folder}: {splits}{missing}>")

    def _repr_html_(self) -> str:
        rows = [[_shown(row.get(name)) for name in self.types] for row in islice(self, _ROWS)]
        return html_table(repr(self)[1:-1], list(self.types), rows)


def _served_by_others(manifest: Mapping[str, Any]) -> list[str]:
    """Models that answered in the place of those asked for."""
    places = [place for part in manifest["source"].get("parts", ()) for place in part["places"]]
    found: dict[str, dict[str, Counter[str]]] = {}
    for thing in (manifest, *places):
        for author in (each for authors in thing.get("written_by", {}).values() for each in authors):
            if others := author.get("served_by"):
                asked = found.setdefault(author["model"], {})
                asked.setdefault(author["identity"]["id"], Counter()).update(others)
    return in_words(found)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8", newline="\n") as lines:
            yield from map(json.loads, lines)
        return
    with connect() as connection:
        connection.execute("SET threads = 1")
        found = connection.execute(f"SELECT * FROM read_parquet({quoted(path)})")
        names = [column[0] for column in found.description or ()]
        # Which DuckDB gives as texts.
        read = {column[0]: _parsed for column in found.description or () if str(column[1]).startswith("JSON")}
        while chunk := found.fetchmany(_CHUNK):
            for row in chunk:
                values = dict(zip(names, row, strict=True))
                yield values | {name: parse(values[name]) for name, parse in read.items()}


def _parsed(value: Any) -> Any:
    """What a JSON column holds."""
    if isinstance(value, list):
        return [_parsed(each) for each in value]
    return None if value is None else json.loads(value)


def _shown(value: Any) -> str:
    """A cell of a table: messages a line each, long texts cut."""
    if isinstance(value, list) and all(_is_message(each) for each in value):
        lines = [_said(each) for each in value]
        return "\n".join(map(_cut, lines))
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint(("role", "from"))


def _said(message: Mapping[str, Any]) -> str:
    content = message.get("content", message.get("value"))
    calls = [each["function"] for each in message.get("tool_calls", ())]
    called = [f"{each['name']}({canonical_json(each['arguments'])})" for each in calls]
    return f"{message.get('role', message.get('from'))}: {' '.join(filter(None, [content, *called]))}"


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"


def _require(module: str, extra: str, method: str) -> None:
    if find_spec(module) is None:
        raise ConfigError(f"`{method}` needs `{module}`, which is not installed: {install(extra)}")
